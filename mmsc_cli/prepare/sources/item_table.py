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
    guess_category_separator,
    is_missing,
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
from mmsc_cli.prepare.sources.columns import resolve_columns

Cells = dict[str, list[Any]]
ROWS_AT_A_TIME = 50_000


def read_item_table(
    path: Path, mapping: Mapping[Any, str], delivery: Delivery, category_separator: str | None = None
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

    Raises:
        InputError: the file is missing, is not such a table, or lacks a column.
    """
    table = read_table_file(path)
    known = known_format(ITEM_FORMATS, list(table))
    names = resolve_columns(table, mapping, get_args(ItemColumn), ("item_id",), known, delivery)
    counts = delivery.counts
    first_record = counts["records"]
    counts["records"] += table.rows
    inherit = _INHERITANCE.get(known.name) if known is not None else None
    if inherit is not None:
        whole = inherit(
            table, {name: _first_given([table[column] for column in names[name]]) for name in names}, counts
        )
    rows = _Rows(table, names, whole if inherit is not None else None)
    ids = IdColumn((block["item_id"] for block in rows.blocks(["item_id"])), counts, unique=True)
    style = _style(rows, ids, category_separator)
    number = first_record
    for item_ids, block in zip(ids, rows.blocks(rows.names), strict=True):
        identified = [row for row, item_id in enumerate(item_ids) if item_id]
        counts["without_id"] += len(item_ids) - len(identified)
        known_cells = {
            name: [_known(column[row], counts) for row in identified]
            for name, column in block.items()
            if name != "item_id"
        }
        records = _records([item_ids[row] for row in identified], known_cells, style, counts, number)
        number += len(records)
        delivery.add("records", record_table(records))


class _Rows:
    """The rows of a table by blocks, in our columns; or of `whole`, which was read at once."""

    def __init__(self, table: TableFile, columns: Mapping[str, Sequence[str]], whole: Cells | None) -> None:
        self._table, self._columns, self._whole = table, columns, whole
        self.names = list(columns if whole is None else whole)

    def blocks(self, names: Sequence[str]) -> Iterator[Cells]:
        """Yield the columns of these names."""
        if self._whole is not None:
            n_rows = len(self._whole["item_id"])
            for start in range(0, n_rows, ROWS_AT_A_TIME):
                yield {name: self._whole[name][start : start + ROWS_AT_A_TIME] for name in names}
            return
        for block in self._table.blocks(
            list(dict.fromkeys(theirs for name in names for theirs in self._columns[name]))
        ):
            yield {name: _first_given([block[column] for column in self._columns[name]]) for name in names}

    def cells(self, name: str, ids: IdColumn) -> Iterator[Any]:
        """Yield the cells of the rows that have an id, None where empty; nothing where there is no such column."""
        for item_ids, block in zip(ids, self.blocks([name]), strict=True) if name in self.names else ():
            for item_id, cell in zip(item_ids, block[name], strict=True):
                if item_id:
                    yield None if is_missing(cell) else cell


class _Style(NamedTuple):
    """How a whole column writes paths and prices."""

    separator: str | None
    commas: bool
    decimal: Mark | None


def _style(rows: _Rows, ids: IdColumn, separator: str | None) -> _Style:
    return _Style(
        separator or guess_category_separator(rows.cells("category", ids)),
        commas_part_paths(rows.cells("category", ids)),
        decimal_mark(rows.cells("price", ids)),
    )


def _known(value: Any, counts: Counter[str]) -> Any:
    """The cell, or None where it is empty."""
    if not is_missing(value):
        return value
    counts["empty_fields"] += 1
    counts["null_words"] += isinstance(value, str) and value.strip() in NULL_WORDS
    return None


def _first_given(columns: Sequence[list[Any]]) -> list[Any]:
    """Of several columns the first that says something, row by row."""
    if len(columns) == 1:
        return columns[0]
    return [next((cell for cell in row if not is_missing(cell)), None) for row in zip(*columns, strict=True)]


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
        )
        records.append(record._replace(richness=record.fields_filled()))
    return records


def _shopify_rows(table: TableFile, cells: Cells, counts: Counter[str]) -> Cells:
    """Let variants inherit from the first rows of their Handle, and leave out rows of pictures, drafts and archives.

    A product without a SKU is known by its Handle.
    """
    handles = table["Handle"]
    status = table["Status"] if "Status" in table else [""] * table.rows
    first: dict[tuple[str, Any], Any] = {}
    inherited = [name for name in ("title", "description", "brand", "category", "image_url") if name in cells]
    for row, handle in enumerate(handles):
        for name, column in (*((name, cells[name]) for name in inherited), ("status", status)):
            if not is_missing(column[row]):
                first.setdefault((name, handle), column[row])
    if "Image Src" in table:  # the picture of the product, rather than that of its first variant
        for handle, url in zip(reversed(handles), reversed(table["Image Src"]), strict=True):
            if not is_missing(url):
                first["image_url", handle] = url
    prices = cells.get("price", cells["item_id"])
    named: set[Any] = set()
    kept = []
    for row, handle in enumerate(handles):
        if str(first.get(("status", handle), "")).strip().lower() in ("draft", "archived"):
            counts["records_unpublished"] += 1
        elif is_missing(cells["item_id"][row]) and is_missing(prices[row]):
            counts["records_of_pictures"] += 1
        else:
            kept.append(row)
    rows: Cells = {name: [column[row] for row in kept] for name, column in cells.items()}
    for position, row in enumerate(kept):
        handle = handles[row]
        for name in inherited:
            if is_missing(rows[name][position]):
                rows[name][position] = first.get((name, handle))
        if is_missing(rows["item_id"][position]) and handle not in named:
            rows["item_id"][position] = handle
        named.add(handle)
    return rows


def _woocommerce_rows(table: TableFile, cells: Cells, counts: Counter[str]) -> Cells:
    """Let variations inherit from their parent, named by SKU or as `id:11`, and leave out unpublished rows."""
    numbers = table["ID"] if "ID" in table else [""] * table.rows
    parents = table["Parent"] if "Parent" in table else [""] * table.rows
    published = table["Published"] if "Published" in table else ["1"] * table.rows
    row_of = {f"id:{number}": row for row, number in enumerate(numbers) if not is_missing(number)}
    row_of |= {str(sku): row for row, sku in enumerate(table["SKU"]) if not is_missing(sku)}
    kept = [row for row in range(table.rows) if str(published[row]).strip() not in ("0", "-1")]
    counts["records_unpublished"] += table.rows - len(kept)
    rows: Cells = {name: [column[row] for row in kept] for name, column in cells.items()}
    for name in {"title", "description", "brand"} & rows.keys():
        rows[name] = [cell.replace("\\,", ",") if isinstance(cell, str) else cell for cell in rows[name]]
    rows["group"] = [None] * len(kept)
    with_variants = {parent for parent in parents if not is_missing(parent)}
    for position, row in enumerate(kept):
        parent = parents[row]
        if is_missing(parent):
            own_group = next(
                (name for name in (f"id:{numbers[row]}", table["SKU"][row]) if name in with_variants), None
            )
            rows["group"][position] = own_group
            continue
        rows["group"][position] = parent
        if (parent_row := row_of.get(str(parent))) is None:
            continue
        for name in ("title", "description", "brand", "category", "image_url"):
            if name in rows and is_missing(rows[name][position]):
                rows[name][position] = cells[name][parent_row]
    return rows


_INHERITANCE: dict[str, Callable[[TableFile, Cells, Counter[str]], Cells]] = {
    "shopify": _shopify_rows,
    "woocommerce": _woocommerce_rows,
}
