"""Arrays of the workspace, `.npy`, memory-mapped. An array of Python objects would be a pickle and is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError


def map_array(path: Path, made_by: str) -> NDArray[Any]:
    """Map an array that the command `made_by` writes.

    Raises:
        WorkspaceError: the file is missing or is no plain array.
    """
    try:
        # Unlike np.load, this opens nothing but arrays.
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise WorkspaceError(f"{path} is missing or damaged: {error}", hint=f"run `{made_by}` again") from error


class Embeddings(NamedTuple):
    """`embeddings/` as the encode stage wrote it, memory-mapped.

    Attributes:
        text: shape (n_items, text width), unit rows or zero.
        image: shape (n_items, image width), unit rows or zero.
        mask: shape (n_items, 2), whether an item has a text and an image.
    """

    text: NDArray[np.float16]
    image: NDArray[np.float16]
    mask: NDArray[np.bool_]

    @classmethod
    def open(cls, folder: Path, n_items: int | None = None) -> Embeddings:
        """Map the three arrays; `n_items` is the size of the catalogue, where it is known.

        Raises:
            WorkspaceError: one of them is missing, damaged, or of other items than the others.
        """
        opened = cls(*(map_array(folder / f"{name}.npy", "mmsc encode") for name in cls._fields))
        vectors = all(side.ndim == 2 and side.dtype.kind == "f" for side in (opened.text, opened.image))
        if not vectors or opened.mask.ndim != 2 or opened.mask.shape[1] != 2 or opened.mask.dtype.kind != "b":
            raise WorkspaceError(f"{folder} is damaged: it holds no vectors", hint="run `mmsc encode` again")
        expected = len(opened.text) if n_items is None else n_items
        if any(len(side) != expected for side in opened):
            raise WorkspaceError(f"{folder} is of another catalogue", hint="run `mmsc encode` again")
        return opened
