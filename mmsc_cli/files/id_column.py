"""A column of item ids that is read by blocks, and read alike in all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from mmsc_cli.files.item_fields import WHOLE_ID, read_id


class IdColumn:
    """The ids of a column, block by block, as `read_id` reads each; "" where there is none.

    A column of whole numbers that a gap turned into floats (`101.0`) holds the whole numbers.
    """

    def __init__(
        self, blocks: Iterable[Sequence[Any]], counts: Counter[str] | None = None, *, unique: bool = False
    ) -> None:
        """Read the ids.

        Args:
            blocks: the cells.
            counts: counts `ids_mended`.
            unique: an id is to be on one row: `NA` on several rows is a missing id, on a single one taken for the id.
        """
        self._blocks: list[pa.Array] = []
        n_na = n_floats = 0
        only_whole = True
        for cells in blocks:
            ids = [read_id(cell, counts) for cell in cells]
            n_na += ids.count("NA")
            n_floats += sum(text.endswith(".0") for text in ids)
            only_whole = only_whole and all(WHOLE_ID.fullmatch(text) for text in ids if text and text != "NA")
            self._blocks.append(pa.array([text.encode("utf-8", "surrogatepass") for text in ids], pa.large_binary()))
        self._without_na = unique and n_na > 1
        self._as_floats = bool(n_floats) and only_whole and (self._without_na or not n_na)
        if self._as_floats and counts is not None:
            counts["ids_mended"] += n_floats

    def __iter__(self) -> Iterator[list[str]]:
        for block in self._blocks:
            ids = [text.decode("utf-8", "surrogatepass") for text in block.to_pylist()]
            if self._without_na:
                ids = ["" if text == "NA" else text for text in ids]
            yield [text.removesuffix(".0") for text in ids] if self._as_floats else ids


def read_ids(values: Sequence[Any], counts: Counter[str] | None = None, *, unique: bool = False) -> list[str]:
    """Read a column of item ids that is here whole; see `IdColumn`."""
    (ids,) = IdColumn([values], counts, unique=unique)
    return ids
