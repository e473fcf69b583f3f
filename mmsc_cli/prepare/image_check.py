"""Whether bytes from the web are an image we take."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

# The formats we take, and how their files end.
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


# Our own limit is lower and says so per image.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class UnusableImageError(Exception):
    """The text is the reason that goes into `failures.jsonl`."""


def image_suffix(content: bytes, max_pixels: int) -> str:
    """Decode an image, and say how a file of its format ends.

    The number of pixels is read from the header, before anything is decoded.

    Raises:
        UnusableImageError: it is not of a format we take, too large, or damaged.
    """
    if not content:
        raise UnusableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnusableImageError(f"{width} x {height} pixels, over the limit of {max_pixels:,}")
            # A JPEG decodes straight to an eighth of its size; here it need only prove whole.
            image.draft(None, (1, 1))
            image.load()
            return SUFFIXES[str(image.format)]
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError(f"not an image of a format we take ({', '.join(SUFFIXES)})") from None
    except Image.DecompressionBombError:
        raise UnusableImageError(f"more pixels than the limit of {max_pixels:,}") from None
    except Exception as error:  # decoders raise nearly anything on damaged files, and one file must not end the run
        raise UnusableImageError(f"damaged: {type(error).__name__}: {error}") from error
