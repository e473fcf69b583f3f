"""A product export of WooCommerce: variations inherit from the product that they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmsc_cli.files.item_fields import first_given, is_missing
from mmsc_cli.files.table_file import TableFile
from mmsc_cli.prepare.sources.exports.inherited import Cells, Inheritance, as_bytes, is_inherited

_UNPUBLISHED = ("0", "-1")
_UNESCAPED = ("title", "description", "brand")


class WooCommerceExport:
    """The records of such an export: without unpublished rows.

    A missing cell of a variation is that of its parent, which is named by its SKU or as `id:11`. A parent without a
    price has that of its first variation. Variations of one parent, and it, are a group of the parent's SKU, or
    `id:11` where it has none.
    """

    def __init__(self, table: TableFile, columns: Mapping[str, Sequence[str]], counts: Counter[str]) -> None:
        """Find out which row inherits from where; `columns` are the file's for each of ours."""
        self.names: Sequence[str] = [*(name for name in columns if name != "group"), "group"]
        self._table, self._columns = table, columns
        self._sku, self._number, self._parent, self._published = (
            table.find(name) for name in ("SKU", "ID", "Parent", "Published")
        )
        kept = [np.zeros(0, np.bool_)]
        skus, numbers, parents = ([as_bytes([])] for _ in range(3))
        for block, _ in self._read([]):
            sku, number, parent, published = self._raw(block)
            kept.append(np.array([str(cell).strip() not in _UNPUBLISHED for cell in published], np.bool_))
            skus.append(as_bytes(sku))
            numbers.append(as_bytes(map(_by_number, number)))
            parents.append(as_bytes(parent))
        self._kept = np.concatenate(kept)
        counts["records_unpublished"] += table.rows - int(self._kept.sum())
        named_by, by_number, by_sku = (pa.chunked_array(parts).combine_chunks() for parts in (parents, numbers, skus))
        parent_rows = _last_rows(named_by, by_sku)
        parent_rows = np.where(parent_rows >= 0, parent_rows, _last_rows(named_by, by_number))
        variations = np.flatnonzero(parent_rows >= 0)
        first_variations = np.full(len(parent_rows), -1, np.int32)
        first_variations[parent_rows[variations[::-1]]] = variations[::-1]  # of several, the last that is written stays
        heads = np.where(first_variations >= 0, np.arange(len(parent_rows)), parent_rows)
        known = pc.coalesce(by_sku, by_number).take(pa.array(heads, mask=heads < 0))
        self._groups = pc.coalesce(known, named_by)
        sources = np.where(self._kept, parent_rows, -1)
        takes = dict.fromkeys(filter(is_inherited, columns), sources)
        if "price" in columns:
            takes["price"] = first_variations
        self._inheritance = Inheritance(takes, (cells for _, cells in self._read(list(takes))))

    def _read(self, names: Sequence[str]) -> Iterator[tuple[dict[str, list[Any]], Cells]]:
        """Yield blocks of the file's columns that are needed for some of ours, and ours without `group`."""
        names = [name for name in names if name != "group"]
        theirs = [column for name in names for column in self._columns[name]]
        theirs += [column for column in (self._sku, self._number, self._parent, self._published) if column]
        for block in self._table.blocks(list(dict.fromkeys(theirs))):
            yield block, {name: first_given([block[column] for column in self._columns[name]]) for name in names}

    def _raw(self, block: Mapping[str, list[Any]]) -> list[list[Any]]:
        """SKU, ID, Parent and Published of a block, in which the last is 1 where the file does not say."""
        rows = len(block[str(self._sku)])
        columns = ((self._sku, ""), (self._number, ""), (self._parent, ""), (self._published, "1"))
        return [block[column] if column else [missing] * rows for column, missing in columns]

    def blocks(self, names: Sequence[str]) -> Iterator[Cells]:
        """Yield these of our columns, block by block of the file, without the rows that are no records."""
        start = 0
        for block, cells in self._read(names):
            n_rows = len(block[str(self._sku)])
            rows = np.flatnonzero(self._kept[start : start + n_rows]).tolist()
            whole: Cells = {}
            for name in names:
                if name == "group":
                    filled = [
                        None if group is None else group.decode("utf-8", "surrogatepass")
                        for group in self._groups.slice(start, n_rows).to_pylist()
                    ]
                else:
                    filled = self._inheritance.fill(name, start, cells[name])
                if name in _UNESCAPED:
                    filled = [cell.replace("\\,", ",") if isinstance(cell, str) else cell for cell in filled]
                whole[name] = [filled[row] for row in rows]
            yield whole
            start += n_rows


def _by_number(number: Any) -> str | None:
    return None if is_missing(number) else f"id:{number}"


def _last_rows(wanted: pa.Array, names: pa.Array) -> NDArray[np.int32]:
    """The last row that has each of the wanted names, -1 where none has."""
    backwards = names.take(pa.array(np.arange(len(names))[::-1]))
    found = pc.index_in(wanted, value_set=backwards, skip_nulls=True).fill_null(len(names))
    rows: NDArray[np.int32] = len(names) - 1 - found.to_numpy(zero_copy_only=False).astype(np.int32)
    return rows
