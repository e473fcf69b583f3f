"""Your own catalogue: a file of items and a file of pairs, as CSV, TSV, JSON lines or Parquet, plain or gzip."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.prepare.cleaning import MAX_DESCRIPTION, MAX_TITLE, clean_category, clean_price, clean_text
from mmsc_cli.prepare.records import RECORD_SCHEMA, RELATION_SCHEMA, Delivery, filled
from mmsc_cli.prepare.settings import ItemColumn, PairColumn, TableSource

STRENGTHS = ("co_view", "co_purchase")


def read_tables(items_path: Path, pairs_path: Path, settings: TableSource, delivery: Delivery) -> None:
    """Read a catalogue from two tables.

    Items: see `read_item_table`. Pairs need `a`, `b` (item ids) and `co_view` and/or `co_purchase` (strengths, above 0
    where the pair was seen). `settings.columns` maps our names to yours.

    Raises:
        InputError: a file is missing, is not such a table, lacks a column, or holds a strength that is none.
    """
    pairs = _read(pairs_path, settings.columns, get_args(PairColumn), required=("a", "b"))
    if not any(name in pairs for name in STRENGTHS):
        raise InputError(
            f"{pairs_path}: no column co_view or co_purchase in it",
            hint='map yours under [source.columns], for example co_view = "views"',
        )
    read_item_table(items_path, settings.columns, delivery)
    views, purchases = (_strengths(pairs, name, pairs_path) for name in STRENGTHS)
    columns = {"source": pairs["a"], "target": pairs["b"], "view": views, "buy": purchases}
    delivery.add("relations", pa.table(columns, schema=RELATION_SCHEMA))
    delivery.counts["relations"] += len(pairs)


def read_item_table(path: Path, columns: Mapping[Any, str], delivery: Delivery) -> None:
    """Read a table of items.

    It needs the column `item_id`; title, description, brand, category (a list, or a path such as `Toys > Games`),
    price, image_url and image_path are optional. The richest of the rows with one id will be kept.

    Raises:
        InputError: the file is missing, is not such a table, or lacks a column.
    """
    items = _read(path, columns, get_args(ItemColumn), required=("item_id",))
    identified = items[items["item_id"] != ""]
    delivery.counts["records"] += len(items)
    delivery.counts["without_id"] += len(items) - len(identified)
    delivery.add("records", _record_table(identified, delivery.counts))


def _read(path: Path, mapping: Mapping[Any, str], known: tuple[Any, ...], required: tuple[str, ...]) -> pd.DataFrame:
    """The known columns of a file, under our names; those of `required` hold ids."""
    frame = read_table_file(path)
    columns: dict[str, pd.Series[Any]] = {}
    for name in known:
        theirs = mapping.get(name, name)
        if theirs in frame:
            columns[name] = frame[theirs]
        elif name in required or name in mapping:
            raise InputError(
                f"{path}: no column {theirs!r} among {list(frame.columns)}",
                hint=f'map yours under [source.columns], for example {name} = "sku"',
            )
    for name in required:
        columns[name] = columns[name].map(_id)
    return pd.DataFrame(columns)


def _id(value: Any) -> str:
    """An id as text; empty where there is none. 7.0 is 7: a column of whole numbers with gaps is read as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _optional(value) or ""


def _strengths(pairs: pd.DataFrame, name: str, path: Path) -> NDArray[np.float32]:
    """A strength per row, shape (rows,); 0 where the column or the value is missing."""
    if name not in pairs:
        return np.zeros(len(pairs), np.float32)
    given = pairs[name]
    numbers = pd.to_numeric(given.where(given.notna() & (given != ""), 0), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= np.finfo(np.float32).max)))
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0] + 1}, column {name}: {given.iloc[wrong[0]]!r} is not a strength",
            hint="a strength is a number, 0 or above",
        )
    return numbers.astype(np.float32)


def _record_table(frame: pd.DataFrame, counts: Counter[str]) -> pa.Table:
    def column(name: str) -> list[Any]:
        return frame[name].tolist() if name in frame else [None] * len(frame)

    def texts(name: str, limit: int, counted_as: str) -> list[str]:
        return [clean_text(_optional(value), limit, name=counted_as, found=counts) for value in column(name)]

    fields: dict[str, list[Any]] = {
        "item_id": column("item_id"),
        "title": texts("title", MAX_TITLE, "titles"),
        "description": texts("description", MAX_DESCRIPTION, "descriptions"),
        "brand": texts("brand", MAX_TITLE, "brands"),
        "category": [clean_category(_nodes(value), counts) for value in column("category")],
        "price": [clean_price(value, counts) for value in column("price")],
        "image_url": [_optional(value) for value in column("image_url")],
        "image_path": [_optional(value) for value in column("image_path")],
    }
    for name in set(frame) - {"item_id"}:
        counts["empty_fields"] += sum(_optional(value) is None for value in frame[name])
    richness = [sum(map(filled, values)) for values in zip(*fields.values(), strict=True)]
    none: list[list[str]] = [[] for _ in richness]
    fields |= {"record": list(range(len(frame))), "richness": richness, "views": none, "purchases": none}
    return pa.table({name: fields[name] for name in RECORD_SCHEMA.names}, schema=RECORD_SCHEMA)


def _nodes(value: Any) -> list[Any]:
    """The nodes of a category path: a list, a list in JSON, or names with `>` between them."""
    if isinstance(value, list | np.ndarray):
        return list(value)
    if not isinstance(value, str):
        return []
    if value.lstrip().startswith("["):
        with suppress(ValueError):
            return list(json.loads(value))
    return value.split(">")


def _optional(value: Any) -> str | None:
    """A value as text (1984 is a title too), or None where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).encode(errors="replace").decode().strip() or None
