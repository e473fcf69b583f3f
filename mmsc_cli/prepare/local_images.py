"""Your own images: copied into the workspace, so that it stays whole when the originals move."""

from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from mmsc_cli.prepare.catalogue import Catalogue
from mmsc_cli.progress import SILENT, Progress


def copy_images(catalogue: Catalogue, source: Path, target: Path, progress: Progress = SILENT) -> Catalogue:
    """Copy the image files that items name into the workspace.

    Args:
        catalogue: its `image_path` values are relative to `source`, or absolute.
        source: the folder of the item file.
        target: the workspace's `images/`, which exists.
        progress: told of every image.

    Returns:
        The catalogue with `image_path` relative to the workspace, null where there is no such file, and the counts
        `images` and `images_not_found`.
    """
    items = catalogue.items
    column = items.schema.get_field_index("image_path")
    named = items["image_path"].to_pylist()
    placed: list[str | None] = []
    with progress.task("Copying images", sum(path is not None for path in named)) as task:
        for item_id, path in zip(items["item_id"].to_pylist(), named, strict=True):
            placed.append(None if path is None else _copy(source / path, target, item_id))
            task.advance(path is not None)
    found = sum(path is not None for path in placed)
    counts = {"images": found, "images_not_found": sum(path is not None for path in named) - found}
    field = items.schema.field(column)
    items = items.set_column(column, field, pa.array(placed, field.type))
    return replace(catalogue, items=items, counts=catalogue.counts | counts)


def _copy(path: Path, target: Path, item_id: str) -> str | None:
    """The copy's name comes from the item's id, which may hold anything, by a hash."""
    if not path.is_file():
        return None
    name = blake2b(item_id.encode(), digest_size=16).hexdigest() + path.suffix.lower()
    shutil.copyfile(path, target / name)
    return f"images/{name}"
