"""A catalogue's images, safely opened and small enough to hold many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mmsc_cli.image_file import FORMATS, open_checked, resolve_image

# Nearly twice what the default model looks at, so that its own resizing still has something to average over.
_SHORT_SIDE = 448
_LONG_SIDE = 2048


def load_image(workspace_root: Path, image_path: str) -> Image.Image:
    """Open an image of a workspace as RGB: upright, the first frame, transparency over white.

    Images much larger than any encoder looks at come back reduced (the shorter side stays at least 448
    pixels, unless the image is a very long strip), so that a batch fits in memory.

    Args:
        workspace_root: the workspace's folder.
        image_path: relative to it, inside `images/`.

    Raises:
        UnusableImageError: the path leads out of `images/`, or there is no image there we can use.
    """
    return open_image(resolve_image(workspace_root, image_path))


def open_image(path: Path) -> Image.Image:
    """The same for a file anywhere; `load_image` is for paths that a catalogue names, which may not leave it.

    Raises:
        UnusableImageError: there is no image there we can use.
    """
    with open_checked(path, formats=FORMATS) as image:
        return _upright_rgb(image)


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Decode at a useful size (a JPEG decodes straight to a half, quarter or eighth), rotate, convert."""
    factor = _reduction(image)
    if factor > 1:
        image.draft(None, (max(image.width // factor, 1), max(image.height // factor, 1)))
    image.load()
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    upright = _eight_bit(ImageOps.exif_transpose(image))
    factor = _reduction(upright)
    if transparent:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright)
    upright = upright.convert("RGB")
    return upright.reduce(factor) if factor > 1 else upright


def _reduction(image: Image.Image) -> int:
    return max(min(image.size) // _SHORT_SIDE, max(image.size) // _LONG_SIDE, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit greys at 255 when it converts them, which turns most of them white.
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).clip(0, 65_535) >> 8).astype(np.uint8))
    return image
