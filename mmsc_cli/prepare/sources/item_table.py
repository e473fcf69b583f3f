"""Read a table of items: your own columns, or an export of a shop system that its columns tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from mmsc_cli.files.id_column import IdColumn
from mmsc_cli.files.item_fields import (
    MAX_DESCRIPTION,
    MAX_TITLE,
    NULL_WORDS,
    commas_part_paths,
    first_given,
    guess_category_separator,
    is_missing,
    kept_text,
    plain_text,
    read_category,
    read_id,
    read_image_url,
    read_text,
)
from mmsc_cli.files.prices import Mark, decimal_mark, read_price
from mmsc_cli.files.table_file import TableFile, read_table_file
from mmsc_cli.prepare.records import Delivery, Record, record_table
from mmsc_cli.prepare.settings import ItemColumn
from mmsc_cli.prepare.sources.aliases import ITEM_FORMATS, known_format
from mmsc_cli.prepare.sources.columns import kept_columns, resolve_columns
from mmsc_cli.prepare.sources.exports.inherited import KEPT, Cells, Export
from mmsc_cli.prepare.sources.exports.shopify import ShopifyExport
from mmsc_cli.prepare.sources.exports.woocommerce import WooCommerceExport


def read_item_table(
    path: Path,
    mapping: Mapping[Any, str],
    delivery: Delivery,
    category_separator: str | None = None,
    keep: Sequence[str] = (),
) -> None:
    """Read a table of items into a delivery.

    It needs the column `item_id`; title, description, brand, category (a list, or a path such as `Toys > Games`),
    price, image_url, image_path and group (variants of one product have the same) are optional. The richest of the rows
    with one id will be kept. Rows of a Shopify or WooCommerce export inherit from their product.

    Args:
        path: the file.
        mapping: our columns to the file's.
        delivery: where records and counts go.
        category_separator: parts the names of a path; None: see `read_category` and `guess_category_separator`.
        keep: further columns of the file, or some of ours, that are kept for filters.

    Raises:
        InputError: the file is missing, is not such a table, or lacks a column.
    """
    table = read_table_file(path)
    known = known_format(ITEM_FORMATS, list(table))
    names = resolve_columns(table, mapping, get_args(ItemColumn), ("item_id",), known, delivery)
    names |= kept_columns(table, [name for name in keep if name not in names])
    counts = delivery.counts
    first_record = counts["records"]
    counts["records"] += table.rows
    export = _EXPORTS.get(known.name) if known is not None else None
    rows: Export = _Rows(table, names) if export is None else export(table, names, counts)
    ids = IdColumn((block["item_id"] for block in rows.blocks(["item_id"])), counts, unique=True)
    style = _style(rows, ids, category_separator)
    number = first_record
    for item_ids, block in zip(ids, rows.blocks(rows.names), strict=True):
        identified = [row for row, item_id in enumerate(item_ids) if item_id]
        counts["without_id"] += len(item_ids) - len(identified)
        known_cells = {
            name: [_known(name, column[row], counts) for row in identified]
            for name, column in block.items()
            if name != "item_id" and not name.startswith(KEPT)
        }
        kept = [block.get(KEPT + name, []) for name in keep]
        known_cells["kept"] = [[kept_text(column[row]) if column else None for column in kept] for row in identified]
        records = _records([item_ids[row] for row in identified], known_cells, style, counts, number)
        number += len(records)
        delivery.add("records", record_table([_with_own(record, keep) for record in records]))


class _Rows:
    """The rows of a table by blocks, in our columns."""

    def __init__(self, table: TableFile, columns: Mapping[str, Sequence[str]]) -> None:
        self._table, self._columns = table, columns
        self.names: Sequence[str] = list(columns)

    def blocks(self, names: Sequence[str]) -> Iterator[Cells]:
        """Yield the columns of these names."""
        for block in self._table.blocks(
            list(dict.fromkeys(theirs for name in names for theirs in self._columns[name]))
        ):
            yield {name: first_given([block[column] for column in self._columns[name]]) for name in names}


def _cells(rows: Export, name: str, ids: IdColumn) -> Iterator[Any]:
    """Yield the cells of the rows that have an id, None where empty; nothing where there is no such column."""
    for item_ids, block in zip(ids, rows.blocks([name]), strict=True) if name in rows.names else ():
        for item_id, cell in zip(item_ids, block[name], strict=True):
            if item_id:
                yield None if is_missing(cell) else cell


class _Style(NamedTuple):
    """How a whole column writes paths and prices."""

    separator: str | None
    commas: bool
    decimal: Mark | None


def _style(rows: Export, ids: IdColumn, separator: str | None) -> _Style:
    return _Style(
        separator or guess_category_separator(_cells(rows, "category", ids)),
        commas_part_paths(_cells(rows, "category", ids)),
        decimal_mark(_cells(rows, "price", ids)),
    )


def _known(name: str, value: Any, counts: Counter[str]) -> Any:
    """The cell, or None where it is empty. Most products have no group: that is no empty field."""
    if not is_missing(value):
        return value
    counts["empty_fields"] += name != "group"
    counts["null_words"] += isinstance(value, str) and value.strip() in NULL_WORDS
    return None


def _records(ids: Sequence[str], cells: Cells, style: _Style, counts: Counter[str], first: int) -> list[Record]:
    columns = {name: cells.get(name) or [None] * len(ids) for name in Record._fields}
    records = []
    for number, item_id in enumerate(ids):
        cell = {name: column[number] for name, column in columns.items()}
        record = Record(
            record=first + number,
            item_id=item_id,
            title=read_text(cell["title"], MAX_TITLE, name="titles", counts=counts),
            description=read_text(
                cell["description"], MAX_DESCRIPTION, name="descriptions", counts=counts, joint="\n\n"
            ),
            brand=read_text(cell["brand"], MAX_TITLE, name="brands", counts=counts),
            category=read_category(cell["category"], counts, separator=style.separator, commas=style.commas),
            price=read_price(cell["price"], counts, style.decimal),
            image_url=read_image_url(cell["image_url"]),
            image_path=plain_text(cell["image_path"]),
            group=read_id(cell["group"]) or None,
            kept=cell["kept"],
        )
        records.append(record._replace(richness=record.fields_filled()))
    return records


def _with_own(record: Record, keep: Sequence[str]) -> Record:
    """The record with those of its fields kept that the recipe keeps by our names."""
    own = record._asdict() | {"category": " > ".join(record.category)}
    kept = [kept_text(own[name]) if name in own else value for name, value in zip(keep, record.kept, strict=True)]
    return record._replace(kept=kept) if keep else record


_EXPORTS: dict[str, Callable[[TableFile, Mapping[str, Sequence[str]], Counter[str]], Export]] = {
    "shopify": ShopifyExport,
    "woocommerce": WooCommerceExport,
}
