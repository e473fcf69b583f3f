"""A product export of Shopify: variants inherit from the rows of their Handle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.files.item_fields import first_given, is_missing
from mmsc_cli.files.table_file import TableFile
from mmsc_cli.prepare.sources.exports.inherited import Cells, Inheritance, as_bytes, first_rows, is_inherited

_UNPUBLISHED = ("draft", "archived")


class ShopifyExport:
    """The records of such an export: without rows of pictures, drafts and archived products.

    A missing cell is the first given one of the rows with the same Handle. A product without a SKU is known by its
    Handle.
    """

    def __init__(self, table: TableFile, columns: Mapping[str, Sequence[str]], counts: Counter[str]) -> None:
        """Find out which row inherits what from where; `columns` are the file's for each of ours."""
        self.names: Sequence[str] = list(columns)
        self._table, self._columns = table, columns
        self._handle, self._status, self._picture = map(table.find, ("Handle", "Status", "Image Src"))
        inherited = [name for name in columns if is_inherited(name)]
        given, unpublished, handles = self._looked_through([*inherited, "item_id", "price"])
        first = {name: first_rows(handles, given[name]) for name in [*inherited, "status"]}
        if "picture" in given and "image_url" in first:  # the product's picture, rather than that of a variant
            pictures = first_rows(handles, given["picture"])
            first["image_url"] = np.where(pictures >= 0, pictures, first["image_url"])
        rows = np.arange(table.rows, dtype=np.int32)
        decisive = np.where(handles >= 0, first["status"][handles], rows) if len(first["status"]) else rows
        hidden = (decisive >= 0) & unpublished[decisive]
        prices = given.get("price", given["item_id"])
        pictured = ~hidden & ~given["item_id"] & ~prices
        counts["records_unpublished"] += int(hidden.sum())
        counts["records_of_pictures"] += int(pictured.sum())
        self._kept = ~hidden & ~pictured
        leading = np.zeros(table.rows, np.bool_)
        leading[(found := first_rows(handles, self._kept))[found >= 0]] = True
        self._called_by_handle = leading & ~given["item_id"]
        sources = {
            name: np.where(self._kept & ~given[name] & (handles >= 0), first[name][handles], -1)
            if len(first[name])
            else np.full(table.rows, -1, np.int32)
            for name in inherited
        }
        self._inheritance = Inheritance(sources, self._lent(inherited))

    def _looked_through(
        self, names: Sequence[str]
    ) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.bool_], NDArray[np.int32]]:
        """Which cells are given (by our names, `status`, `picture`), which rows unpublished, and Handles as numbers."""
        names = [name for name in names if name in self._columns]
        raw = {"status": self._status, "picture": self._picture}
        given: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in names}
        given |= {name: [] for name, column in raw.items() if column}
        unpublished, handles = [np.zeros(0, np.bool_)], [as_bytes([])]
        for block, cells in self._read(names):
            for name, column in {**cells, **{name: block[column] for name, column in raw.items() if column}}.items():
                given[name].append(np.array([not is_missing(cell) for cell in column], np.bool_))
            status = block[self._status] if self._status else [""] * len(block[str(self._handle)])
            unpublished.append(np.array([str(cell).strip().lower() in _UNPUBLISHED for cell in status], np.bool_))
            handles.append(as_bytes(block[str(self._handle)]))
        whole = {name: np.concatenate([np.zeros(0, np.bool_), *parts]) for name, parts in given.items()}
        whole.setdefault("status", np.zeros(self._table.rows, np.bool_))
        numbers = pa.chunked_array(handles).combine_chunks().dictionary_encode().indices
        return whole, np.concatenate(unpublished), numbers.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)

    def _read(self, names: Sequence[str]) -> Iterator[tuple[dict[str, list[Any]], Cells]]:
        """Yield blocks of the file's columns that are needed for some of ours, and ours."""
        theirs = [column for name in names for column in self._columns[name]]
        theirs += [column for column in (self._handle, self._status, self._picture) if column]
        for block in self._table.blocks(list(dict.fromkeys(theirs))):
            yield block, {name: first_given([block[column] for column in self._columns[name]]) for name in names}

    def _lent(self, names: Sequence[str]) -> Iterator[Cells]:
        for block, cells in self._read(names):
            if self._picture and "image_url" in cells:
                cells["image_url"] = first_given([block[self._picture], cells["image_url"]])
            yield cells

    def blocks(self, names: Sequence[str]) -> Iterator[Cells]:
        """Yield these of our columns, block by block of the file, without the rows that are no records."""
        start = 0
        for block, cells in self._read(names):
            handles = block[str(self._handle)]
            rows = np.flatnonzero(self._kept[start : start + len(handles)]).tolist()
            for name, column in cells.items():
                filled = self._inheritance.fill(name, start, column)
                if name == "item_id":
                    for row in np.flatnonzero(self._called_by_handle[start : start + len(handles)]).tolist():
                        filled[row] = handles[row]
                cells[name] = [filled[row] for row in rows]
            yield cells
            start += len(handles)
