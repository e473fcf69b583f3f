"""Read your own catalogue: files of items and files of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.files.id_column import IdColumn
from mmsc_cli.files.item_fields import is_missing
from mmsc_cli.files.table_file import TableFile, read_table_file
from mmsc_cli.prepare.records import Delivery, relation_table
from mmsc_cli.prepare.settings import PairColumn, TableSource
from mmsc_cli.prepare.sources.columns import resolve_columns
from mmsc_cli.prepare.sources.item_table import read_item_table
from mmsc_cli.prepare.sources.meeting import check_ids_meet, matcher, read_catalogue

STRENGTHS = ("co_view", "co_purchase")


def read_tables(
    items_paths: Sequence[Path], pairs_paths: Sequence[Path], settings: TableSource, delivery: Delivery
) -> None:
    """Read a catalogue from tables of items and tables of pairs.

    Items: see `read_item_table`. Pairs need `a`, `b` (item ids) and `co_view` and/or `co_purchase` (strengths, above 0
    where the pair was seen). `settings.columns` maps our names to yours.

    Raises:
        InputError: a file is missing, is not such a table, lacks a column, or holds a strength that is none; or no id
            of the pairs is among those of the items.
    """
    named = [_pair_table(path, settings, delivery) for path in pairs_paths]
    for path in items_paths:
        read_item_table(path, settings.columns, delivery, settings.category_separator, settings.keep)
    catalogue = read_catalogue(delivery)
    matched = matcher(catalogue, settings.match_ids)
    ids: set[str] = set()
    changed: set[str] = set()
    for table, names in named:
        ends = [IdColumn(table.column_blocks(names[end]), delivery.counts) for end in ("a", "b")]
        strengths = [names[name] for name in STRENGTHS if name in names]
        first = 1
        for block, *written in zip(table.blocks(strengths), *ends, strict=True):
            source, target = ([matched(end) if end else end for end in column] for column in written)
            for before, after in zip(written, (source, target), strict=True):
                changed.update(end for end, now in zip(before, after, strict=True) if end != now)
            views, purchases = (
                _strengths(f"{table.path}: row", block.get(names.get(name, "")) or [None] * len(source), first, name)
                for name in STRENGTHS
            )
            delivery.counts["null_words"] += _null_words(block)
            relations = {"source": source, "target": target, "view": views, "buy": purchases}
            delivery.add("relations", relation_table(relations))
            ids.update(filter(None, source), filter(None, target))
            first += len(source)
        delivery.counts["relations"] += table.rows
    delivery.counts["ids_matched"] += len(changed)
    check_ids_meet(ids, catalogue, delivery, items_paths, "pairs")


def _pair_table(path: Path, settings: TableSource, delivery: Delivery) -> tuple[TableFile, dict[str, str]]:
    """A table of pairs, and its columns that stand for ours."""
    table = read_table_file(path)
    columns = resolve_columns(table, settings.columns, get_args(PairColumn), ("a", "b"), None, delivery)
    if not any(name in columns for name in STRENGTHS):
        raise InputError(
            f"{path}: no column co_view or co_purchase in it",
            hint='map yours under [source.columns], for example co_view = "views"',
        )
    return table, {name: theirs[0] for name, theirs in columns.items()}


def _null_words(block: Mapping[str, Sequence[Any]]) -> int:
    return sum(
        isinstance(value, str) and bool(value.strip()) and is_missing(value)
        for column in block.values()
        for value in column
    )


def _strengths(place: str, values: Sequence[Any], first: int, name: str) -> NDArray[np.float32]:
    """A strength per row, shape (rows,); 0 where the value is missing. `first` is the number of the first row."""
    strengths = np.zeros(len(values), np.float64)
    for row, value in enumerate(values):
        if is_missing(value):
            continue
        try:
            strengths[row] = float(value)
        except (TypeError, ValueError):
            strengths[row] = np.nan
        if not 0 <= strengths[row] <= np.finfo(np.float32).max:
            raise InputError(
                f"{place} {first + row}, column {name}: {value!r} is not a strength",
                hint="a strength is a number, 0 or above",
            )
    return strengths.astype(np.float32)
