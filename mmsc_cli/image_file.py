"""Opening an image of unknown origin: what is no image we can use has a reason, and nothing else is raised."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000
# Our own limit is lower and says so per image.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnusableImageError(Exception):
    """An image that cannot be used; the text is the reason that goes into `failures.jsonl`."""


@contextmanager
def open_checked(
    source: Path | bytes, *, formats: tuple[str, ...], max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Open an image whose pixels are decoded by the caller, inside the `with`.

    The number of pixels is read from the header, before anything is decoded.

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
