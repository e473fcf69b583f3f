"""Amazon product metadata, in the schemas of 2014 and of 2018, told apart record by record.

2014 (McAuley et al., SIGIR 2015): Python dict literals or JSON, `related` lists, `categories`, `imUrl`.
2018 (Ni et al., EMNLP 2019): JSON lines, `also_view`, `also_buy`, `category`, `imageURL`, prices as strings.
"""

from __future__ import annotations

import ast
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.catalogue import CATALOGUE_SCHEMA, Catalogue, Edges
from mmsc_cli.prepare.cleaning import MAX_TITLE, clean_category, clean_price, clean_text
from mmsc_cli.progress import SILENT, Progress

VIEW_LISTS = ("also_viewed", "buy_after_viewing", "also_view")
BUY_LISTS = ("also_bought", "bought_together", "also_buy")
REPORT_EVERY = 1_000


@dataclass(frozen=True)
class Record:
    """One product as we keep it, with its ordered lists of related products."""

    item_id: str
    title: str
    description: str
    brand: str
    category: list[str]
    price: float
    image_url: str | None
    views: list[str]
    purchases: list[str]

    def richness(self) -> tuple[int, int]:
        """How much the record says: fields filled, then relations; the richest of repeated records is kept."""
        filled = (self.title, self.description, self.brand, self.category, self.price > 0, self.image_url)
        return sum(map(bool, filled)), len(self.views) + len(self.purchases)


def read_amazon(paths: Sequence[Path], progress: Progress = SILENT) -> Catalogue:
    """Read metadata files (gzip or plain) into a catalogue.

    The strength of a relation is .5 + 1/log2(1 + position) with the position in the product's list.

    Raises:
        InputError: a file is missing, is not metadata, or breaks off; the line is named.
    """
    counts: Counter[str] = Counter()
    records: dict[str, Record] = {}
    for path in paths:
        with progress.task(f"Reading {path.name}") as task:
            read = 0
            for read, record in enumerate(read_records(path), start=1):
                if read % REPORT_EVERY == 0:
                    task.advance(REPORT_EVERY)
                counts["records"] += 1
                kept = records.get(record.item_id)
                if kept is not None:
                    counts["repeated"] += 1
                    if record.richness() <= kept.richness():
                        continue
                records[record.item_id] = record
            if not read:
                raise InputError(f"{path}: no records in it", hint="give an Amazon metadata file with --input")
    row_of = {item_id: row for row, item_id in enumerate(records)}
    counts["items"] = len(records)
    views = _edges([record.views for record in records.values()], row_of, counts)
    purchases = _edges([record.purchases for record in records.values()], row_of, counts)
    counts["without_title"] = sum(not record.title for record in records.values())
    return Catalogue(_item_table(list(records.values())), views, purchases, dict(counts))


def read_records(path: Path) -> Iterator[Record]:
    """Yield the products of one metadata file.

    Raises:
        InputError: see `read_amazon`.
    """
    for number, line in _lines(path):
        content = _parse(line, path, number)
        item_id = content.get("asin")
        if not isinstance(item_id, str) or not item_id.strip() or not item_id.isprintable():
            raise InputError(
                f"{path}: record {number} has no usable 'asin'",
                hint="the file is not Amazon product metadata; for your own files see `mmsc recipes show my-shop`",
            )
        related = content.get("related")
        lists = related if isinstance(related, dict) else content
        yield Record(
            item_id=item_id.strip(),
            title=clean_text(content.get("title"), MAX_TITLE),
            description=clean_text(content.get("description")),
            brand=clean_text(content.get("brand"), MAX_TITLE),
            category=clean_category(content.get("categories") or content.get("category")),
            price=clean_price(content.get("price")),
            image_url=_image_url(content),
            views=_merge_lists(lists, VIEW_LISTS),
            purchases=_merge_lists(lists, BUY_LISTS),
        )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip stream breaks after record {number}: {error}", hint="download the file again"
        ) from error


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise InputError(f"no file at {path}", hint="give an Amazon metadata file with --input")
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed else path.open("rb")


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        try:
            content = ast.literal_eval(line.decode("utf-8"))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            content = None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: record {number} is neither a JSON object nor a Python dict literal",
            hint="the file must be Amazon product metadata, one product a line, plain or gzip",
        )
    return content


def _merge_lists(lists: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Ordered partners from several lists of the same behaviour; a partner's first position counts."""
    partners: dict[str, None] = {}
    for name in names:
        values = lists.get(name)
        if isinstance(values, list):
            partners.update(dict.fromkeys(value for value in values if isinstance(value, str)))
    return list(partners)


def _image_url(content: dict[str, Any]) -> str | None:
    for name in ("imUrl", "imageURLHighRes", "imageURL", "image"):
        value = content.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, str) and value.startswith(("http://", "https://")) and value.isprintable():
            return value
    return None


def _edges(partners: Sequence[list[str]], row_of: dict[str, int], counts: Counter[str]) -> Edges:
    source: list[int] = []
    target: list[int] = []
    position: list[int] = []
    for row, ids in enumerate(partners):
        for place, item_id in enumerate(ids, start=1):
            counts["relations"] += 1
            other = row_of.get(item_id)
            if other is None:
                counts["relations_outside"] += 1
            elif other == row:
                counts["relations_to_itself"] += 1
            else:
                source.append(row)
                target.append(other)
                position.append(place)
    counts["relations_kept"] += len(source)
    strength = 0.5 + 1 / np.log2(1 + np.asarray(position, dtype=np.float64))
    return Edges(np.asarray(source, np.int64), np.asarray(target, np.int64), strength.astype(np.float32))


def _item_table(records: list[Record]) -> pa.Table:
    columns: dict[str, Any] = {
        name: [getattr(record, name) for record in records]
        for name in ("item_id", "title", "description", "brand", "category", "price", "image_url")
    }
    columns["image_path"] = [None] * len(records)
    return pa.table(columns, schema=CATALOGUE_SCHEMA)
