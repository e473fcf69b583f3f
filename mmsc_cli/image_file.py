"""Opening an image of unknown origin: what is no image we can use has a reason, and nothing else is raised."""

from __future__ import annotations

import io
import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

# The formats of images that a catalogue brings along.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
MAX_PIXELS = 64_000_000
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
        if not (source.stat().st_size if isinstance(source, Path) else len(source)):
            raise UnusableImageError("the file is empty")
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnusableImageError(f"{width} x {height} pixels, over the limit of {max_pixels:,}")
            if image.format == "JPEG" and _has_many_scans(source):
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
