"""`image_hashes.npy`: what the image of each item was when `prepare` put it in place, (items,) uint64.

The first 8 bytes of the file's sha256, 0 where an item has no image. Whoever reads an image compares: `images/` may
hold millions of files, and is not read through by every stage.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.tables.embeddings import map_array
from mmsc_cli.tables.items import count_items, item_batches, take_items
from mmsc_cli.workspace.checksums import damaged_file
from mmsc_cli.workspace.regular_file import open_regular

NAME = "image_hashes.npy"
NO_IMAGE = 0


def hash_image(path: Path) -> int:
    """The first 8 bytes of the sha256 of a file, never 0.

    Raises:
        OSError: it cannot be read.
        WorkspaceError: it is a link, or no regular file.
    """
    with open_regular(path) as file:
        return int.from_bytes(file_digest(file, "sha256").digest()[:8], "little") or 1


def write_image_hashes(items: Path, root: Path, out: Path) -> None:
    """Write the hashes of the images that an item table names, by paths relative to `root`; atomically."""
    hashes = np.zeros(count_items(items), np.uint64)
    row = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for batch in item_batches(items, ["image_path"], 0, len(hashes)):
            paths = batch["image_path"].to_pylist()
            hashes[row : row + len(paths)] = list(pool.map(lambda path: _hash_if_there(root, path), paths))
            row += len(paths)
    with atomic_write(out) as file:
        np.save(file, hashes, allow_pickle=False)


def read_image_hashes(root: Path) -> NDArray[np.uint64] | None:
    """A workspace's hashes, (items,); None where `prepare` placed no images.

    Raises:
        WorkspaceError: the file is damaged.
    """
    path = root / NAME
    return map_array(path, "mmsc prepare SOURCE") if path.exists() else None


def check_images(root: Path, items: Path, rows: range, hashes: NDArray[np.uint64]) -> None:
    """Refuse images of some rows, hashed as `hash_image` does, that are not what `prepare` put in place.

    Raises:
        WorkspaceError: there is one; it is named.
    """
    recorded = read_image_hashes(root)
    if recorded is None:
        return
    placed = recorded[rows.start : rows.stop]
    changed = rows.start + np.flatnonzero((placed != NO_IMAGE) & (placed != hashes))
    for batch in take_items(items, ["image_path"], changed[:1]):
        raise damaged_file(root, batch["image_path"][0].as_py(), "prepare")


def _hash_if_there(root: Path, path: str | None) -> int:
    try:
        return NO_IMAGE if path is None else hash_image(root / path)
    except (OSError, ValueError, WorkspaceError):  # a table may name what is not there
        return NO_IMAGE
