"""Arrays of the workspace, `.npy`, memory-mapped; one of Python objects, which would be a pickle, is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError


def map_array(path: Path, made_by: str) -> NDArray[Any]:
    """Map an array that the command `made_by` writes.

    Raises:
        WorkspaceError: the file is missing or is no plain array.
    """
    try:
        # Unlike np.load it takes nothing else than an array for one.
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise WorkspaceError(f"{path} is missing or damaged: {error}", hint=f"run `{made_by}` again") from error


def map_embeddings(folder: Path) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.bool_]]:
    """Text (items, dim), image (items, dim) and mask (items, 2) as `encode` wrote them.

    Raises:
        WorkspaceError: one of them is missing or damaged.
    """
    text, image, mask = (map_array(folder / f"{name}.npy", "mmsc encode") for name in ("text", "image", "mask"))
    return text, image, mask


@dataclass(frozen=True)
class Embeddings:
    """`embeddings/` as written by the encode stage, memory-mapped: text, image (n, dims) float16, mask (n, 2)."""

    text: NDArray[np.float16]
    image: NDArray[np.float16]
    mask: NDArray[np.bool_]

    @classmethod
    def open(cls, folder: Path) -> Embeddings:
        """Map the three arrays.

        Raises:
            WorkspaceError: one of them is missing or damaged.
        """
        return cls(*map_embeddings(folder))
