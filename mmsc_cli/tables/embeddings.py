"""Arrays of the workspace, `.npy`, memory-mapped. An array of Python objects would be a pickle and is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace.regular_file import refuse_irregular


def map_array(path: Path, made_by: str) -> NDArray[Any]:
    """Map an array that the command `made_by` writes.

    Raises:
        WorkspaceError: the file is missing or is no plain array.
    """
    try:
        refuse_irregular(path)
        # Unlike np.load, this opens nothing but arrays.
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise WorkspaceError(f"{path} is missing or damaged: {error}", hint=f"run `{made_by}` again") from error


def no_joint(n_items: int) -> NDArray[np.float16]:
    """Return the joint vectors of an encoder that makes none, (n_items, 0)."""
    return np.zeros((n_items, 0), np.float16)


class Embeddings(NamedTuple):
    """`embeddings/` as the encode stage wrote it, memory-mapped.

    Attributes:
        text: shape (n_items, text width), unit rows or zero.
        image: shape (n_items, image width), unit rows or zero.
        mask: shape (n_items, 2), whether an item has a text and an image.
        joint: shape (n_items, joint width), the two as one input, where an item has both; without columns where the
            encoder makes none.
    """

    text: NDArray[np.float16]
    image: NDArray[np.float16]
    mask: NDArray[np.bool_]
    joint: NDArray[np.float16]

    @property
    def sides(self) -> tuple[NDArray[np.float16], ...]:
        """The vectors by modality: text, image, joint."""
        return self.text, self.image, self.joint

    @classmethod
    def open(cls, folder: Path, n_items: int | None = None) -> Embeddings:
        """Map the arrays; `n_items` is the size of the catalogue, where it is known.

        Raises:
            WorkspaceError: one of them is missing, damaged, or of other items than the others.
        """
        text, image, mask = (map_array(folder / f"{name}.npy", "mmsc encode") for name in ("text", "image", "mask"))
        has_joint = (folder / "joint.npy").exists()
        joint = map_array(folder / "joint.npy", "mmsc encode") if has_joint else no_joint(text.size and len(text))
        opened = cls(text, image, mask, joint)
        vectors = all(side.ndim == 2 and side.dtype.kind == "f" for side in opened.sides)
        if not vectors or opened.mask.ndim != 2 or opened.mask.shape[1] != 2 or opened.mask.dtype.kind != "b":
            raise WorkspaceError(f"{folder} is damaged: it holds no vectors", hint="run `mmsc encode` again")
        expected = len(opened.text) if n_items is None else n_items
        if any(len(side) != expected for side in opened):
            raise WorkspaceError(f"{folder} is of another catalogue", hint="run `mmsc encode` again")
        return opened
