"""Tables that people bring: items in every form and from shop systems, pairs, and the pairs that people labelled."""

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
from defusedxml.ElementTree import fromstring

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
_SHOPIFY: dict[str, list[Any]] = {
    "Handle": ["mug", "mug", "mug", "pot", "", "old"],
    "Title": ["Mug", "", "", "Pot", "x", "Pan"],
    "Body (HTML)": ["<p>Steel &amp; enamel</p>", "", "", "", "", ""],
    "Vendor": ["Nordo", "", "", "Nordo", "", ""],
    "Product Category": ["Home > Mugs", "", "", "", "", "Pans"],
    "Variant SKU": ["A", "'7", "", "", "B", "C"],
    "Variant Price": ["12.50", "13,50", "", "49.00", "", "9"],
    "Image Src": ["https://x.example/a.jpg", "", "https://x.example/c.jpg", "", "", ""],
    "Status": ["active", "", "", "active", "", "draft"],
}
_WOOCOMMERCE: dict[str, list[Any]] = {
    "ID": ["11", "12", "13", "14", "15"],
    "SKU": ["A", "B", "7", "", "C"],
    "Name": ["Hoodie", "Hoodie - Blue", "", "Belt\\, leather", "Draft"],
    "Published": ["1", "1", "1", "0", "-1"],
    "Categories": ["Clothing, Clothing > Hoodies", "", "", "Care > Perfume\\, Cologne", ""],
    "Images": ["https://x.example/a.jpg", "", "", "", ""],
    "Regular price": ["", "45", "42,50", "55", "1"],
    "Parent": ["", "id:11", "A", "nowhere", "id:15"],
}
_FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>A</g:id><title>Pot &amp;amp; lid</title><g:description><![CDATA[<p>x</p>]]></g:description>
<g:image_link>https://x.example/1.jpg?a=1&amp;b=2</g:image_link><g:price>1299.00 EUR</g:price>
<g:product_type>Home &gt; Pots</g:product_type><g:product_type>Sale</g:product_type></item>
<item id="B"><title>Pan</title><g:price>24,90 EUR</g:price></item></channel></rss>
"""
_ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><g:id>A</g:id><title>Pan</title><g:image_link href="https://x.example/1"/></entry><entry/></feed>
"""
_PRODUCTS = ("item", "entry", "product", "offer")
FORMS = ("csv", "tsv", "jsonl", "json", "parquet", "xml", "shopify", "woocommerce")
_ENDINGS = {"shopify": "csv", "woocommerce": "csv"}


_SKIPPED = ("without_id", "records_unpublished", "records_of_pictures")


def check_items(form: str) -> Callable[[bytes], Tally]:
    """Every row of an item table is a record or counted as one without an id, or all is refused."""

    def check(content: bytes) -> Tally:
        # What has an ending of its own may come packed, which is told by its first bytes.
        items = scratch_file(f"items.{_ENDINGS.get(form, form)}", content)
        pairs = scratch_file("pairs.csv", as_csv(_PAIRS))
        delivery = _delivered(items, pairs)
        if delivery is None:
            return REFUSED
        kept = sum(pq.read_metadata(part).num_rows for part in delivery.parts("records"))
        skipped = sum(delivery.counts[name] for name in _SKIPPED)
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
    content = _unpacked(content)
    if form == "parquet":
        return int(pq.read_metadata(io.BytesIO(content)).num_rows)
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<":
        return _products(content)
    if form == "json" and start == b"[":
        return len(json.loads(content.decode("utf-8-sig")))
    if form in ("json", "jsonl") or start == b"{":
        return sum(bool(line.strip()) for line in content.splitlines()) if form in ("json", "jsonl") else found
    text = content.decode("utf-8-sig", errors="replace")
    separator = "\t" if form == "tsv" else sniff_separator(text.split("\n", 1)[0])
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error:  # a field longer than this reader takes
        return found
    # The header is the first row that is not blank.
    return max(sum(any(cell.strip() for cell in row) for row in rows) - 1, found)


def _unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        return bytes(pa.CompressedInputStream(pa.BufferReader(content), "zstd").read())
    return content


def _products(content: bytes) -> int:
    """The products of a feed that are within no other."""

    def count(element: Any) -> int:
        name = str(element.tag).rpartition("}")[2]
        return 1 if name in _PRODUCTS else sum(map(count, element))

    return count(fromstring(content, forbid_dtd=False))


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
        if form == "xml":
            return [_FEED.encode(), _ATOM.encode(), as_zstd(_FEED.encode())]
        if form == "json":
            lines = as_json_lines(_ITEMS).splitlines()
            return [b"[" + b",\n".join(lines) + b"]", b"[]", b"\xef\xbb\xbf[" + lines[0] + b"]", as_json_lines(_ITEMS)]
        columns = {"shopify": _SHOPIFY, "woocommerce": _WOOCOMMERCE}.get(form, _ITEMS)
        whole = as_json_lines(columns) if form == "jsonl" else as_csv(columns, "\t" if form == "tsv" else ",")
        packed = [gzip.compress(whole, mtime=0), as_zstd(whole)]
        return [whole, *packed, b"\xef\xbb\xbf" + whole, whole.replace(b"\n", b"\r\n")]

    return seeds


def as_zstd(content: bytes) -> bytes:
    """A content in Zstandard's packing."""
    return bytes(pa.compress(content, "zstd", asbytes=True))


ITEM_TABLES = [Target(f"items ({form})", check_items(form), item_seeds(form)) for form in FORMS]
PAIRS = Target("pairs", check_pairs, lambda: [as_json_lines(_PAIRS)])
GOLD = Target("gold labels", check_gold, lambda: [as_csv(_GOLD), as_csv(_GOLD, ";")])
