"""Tables that people bring: items and pairs as CSV, TSV, JSON lines and Parquet, and the pairs that people labelled."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks.faults.rubbish.target import REFUSED, Tally, Target, empty_folder, scratch_file
from mmsc_cli.errors import InputError
from mmsc_cli.files.separated import sniff_separator
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.label.gold import read_gold
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import TableSource
from mmsc_cli.prepare.sources.shop_tables import read_tables

_ITEMS: dict[str, list[Any]] = {
    "item_id": ["A", "B", "", "7", "A"],
    "title": ["Tent", "<b>Mat</b>", "=1+1", None, "Tent, large"],
    "description": ["sleeps two", "", None, "x" * 40, 'with a "quote"'],
    "brand": ["Ö", None, "x", "y", "z"],
    "price": ["$1,299.99", "12,50 EUR", "", "-1", "nan"],
    "category": ["Camping > Tents", '["Camping", "Mats"]', "", ">", "["],
    "image_path": [None, "a.png", "../a.png", None, "/dev/null"],
    "image_url": ["https://x.example/a.png", None, None, "nonsense", None],
}
_PAIRS: dict[str, list[Any]] = {
    "a": ["A", "A", "B"],
    "b": ["B", "7", "C"],
    "co_view": [1.5, 0, None],
    "co_purchase": [0, 2, 1],
}
_GOLD: dict[str, list[Any]] = {"a": ["A", "B"], "b": ["B", "7"], "label": ["substitute", "Neither"]}
_IDS = ["7", "A", "B"]
FORMS = ("csv", "tsv", "jsonl", "parquet")


def check_items(form: str) -> Callable[[bytes], Tally]:
    """Every row of an item table is a record or counted as one without an id, or all is refused."""

    def check(content: bytes) -> Tally:
        # What has an ending of its own may come packed, which is told by its first bytes.
        items, pairs = scratch_file(f"items.{form}", content), scratch_file("pairs.csv", as_csv(_PAIRS))
        delivery = _delivered(items, pairs)
        if delivery is None:
            return REFUSED
        kept = sum(pq.read_metadata(part).num_rows for part in delivery.parts("records"))
        skipped = delivery.counts["without_id"]
        Tally(delivery.counts["records"], kept, skipped).checked("records")
        return Tally(_rows(form, content, kept + skipped), kept, skipped).checked("rows")

    return check


def _delivered(items: Path, pairs: Path) -> Delivery | None:
    """What two tables deliver; None where they are refused."""
    delivery = Delivery(empty_folder("delivery"))
    try:
        read_tables([items], [pairs], TableSource(kind="table", items="", pairs=""), delivery)
    except InputError:
        return None
    return delivery


def check_pairs(content: bytes) -> Tally:
    """Every row of a pair table is a relation, or all is refused."""
    items, pairs = scratch_file("items.csv", as_csv(_ITEMS)), scratch_file("pairs.jsonl", content)
    delivery = _delivered(items, pairs)
    if delivery is None:
        return REFUSED
    kept = sum(pq.read_metadata(part).num_rows for part in delivery.parts("relations"))
    return Tally(_rows("jsonl", content, kept), kept).checked("pairs")


def check_gold(content: bytes) -> Tally:
    """Every row of people's labels is one, or counted as one of unknown items, or all is refused."""
    path = scratch_file("gold.csv", content)
    try:
        gold = read_gold(path, _IDS)
    except InputError:
        return REFUSED
    return Tally(read_table_file(path).rows, len(gold.label), gold.unknown).checked("labels")


def _rows(form: str, content: bytes, found: int) -> int:
    """How many rows a file holds, by another reader. Of separated values at least those that say something."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    if form == "jsonl":
        return sum(bool(line.strip()) for line in content.splitlines())
    if form == "parquet":
        return int(pq.read_metadata(io.BytesIO(content)).num_rows)
    text = content.decode("utf-8-sig", errors="replace")
    separator = "\t" if form == "tsv" else sniff_separator(text.split("\n", 1)[0])
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error:  # a field longer than this reader takes
        return found
    # The header is the first row that is not blank.
    return max(sum(any(cell.strip() for cell in row) for row in rows) - 1, found)


def as_csv(columns: dict[str, list[Any]], separator: str = ",") -> bytes:
    """A table as separated values."""
    sink = io.BytesIO()
    texts = {
        name: pa.array([None if value is None else str(value) for value in values]) for name, values in columns.items()
    }
    pa_csv.write_csv(pa.table(texts), sink, pa_csv.WriteOptions(delimiter=separator))
    return sink.getvalue()


def as_json_lines(columns: dict[str, list[Any]]) -> bytes:
    """A table as JSON lines."""
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(columns: dict[str, Any]) -> bytes:
    """A table as Parquet, its columns plain lists or arrays."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def item_seeds(form: str) -> Callable[[], list[bytes]]:
    """Sound tables of items in a form, plain and packed."""

    def seeds() -> list[bytes]:
        if form == "parquet":
            return [
                as_parquet(_ITEMS),
                as_parquet(_ITEMS | {"price": [1.5, None, 2, 3, 4], "category": [["A", "B"], [], None, [], ["x"]]}),
            ]
        whole = as_json_lines(_ITEMS) if form == "jsonl" else as_csv(_ITEMS, "\t" if form == "tsv" else ",")
        return [whole, gzip.compress(whole, mtime=0), b"\xef\xbb\xbf" + whole, whole.replace(b"\n", b"\r\n")]

    return seeds


ITEM_TABLES = [Target(f"items ({form})", check_items(form), item_seeds(form)) for form in FORMS]
PAIRS = Target("pairs", check_pairs, lambda: [as_json_lines(_PAIRS)])
GOLD = Target("gold labels", check_gold, lambda: [as_csv(_GOLD), as_csv(_GOLD, ";")])
