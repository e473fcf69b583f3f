"""One block of Amazon metadata, parsed and cleaned: what runs in the worker processes."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from mmsc_cli.files.line_blocks import Block
from mmsc_cli.prepare.cleaning import MAX_TITLE, clean_category, clean_price, clean_text
from mmsc_cli.prepare.records import RECORD_SCHEMA, filled, write_part
from mmsc_cli.prepare.sources.python_literal import read_dict_literal

VIEW_LISTS = ("also_viewed", "buy_after_viewing", "also_view")
BUY_LISTS = ("also_bought", "bought_together", "also_buy")
_IMAGE_FIELDS = ("imUrl", "imageURLHighRes", "imageURL", "image")
_FIELDS = ("title", "description", "brand", "price", "category", "categories")
_EMPTY: tuple[Any, ...] = ("", [], [[]])
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


def deliver_block(block: Block, folder: Path, file_number: int) -> Counter[str]:
    """Parse and clean the products of a block, write them as a part of the delivery in `folder`, and return the counts.

    Raises:
        RecordError: a line is no product of either schema.
    """
    counts: Counter[str] = Counter()
    start = file_number * _LINES_PER_FILE
    rows: list[tuple[Any, ...]] = []
    with _without_garbage_collection():
        for number, content in read_lines(block):
            related = content.get("related")
            lists = related if isinstance(related, dict) else content
            views, purchases = _merge_lists(lists, VIEW_LISTS, counts), _merge_lists(lists, BUY_LISTS, counts)
            fields = _clean(content, number, counts)
            richness = sum(map(filled, fields)) * _MANY + len(views) + len(purchases)
            rows.append((start + number, *fields, richness, views, purchases))
        counts["records"] = len(rows)
        columns = list(zip(*rows, strict=True)) or [()] * len(RECORD_SCHEMA)
        arrays = [_array(column, field.type) for column, field in zip(columns, RECORD_SCHEMA, strict=True)]
        write_part(folder, "records", start + block.first, pa.table(arrays, schema=RECORD_SCHEMA))
    return counts


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


def read_lines(block: Block) -> Iterator[tuple[int, dict[str, Any]]]:
    """The content of each line that is not blank, with its number.

    Raises:
        RecordError: a line is neither a JSON object nor a Python dict literal.
    """
    for number, line in enumerate(block.content.split(b"\n"), start=block.first):
        if line and not line.isspace():
            yield number, _read_line(line, number)


def _read_line(line: bytes, number: int) -> dict[str, Any]:
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


def _clean(content: dict[str, Any], number: int, counts: Counter[str]) -> tuple[Any, ...]:
    """The fields of a record, in the order of CATALOGUE_SCHEMA."""
    item_id = content.get("asin")
    if not isinstance(item_id, str) or not item_id.strip() or not item_id.isprintable():
        raise RecordError(number, "has no usable 'asin'")
    for name in _FIELDS:
        if content.get(name) in _EMPTY:
            counts["empty_fields"] += 1
    return (
        item_id.strip(),
        clean_text(content.get("title"), MAX_TITLE, name="titles", found=counts),
        clean_text(content.get("description"), name="descriptions", found=counts),
        clean_text(content.get("brand"), MAX_TITLE, name="brands", found=counts),
        clean_category(content.get("categories") or content.get("category"), counts),
        clean_price(content.get("price"), counts),
        _image_url(content),
        None,
    )


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


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:  # lone surrogates in lists, which are no part of an id we keep
        return pa.array([[text.encode("utf-8", "replace").decode() for text in texts] for texts in values], kind)
