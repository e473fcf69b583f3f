"""Read your own catalogue: files of items and files of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.files.item_fields import is_missing, read_ids
from mmsc_cli.files.table_file import TableFile, read_table_file
from mmsc_cli.prepare.records import Delivery, relation_table
from mmsc_cli.prepare.settings import PairColumn, TableSource
from mmsc_cli.prepare.sources.columns import resolve_columns
from mmsc_cli.prepare.sources.item_table import read_item_table
from mmsc_cli.prepare.sources.meeting import check_ids_meet, read_catalogue

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
    named = {path: _pair_table(path, settings, delivery) for path in pairs_paths}
    for path in items_paths:
        read_item_table(path, settings.columns, delivery, settings.category_separator)
    ids: set[str] = set()
    for table, columns in named.values():
        views, purchases = (_strengths(table, columns, name, delivery.counts) for name in STRENGTHS)
        source, target = (read_ids(columns[end], delivery.counts) for end in ("a", "b"))
        relations = {"source": source, "target": target, "view": views, "buy": purchases}
        delivery.add("relations", relation_table(relations))
        delivery.counts["relations"] += table.rows
        ids.update(filter(None, source), filter(None, target))
    check_ids_meet(ids, read_catalogue(delivery), delivery, "pairs")


def _pair_table(path: Path, settings: TableSource, delivery: Delivery) -> tuple[TableFile, dict[str, list[Any]]]:
    table = read_table_file(path)
    names = resolve_columns(table, settings.columns, get_args(PairColumn), ("a", "b"), None, delivery)
    columns = {name: table[theirs[0]] for name, theirs in names.items()}
    if not any(name in columns for name in STRENGTHS):
        raise InputError(
            f"{path}: no column co_view or co_purchase in it",
            hint='map yours under [source.columns], for example co_view = "views"',
        )
    return table, columns


def _strengths(table: TableFile, columns: dict[str, list[Any]], name: str, counts: Counter[str]) -> NDArray[np.float32]:
    """A strength per row, shape (rows,); 0 where the column or the value is missing."""
    strengths = np.zeros(table.rows, np.float64)
    for row, value in enumerate(columns.get(name, ())):
        if is_missing(value):
            counts["null_words"] += isinstance(value, str) and bool(value.strip())
            continue
        try:
            strengths[row] = float(value)
        except (TypeError, ValueError):
            strengths[row] = np.nan
        if not 0 <= strengths[row] <= np.finfo(np.float32).max:
            raise InputError(
                f"{table.path}: row {row + 1}, column {name}: {value!r} is not a strength",
                hint="a strength is a number, 0 or above",
            )
    return strengths.astype(np.float32)
