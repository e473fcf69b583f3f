"""Opening a catalogue's images: safely, small enough to hold many, some batches ahead of who encodes them."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# Twice what the default model looks at, so that its own resizing still has something to average over.
_SHORT_SIDE = 448
_LONG_SIDE = 2048
# Our own limit is lower and says so per image.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnusableImageError(Exception):
    """An image that cannot be used; the text is the reason that goes into `failures.jsonl`."""


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
    return open_image(_resolve(workspace_root, image_path))


def open_image(path: Path) -> Image.Image:
    """The same for a file anywhere; `load_image` is for paths that a catalogue names, which may not leave it.

    Raises:
        UnusableImageError: there is no image there we can use.
    """
    try:
        if path.stat().st_size == 0:
            raise UnusableImageError("the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnusableImageError(f"{width} x {height} pixels, over the limit of {MAX_PIXELS:,}")
            return _upright_rgb(image)
    except UnusableImageError:
        raise
    except FileNotFoundError:
        raise UnusableImageError("there is no such file") from None
    except Image.DecompressionBombError:
        raise UnusableImageError(f"more pixels than the limit of {MAX_PIXELS:,}") from None
    except UnidentifiedImageError:
        raise UnusableImageError(f"not an image of a format we read ({', '.join(FORMATS)})") from None
    except Exception as error:  # decoders raise nearly anything on damaged files, and one file must not end the run
        raise UnusableImageError(f"damaged: {type(error).__name__}: {error}") from error


def load_ahead(
    workspace_root: Path, image_paths: Sequence[str], batch_size: int
) -> Iterator[list[Image.Image | UnusableImageError]]:
    """Open images in the order given, batch by batch, decoding the next batch while this one is in use."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16), thread_name_prefix="decode") as pool:
        ahead: deque[list[Future[Image.Image | UnusableImageError]]] = deque()
        for start in range(0, len(image_paths), batch_size):
            paths = image_paths[start : start + batch_size]
            ahead.append([pool.submit(_load_or_reason, workspace_root, path) for path in paths])
            if len(ahead) > 1:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]


def _load_or_reason(workspace_root: Path, image_path: str) -> Image.Image | UnusableImageError:
    try:
        return load_image(workspace_root, image_path)
    except UnusableImageError as reason:
        return reason


def _resolve(workspace_root: Path, image_path: str) -> Path:
    folder = (workspace_root / "images").resolve()
    try:
        path = (workspace_root / image_path).resolve()
    except (OSError, ValueError) as error:  # a loop of links, a NUL byte
        raise UnusableImageError(f"not a path: {error}") from error
    if not path.is_relative_to(folder):
        raise UnusableImageError("the path leads out of the workspace's images/")
    return path


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
