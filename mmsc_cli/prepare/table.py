"""Your own catalogue: a file of items and a file of pairs, as CSV, TSV, JSON lines or Parquet, plain or gzip."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA, Catalogue, Edges
from mmsc_cli.prepare.cleaning import MAX_TITLE, clean_price, clean_text
from mmsc_cli.prepare.table_file import read_table_file
from mmsc_cli.recipe.settings import ItemColumn, PairColumn, TableSource

STRENGTHS = ("co_view", "co_purchase")


def read_tables(items_path: Path, pairs_path: Path, settings: TableSource) -> Catalogue:
    """Read a catalogue from two tables.

    Items need the column `item_id`; title, description, brand, category (a list, or a path such as `Toys > Games`),
    price, image_url and image_path are optional. Pairs need `a`, `b` (item ids) and `co_view` and/or `co_purchase`
    (strengths, above 0 where the pair was seen). `settings.columns` maps our names to yours. Of rows with the same id
    the first is kept.

    Raises:
        InputError: a file is missing, is not such a table, lacks a column, or holds a strength that is none.
    """
    items = _read(items_path, settings, get_args(ItemColumn), required=("item_id",))
    pairs = _read(pairs_path, settings, get_args(PairColumn), required=("a", "b"))
    if not any(name in pairs for name in STRENGTHS):
        raise InputError(
            f"{pairs_path}: no column co_view or co_purchase in it",
            hint='map yours under [source.columns], for example co_view = "views"',
        )
    identified = items["item_id"] != ""
    unique = items[identified].drop_duplicates("item_id")
    row_of = pd.Series(np.arange(len(unique)), index=unique["item_id"])
    a, b = (pairs[end].map(row_of) for end in ("a", "b"))
    outside = a.isna() | b.isna()
    itself = ~outside & (a == b)
    strengths = {name: _strengths(pairs, name, pairs_path) for name in STRENGTHS}
    usable = ~(outside | itself).to_numpy()
    seen = {name: usable & (strength > 0) for name, strength in strengths.items()}
    kept = np.logical_or(*seen.values())
    views, purchases = (
        Edges(a[mask].to_numpy(np.int64), b[mask].to_numpy(np.int64), strengths[name][mask])
        for name, mask in seen.items()
    )
    counts: dict[str, Any] = {
        "records": len(items),
        "without_id": int((~identified).sum()),
        "repeated": int(identified.sum()) - len(unique),
        "items": len(unique),
        "relations": len(pairs),
        "relations_outside": int(outside.sum()),
        "relations_to_itself": int(itself.sum()),
        "relations_without_strength": int((usable & ~kept).sum()),
        "relations_kept": int(kept.sum()),
    }
    table = _item_table(unique)
    counts["without_title"] = table["title"].to_pylist().count("")
    return Catalogue(table, views, purchases, counts)


def _read(path: Path, settings: TableSource, known: tuple[Any, ...], required: tuple[str, ...]) -> pd.DataFrame:
    """The known columns of a file, under our names; those of `required` hold ids."""
    frame = read_table_file(path)
    columns: dict[str, pd.Series[Any]] = {}
    for name in known:
        theirs = settings.columns.get(name, name)
        if theirs in frame:
            columns[name] = frame[theirs]
        elif name in required or name in settings.columns:
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
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0] + 1}, column {name}: {given.iloc[wrong[0]]!r} is not a strength",
            hint="a strength is a number, 0 or above",
        )
    return numbers.astype(np.float32)


def _item_table(frame: pd.DataFrame) -> pa.Table:
    def column(name: str) -> list[Any]:
        return frame[name].tolist() if name in frame else [None] * len(frame)

    return pa.table(
        {
            "item_id": column("item_id"),
            "title": [clean_text(_optional(value), MAX_TITLE) for value in column("title")],
            "description": [clean_text(_optional(value)) for value in column("description")],
            "brand": [clean_text(_optional(value), MAX_TITLE) for value in column("brand")],
            "category": [_category(value) for value in column("category")],
            "price": [clean_price(value) for value in column("price")],
            "image_url": [_optional(value) for value in column("image_url")],
            "image_path": [_optional(value) for value in column("image_path")],
        },
        schema=CATALOGUE_SCHEMA,
    )


def _category(value: Any) -> list[str]:
    nodes = value.split(">") if isinstance(value, str) else value if isinstance(value, list | np.ndarray) else []
    return [name for name in (clean_text(node, MAX_TITLE) for node in nodes) if name]


def _optional(value: Any) -> str | None:
    """A value as text (1984 is a title too), or None where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).encode(errors="replace").decode().strip() or None
