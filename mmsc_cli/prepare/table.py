"""Your own catalogue: a file of items and a file of pairs, as CSV, TSV, JSON lines or Parquet, plain or gzip."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA, Catalogue, Edges
from mmsc_cli.prepare.cleaning import MAX_TITLE, clean_price, clean_text
from mmsc_cli.recipe.settings import TableSource

STRENGTHS = ("co_view", "co_purchase")


def read_tables(items_path: Path, pairs_path: Path, settings: TableSource) -> Catalogue:
    """Read a catalogue from two tables.

    Items need the column `item_id`; title, description, brand, category (a list, or a path such as `Toys > Games`),
    price, image_url and image_path are optional. Pairs need `a`, `b` (item ids) and `co_view` and/or `co_purchase`
    (strengths, above 0 where the pair was seen). `settings.columns` maps our names to yours.

    Raises:
        InputError: a file is missing, is not such a table, or lacks a column.
    """
    items = _read(items_path, settings, required=("item_id",))
    pairs = _read(pairs_path, settings, required=("a", "b"))
    if not any(name in pairs for name in STRENGTHS):
        raise InputError(
            f"{pairs_path}: neither co_view nor co_purchase among the columns {list(pairs)}",
            hint='map yours under [source.columns], for example co_view = "views"',
        )
    identified = items["item_id"].str.strip().fillna("").ne("")
    unique = items[identified].drop_duplicates("item_id")
    counts: dict[str, Any] = {
        "records": len(items),
        "without_id": int((~identified).sum()),
        "repeated": int(identified.sum()) - len(unique),
        "items": len(unique),
        "relations": len(pairs),
    }
    row_of = pd.Series(np.arange(len(unique)), index=unique["item_id"].str.strip())
    a, b = (pairs[end].str.strip().map(row_of) for end in ("a", "b"))
    outside = a.isna() | b.isna()
    itself = ~outside & (a == b)
    counts |= {"relations_outside": int(outside.sum()), "relations_to_itself": int(itself.sum())}
    known = ~(outside | itself)
    ends = a[known].to_numpy(np.int64), b[known].to_numpy(np.int64)
    views, purchases = (_edges(ends, pairs, known, name, pairs_path) for name in STRENGTHS)
    counts["relations_kept"] = int(known.sum())
    return Catalogue(_item_table(unique), views, purchases, counts)


def _read(path: Path, settings: TableSource, required: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    try:
        if kind == "parquet":
            frame = pd.read_parquet(path)
        elif kind in ("jsonl", "ndjson", "json"):
            frame = pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        elif kind in ("csv", "tsv", "txt"):
            separator = "\t" if kind == "tsv" else None
            frame = pd.read_csv(path, sep=separator, engine="python", dtype=str, keep_default_na=False)
        else:
            raise InputError(f"{path}: unknown kind of file", hint="use .csv, .tsv, .jsonl or .parquet (also .gz)")
    except (ValueError, OSError, pa.ArrowException, pd.errors.ParserError) as error:
        raise InputError(
            f"{path}: not readable as {kind}: {error}", hint="check separator, quotes and UTF-8"
        ) from error
    theirs = {their: our for our, their in settings.columns.items()}
    frame = frame.rename(columns=theirs)
    missing = [name for name in required if name not in frame]
    if missing:
        raise InputError(
            f"{path}: no column {missing[0]!r} among {list(frame.columns)}",
            hint=f'map yours under [source.columns], for example {missing[0]} = "sku"',
        )
    for name in required:
        frame[name] = frame[name].astype("string")
    return frame


def _edges(
    ends: tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]],
    pairs: pd.DataFrame,
    known: pd.Series[bool],
    name: str,
    path: Path,
) -> Edges:
    if name not in pairs:
        empty = np.empty(0, np.int64)
        return Edges(empty, empty, np.empty(0, np.float32))
    text = pairs[name].replace("", "0").fillna(0)
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() | (numbers < 0) | np.isinf(numbers))
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0] + 1}, column {name}: {text.iloc[wrong[0]]!r} is not a strength",
            hint="a strength is a number, 0 or above",
        )
    strength = numbers[known].to_numpy(np.float32)
    seen = strength > 0
    return Edges(ends[0][seen], ends[1][seen], strength[seen])


def _item_table(frame: pd.DataFrame) -> pa.Table:
    def column(name: str) -> list[Any]:
        return frame[name].tolist() if name in frame else [None] * len(frame)

    return pa.table(
        {
            "item_id": [str(value).strip() for value in column("item_id")],
            "title": [clean_text(value, MAX_TITLE) for value in column("title")],
            "description": [clean_text(value) for value in column("description")],
            "brand": [clean_text(value, MAX_TITLE) for value in column("brand")],
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
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None
