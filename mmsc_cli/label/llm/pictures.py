"""Pictures of items for a model that sees: small, and inside the question, as a server has no access to files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from PIL import Image

from mmsc_cli.files.images import FORMATS, UnusableImageError, open_checked, resolve_image

SIDE = 256  # pixels: some 64 to 100 tokens
QUALITY = 80


class Pictures:
    """The images of a catalogue as data URLs. An item without a usable image has none.

    `root` is the folder that the paths in the item table are relative to.
    """

    def __init__(self, item_table: pa.Table, root: Path) -> None:
        self._paths: list[str | None] = item_table["image_path"].to_pylist()
        self._root = root

    def of_items(self, rows: Iterable[int]) -> dict[int, str]:
        """Data URLs of some items, by item row."""
        urls = {row: self._url(path) for row in set(rows) if (path := self._paths[row])}
        return {row: url for row, url in urls.items() if url}

    def _url(self, path: str) -> str:
        content = io.BytesIO()
        try:
            with open_checked(resolve_image(self._root, path), formats=FORMATS) as image:
                small = image.convert("RGB")
                small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        except UnusableImageError:
            return ""
        small.save(content, "JPEG", quality=QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
