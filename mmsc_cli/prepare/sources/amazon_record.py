"""One block of Amazon metadata, parsed and cleaned: what runs in the worker processes."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mmsc_cli.files.item_fields import MAX_TITLE, clean_node, clean_text, read_id
from mmsc_cli.files.line_blocks import LineBlock
from mmsc_cli.files.prices import read_price
from mmsc_cli.prepare.records import Record, record_table, write_part
from mmsc_cli.prepare.sources.python_literal import read_dict_literal

VIEW_LISTS = ("also_viewed", "buy_after_viewing", "also_view")
BUY_LISTS = ("also_bought", "bought_together", "also_buy")
_IMAGE_FIELDS = ("imUrl", "imageURLHighRes", "imageURL", "image")
_FIELDS = ("title", "description", "brand", "price", "category", "categories")
_EMPTY: tuple[Any, ...] = ("", [], [[]])
MAX_NODE = 60
MAX_NODE_WORDS = 8
_MANY = 1_000_000  # more relations than a record can have
_LINES_PER_FILE = 1 << 40


class RecordError(Exception):
    """A line that is no product. `arguments`: its number in the file, and what is wrong with it."""

    @property
    def number(self) -> int:
        """The number of the line, from 1."""
        return int(self.args[0])

    @property
    def reason(self) -> str:
        """What is wrong, to be put behind "record 7 "."""
        return str(self.args[1])


@dataclass(frozen=True)
class BlockReport:
    """What became of a block: counts, and the first line that is no product."""

    counts: Counter[str]
    first_error: RecordError | None


def deliver_block(block: LineBlock, folder: Path, file_number: int) -> BlockReport:
    """Parse and clean the products of a block, and write them as a part of the delivery in `folder`.

    A line that is no product of either schema is counted as `records_unreadable`.
    """
    counts: Counter[str] = Counter()
    start = file_number * _LINES_PER_FILE
    records: list[Record] = []
    errors: list[RecordError] = []
    with _without_garbage_collection():
        for number, line in _lines(block):
            try:
                record = _product(_read_line(line, number), number, counts)
                records.append(record._replace(record=start + number))
            except RecordError as error:
                errors.append(error)
        counts["records"] = len(records) + len(errors)
        if errors:
            counts["records_unreadable"] = len(errors)
        write_part(folder, "records", start + block.first, record_table(records))
    return BlockReport(counts, errors[0] if errors else None)


def _product(content: dict[str, Any], number: int, counts: Counter[str]) -> Record:
    record = _clean(content, number, counts)
    related = content.get("related")
    lists = related if isinstance(related, dict) else content
    views, purchases = _merge_lists(lists, VIEW_LISTS, counts), _merge_lists(lists, BUY_LISTS, counts)
    richness = record.fields_filled() * _MANY + len(views) + len(purchases)
    return record._replace(richness=richness, views=views, purchases=purchases)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Looking for cycles among a block's many small objects, which have none, takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _lines(block: LineBlock) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number."""
    for number, line in enumerate(block.content.split(b"\n"), start=block.first):
        if line and not line.isspace():
            yield number, line


def check_lines(block: LineBlock) -> None:
    """Read a block.

    Raises:
        RecordError: a line is neither a JSON object nor a Python dict literal.
    """
    for number, line in _lines(block):
        _read_line(line, number)


def _read_line(line: bytes, number: int) -> dict[str, Any]:
    """The product of a line.

    Raises:
        RecordError: it is neither a JSON object nor a Python dict literal.
    """
    content: Any = None
    # A first quote tells the formats apart in nearly all lines. Of the JSON parsers orjson is the faster one, the
    # standard library's knows NaN and lone surrogates.
    json_first = (orjson.loads, read_dict_literal, json.loads)
    for read in json_first if not line.startswith(b"{'") else (read_dict_literal,):
        try:
            content = read(line)
            break
        except (ValueError, RecursionError):
            continue
    if not isinstance(content, dict):
        raise RecordError(number, "is neither a JSON object nor a Python dict literal")
    return content


def _clean(content: dict[str, Any], number: int, counts: Counter[str]) -> Record:
    """The fields of a product."""
    asin = content.get("asin")
    item_id = read_id(asin) if isinstance(asin, str | int | float) and not isinstance(asin, bool) else ""
    if not item_id or not str(asin).isprintable():
        raise RecordError(number, "has no usable 'asin'")
    for name in _FIELDS:
        if content.get(name) in _EMPTY:
            counts["empty_fields"] += 1
    return Record(
        record=number,
        item_id=item_id,
        title=clean_text(content.get("title"), MAX_TITLE, name="titles", counts=counts),
        description=clean_text(content.get("description"), name="descriptions", counts=counts),
        brand=clean_text(content.get("brand"), MAX_TITLE, name="brands", counts=counts),
        category=clean_category(content.get("categories") or content.get("category"), counts),
        price=read_price(content.get("price"), counts),
        image_url=_image_url(content),
    )


def clean_category(value: Any, counts: Counter[str] | None = None) -> list[str]:
    """A category path, root first. Of several paths (2014 schema) the longest; cut where feature text begins.

    The 2018 files append sentences of the product page to the path: a node is a short name, not a sentence. `counts`
    counts `categories_cut`.
    """
    if not isinstance(value, list):
        return []
    counts = Counter() if counts is None else counts
    paths = [path for path in value if isinstance(path, list)]
    path: list[str] = []
    for node in max(paths, key=len) if paths else value:
        if not isinstance(node, str):
            continue
        name, kinds = clean_node(node)
        for kind in kinds:
            counts[kind.format("categories")] += 1
        if len(name) > MAX_NODE or name.endswith(".") or len(name.split()) > MAX_NODE_WORDS:
            counts["categories_cut"] += 1
            break
        if name:
            path.append(name)
    return path


def _merge_lists(lists: dict[str, Any], names: Sequence[str], counts: Counter[str]) -> list[str]:
    """Ordered partners from several lists of the same behaviour; a partner's first position counts."""
    partners: dict[str, None] = {}
    given = unreadable = 0
    for name in names:
        values = lists.get(name)
        if not isinstance(values, list) or not values:
            continue
        given += len(values)
        try:
            # The fastest way to see that all of them are texts.
            "".join(values)
        except TypeError:
            texts = [value for value in values if isinstance(value, str)]
            unreadable += len(values) - len(texts)
            values = texts
        partners = partners | dict.fromkeys(values) if partners else dict.fromkeys(values)
    if given:
        counts["relations"] += given
        counts["relations_unreadable"] += unreadable
        counts["relations_repeated"] += given - unreadable - len(partners)
    return list(partners)


def _image_url(content: dict[str, Any]) -> str | None:
    for name in _IMAGE_FIELDS:
        value = content.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, str) and value.startswith(("http://", "https://")) and value.isprintable():
            return value
    return None
