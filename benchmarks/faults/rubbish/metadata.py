"""Amazon metadata files: JSON lines, Python dict literals, gzip; in one go with all of their counts."""

from __future__ import annotations

import gzip
import json
import zlib

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.faults.rubbish.target import REFUSED, Tally, Target, empty_folder, scratch_file
from mmsc_cli.errors import InputError
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon import read_amazon

_RECORD = {
    "asin": "B0001",
    "title": "Ceramic &amp; <b>steel</b> curling iron, 25 mm",
    "description": ["Heats up in 30 s.", "function () {"],
    "brand": "Löwe",
    "price": "$12.50 - $1,299.99",
    "category": ["Beauty", "Hair Care", "Made of the finest ceramic that there is, and of nothing else."],
    "also_view": ["B0002", "B0003", "B0002", 7],
    "also_buy": ["B0001", "\ud800"],
    "imageURL": ["https://images.example/a.jpg"],
}
_OLD_RECORD = {
    "asin": "B0002",
    "categories": [["Beauty"], ["Beauty", "Tools"]],
    "imUrl": "http://images.example/b.jpg",
    "price": 3.99,
    "related": {"also_viewed": ["B0001"], "bought_together": ["B0001"], "buy_after_viewing": []},
    "title": 'It\'s a "brush"',
}


def check_amazon(content: bytes) -> Tally:
    """Every line that says something is a record, kept or counted, as is every entry of its lists, or all is refused.

    A file that is cut short is asked for what is whole of it.
    """
    path = scratch_file("meta.json", content)
    delivery = Delivery(empty_folder("delivery"))
    try:
        read_amazon([path], delivery, allow_truncated=True, cores=1)
    except InputError:
        return REFUSED
    parts = [pq.read_table(part) for part in delivery.parts("records")]
    counts = delivery.counts
    lists = sum(
        pc.sum(pc.list_value_length(part[name])).as_py() or 0 for part in parts for name in ("views", "purchases")
    )
    dropped = counts["relations_unreadable"] + counts["relations_repeated"]
    Tally(counts["relations"], lists, dropped).checked("relations")
    # Without the line at which a file is cut short.
    cut = "truncated" in delivery.notes
    lines = delivery.notes["truncated"][path.name]["after_record"] if cut else None
    whole = [line for line in _unpacked(content).split(b"\n")[:lines] if line and not line.isspace()]
    return Tally(len(whole), sum(map(len, parts)), counts["records_unreadable"]).checked("records")


def _unpacked(content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    found = b""
    while content.startswith(b"\x1f\x8b"):
        stream = zlib.decompressobj(31)
        found += stream.decompress(content)
        content = stream.unused_data.lstrip(b"\0")
    return found


def amazon_seeds() -> list[bytes]:
    """Both schemas and forms, packed and plain."""
    records = (_RECORD, _OLD_RECORD)
    as_json = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    as_literals = b"".join(repr(record).encode(errors="backslashreplace") + b"\n" for record in records)
    packed = gzip.compress(as_json, mtime=0)
    return [
        as_json,
        as_literals,
        packed,
        packed + packed,
        packed[:-20],
        as_literals[:-20],
        b'{"asin": "A", "price": NaN}\n',
    ]


AMAZON = Target("amazon metadata", check_amazon, amazon_seeds)
