"""Opening an image of unknown origin: what is no image we can use has a reason, and nothing else is raised.

A catalogue's images, safely opened and small enough to hold many.

Whether bytes from the web are an image we take."""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmsc_cli.files.image_limits import MAX_BYTES, MAX_PIXELS

# The formats of images that a catalogue brings along.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# A progressive JPEG goes over its pixels once a scan, about ten times; a crafted one does so thousands of times.
MAX_SCANS = 64
_SCAN = b"\xff\xda"
# Our own limit is lower and says so per image.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnusableImageError(Exception):
    """An image that cannot be used; the text is the reason that goes into `failures.jsonl`."""


@contextmanager
def open_checked(
    source: Path | bytes, *, formats: tuple[str, ...], max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Open an image whose pixels are decoded by the caller, inside the `with`.

    The number of pixels is read from the header, and the scans of a JPEG are counted, before anything is decoded.

    Args:
        source: a file, or the content of one.
        formats: those taken, as Pillow names them.
        max_pixels: width times height at most.

    Raises:
        UnusableImageError: there is no such file, it is empty, of another format, too large, or damaged.
    """
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if not size:
            raise UnusableImageError("the file is empty")
        if size > MAX_BYTES:
            raise UnusableImageError(f"{size:,} bytes, over the limit of {MAX_BYTES:,}")
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnusableImageError(f"{width} x {height} pixels, over the limit of {max_pixels:,}")
            if image.format in _JPEGS and _has_many_scans(source):
                raise UnusableImageError(f"a JPEG of more than {MAX_SCANS} scans")
            yield image
    except UnusableImageError:
        raise
    except FileNotFoundError:
        raise UnusableImageError("there is no such file") from None
    except UnidentifiedImageError:
        raise UnusableImageError(f"not an image of a format we take ({', '.join(formats)})") from None
    except Image.DecompressionBombError:
        raise UnusableImageError(f"more pixels than the limit of {max_pixels:,}") from None
    except Exception as error:  # decoders raise nearly anything on damaged files, and one file must not end the run
        raise UnusableImageError(f"damaged: {type(error).__name__}: {error}") from error


def _has_many_scans(source: Path | bytes) -> bool:
    """Whether the mark of a scan, which the coded pixels never hold, occurs more often than MAX_SCANS."""
    if isinstance(source, bytes):
        return source.count(_SCAN) > MAX_SCANS
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = -1
        for _ in range(MAX_SCANS + 1):
            at = content.find(_SCAN, at + 1)
            if at < 0:
                return False
    return True


def resolve_image(workspace_root: Path, image_path: str) -> Path:
    """Where an image that a catalogue names lies.

    Raises:
        UnusableImageError: the path leads out of the workspace's `images/`.
    """
    folder = (workspace_root / "images").resolve()
    try:
        path = (workspace_root / image_path).resolve()
    except (OSError, ValueError) as error:  # a loop of links, a NUL byte
        raise UnusableImageError(f"not a path: {error}") from error
    if not path.is_relative_to(folder):
        raise UnusableImageError("the path leads out of the workspace's images/")
    return path


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


# The formats we take, and how their files end.
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
# What Pillow calls a JPEG that holds several pictures, as cameras and phones write it.
_JPEGS = ("JPEG", "MPO")


def image_suffix(content: bytes, max_pixels: int) -> str:
    """Decode an image, and say how a file of its format ends.

    Raises:
        UnusableImageError: it is not of a format we take, too large, or damaged.
    """
    with open_checked(content, formats=tuple(SUFFIXES), max_pixels=max_pixels) as image:
        # A JPEG decodes straight to an eighth of its size; here it need only prove whole.
        image.draft(None, (1, 1))
        image.load()
        return SUFFIXES["JPEG" if image.format in _JPEGS else str(image.format)]
