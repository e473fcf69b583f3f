"""The layout of the files that faiss writes of a graph: whether their parts fill them.

faiss 1.15 checks values, but it crashes where a file that it maps ends within one of its numbers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from mmsc_cli.workspace.regular_file import open_regular

# Behind its four letters: width, items, two numbers without meaning, whether it is trained, metric.
_HEADER_BYTES = 4 + 8 + 8 + 8 + 1 + 4
# Bytes an entry: probabilities of levels, neighbours per level, levels of items, offsets, neighbours.
_GRAPH = (8, 4, 4, 8, 4)
# Entry point, highest level, and three settings of building and search.
_GRAPH_NUMBERS_BYTES = 5 * 4
_VECTORS, _ITEM_ROWS = 4, 8


def check_graph_file(path: Path, *, graph: bool) -> None:
    """Check that a file holds vectors with their item rows, and a graph of them or none, and nothing else.

    Raises:
        ValueError: it does not.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _skip_header(file, b"IxMp")
        if graph:
            _skip_header(file, b"IHNf")
            for width in _GRAPH:
                _skip_list(file, width, size)
            file.seek(_GRAPH_NUMBERS_BYTES, os.SEEK_CUR)
        _skip_header(file, b"IxFI")
        for width in (_VECTORS, _ITEM_ROWS):
            _skip_list(file, width, size)
        if file.tell() != size:
            raise ValueError("its parts do not fill it")


def _skip_header(file: BinaryIO, kind: bytes) -> None:
    if file.read(len(kind)) != kind:
        raise ValueError("it is another kind of index")
    file.seek(_HEADER_BYTES, os.SEEK_CUR)


def _skip_list(file: BinaryIO, width: int, size: int) -> None:
    entries = file.read(8)
    length = int.from_bytes(entries, "little") * width
    if len(entries) < 8 or length > size:
        raise ValueError("it ends within a list")
    file.seek(length, os.SEEK_CUR)
