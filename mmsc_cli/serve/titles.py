"""Finding items by words of their titles and by ids, in the index's own memory."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from mmsc_cli.index.index_file import Index
from mmsc_cli.index.soundness import damaged_index


class Titles:
    """The titles and ids of an index, for searches."""

    def __init__(self, index: Index) -> None:
        self._index = index

    @cached_property
    def _arrays(self) -> tuple[Any, Any]:
        import pyarrow as pa  # noqa: PLC0415  slow to import, and answers do without it

        tensors = self._index.tensors
        offsets = [np.ascontiguousarray(tensors[f"{name}.offsets"], np.int64) for name in ("ids", "titles")]
        data = [tensors[f"{name}.bytes"] for name in ("ids", "titles")]
        arrays = [
            pa.LargeStringArray.from_buffers(len(self._index), pa.py_buffer(ends), pa.py_buffer(text))
            for ends, text in zip(offsets, data, strict=True)
        ]
        try:
            for array in arrays:
                array.validate(full=True)  # pyarrow reads where offsets lead, and ends where there is nothing
        except pa.ArrowInvalid as error:
            raise damaged_index(str(error)) from error
        return arrays[0], arrays[1]

    def find(self, text: str, count: int) -> list[dict[str, Any]]:
        """Items whose id contains the text or whose title contains all its words, in any case.

        The item of that id comes first, then ids that begin with it, then the shortest titles.
        """
        import pyarrow.compute as pc  # noqa: PLC0415  slow to import

        ids, titles = self._arrays
        by_id = pc.match_substring(ids, text, ignore_case=True)
        by_title = None
        for word in text.split():
            found = pc.match_substring(titles, word, ignore_case=True)
            by_title = found if by_title is None else pc.and_(by_title, found)
        rows = pc.indices_nonzero(by_id if by_title is None else pc.or_(by_id, by_title))
        lengths = pc.utf8_length(titles.take(rows)).to_pylist()
        wanted = text.casefold()

        def place(found: tuple[int, int]) -> tuple[bool, bool, int, int]:
            item_id = self._index.ids[found[0]].casefold()
            return item_id != wanted, not item_id.startswith(wanted), found[1], found[0]

        best = sorted(zip(rows.to_pylist(), lengths, strict=True), key=place)[:count]
        return [{"item": self._index.ids[row], "title": self._index.titles[row]} for row, _ in best]
