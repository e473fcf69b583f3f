"""Whether bytes from the web are an image we take."""

from __future__ import annotations

from mmsc_cli.image_file import open_checked

# The formats we take, and how their files end.
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}


def image_suffix(content: bytes, max_pixels: int) -> str:
    """Decode an image, and say how a file of its format ends.

    Raises:
        UnusableImageError: it is not of a format we take, too large, or damaged.
    """
    with open_checked(content, formats=tuple(SUFFIXES), max_pixels=max_pixels) as image:
        # A JPEG decodes straight to an eighth of its size; here it need only prove whole.
        image.draft(None, (1, 1))
        image.load()
        return SUFFIXES[str(image.format)]
