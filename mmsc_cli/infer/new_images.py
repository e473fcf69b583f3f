"""Images of new items: files of one's own, and addresses, fetched as carefully as those of a catalogue."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmsc_cli.files.images import UnusableImageError, open_image
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.runtime.redaction import redact

if TYPE_CHECKING:
    from PIL import Image

    from mmsc_cli.recipe.settings import ImageSettings


def read_images(items: Sequence[NewItem], settings: ImageSettings) -> list[Image.Image | UnusableImageError | None]:
    """Per item its image, why it cannot be used, or None where it names none."""
    urls = [item.image_url for item in items if item.image_url and not item.image_path]
    with tempfile.TemporaryDirectory(prefix="mmsc-") as folder:
        files, reasons = _fetch(urls, Path(folder), settings) if urls else ({}, {})
        images: list[Image.Image | UnusableImageError | None] = []
        for item in items:
            path = Path(item.image_path) if item.image_path else files.get(item.image_url or "")
            try:
                if path is not None:
                    images.append(open_image(path))
                elif item.image_url:
                    raise UnusableImageError(reasons[item.image_url])
                else:
                    images.append(None)
            except UnusableImageError as error:
                images.append(UnusableImageError(f"{item.image_path or redact(str(item.image_url))}: {error}"))
    return images


def _fetch(urls: Sequence[str], folder: Path, settings: ImageSettings) -> tuple[dict[str, Path], dict[str, str]]:
    from mmsc_cli.files.image_download import download_images

    return download_images(urls, folder, settings)
