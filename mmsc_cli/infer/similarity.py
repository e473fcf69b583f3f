"""How alike two items are in text and in image, from the workspace's embeddings."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.embeddings import map_embeddings
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.workspace import Workspace

_LOG = logging.getLogger("mmsc_cli")

# Text and image vector, each of unit length, None where the item has none.
Content = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


@dataclass(frozen=True)
class Similarity:
    """Memory-mapped embeddings: `sides` text and image, each (items, dim); `mask` (items, 2)."""

    sides: tuple[NDArray[np.float16], NDArray[np.float16]]
    mask: NDArray[np.bool_]

    @classmethod
    def open(cls, workspace: Workspace, items: int) -> Similarity | None:
        """Map the embeddings the index was made from; None, with a warning, where they are not there (any more).

        Raises:
            WorkspaceError: they are damaged.
        """
        folder = workspace.path("embeddings")
        check_at_a_glance(workspace.root, "encode", [f"embeddings/{name}.npy" for name in ("text", "image", "mask")])
        stages = workspace.manifest().stages
        used = stages["train"].inputs.get("embeddings") if "train" in stages else None
        made = stages["encode"].outputs.get("embeddings") if "encode" in stages else None
        try:
            text, image, mask = map_embeddings(folder)
        except WorkspaceError as error:
            _LOG.warning("no text and image similarities: %s", error)
            return None
        if used != made or not len(text) == len(image) == len(mask) == items:
            _LOG.warning("no text and image similarities: %s is not what this index was made from", folder)
            return None
        return cls((text, image), mask)

    def content(self, row: int) -> Content:
        """Text and image vector of an item of the catalogue."""
        text, image = (
            np.asarray(side[row], np.float32) if self.mask[row, column] else None
            for column, side in enumerate(self.sides)
        )
        return text, image


def cosine(first: NDArray[np.float32] | None, second: NDArray[np.float32] | None) -> float | None:
    """Cosine of two unit vectors, None where one is missing."""
    return None if first is None or second is None else float(first @ second)
