"""Images: files of a catalogue, and what comes from an address."""

from __future__ import annotations

import io
import shutil
from unittest.mock import patch

import httpcore
import numpy as np
from PIL import Image

from benchmarks.faults.rubbish.target import Tally, Target, scratch, scratch_file
from mmsc_cli.encoders.classic.image import image_statistics
from mmsc_cli.evaluate.report.gallery import thumbnail
from mmsc_cli.files.image_limits import MAX_PIXELS
from mmsc_cli.files.images import UnusableImageError, image_suffix, open_image
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.files.web.image_download import download_images

_FORMS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO")
_PUBLIC = "93.184.216.34"
_SETTINGS = DownloadSettings(retries=0, backoff=0, timeout=1, max_bytes=100_000, allow_http=True)


def check_image(content: bytes) -> Tally:
    """A file is an image in RGB that can be described and shown small, or there is a reason why not."""
    (scratch() / "images").mkdir(exist_ok=True)
    path = scratch_file("images/image", content)
    tally = Tally(came=3)
    try:
        image = open_image(path)
        if image.mode != "RGB" or not np.isfinite(image_statistics(image)).all():
            raise AssertionError(f"an image of mode {image.mode}")
        tally = Tally(3, tally.kept + 1, tally.skipped)
    except UnusableImageError as error:
        tally = Tally(3, tally.kept, tally.skipped + bool(str(error)))
    try:
        tally = Tally(3, tally.kept + bool(image_suffix(content, MAX_PIXELS)), tally.skipped)
    except UnusableImageError as error:
        tally = Tally(3, tally.kept, tally.skipped + bool(str(error)))
    shown = thumbnail(scratch(), "images/image")
    return Tally(3, tally.kept + (shown is not None), tally.skipped + (shown is None)).checked("readings")


def check_address(content: bytes) -> Tally:
    """An address is fetched, or there is a reason why not, whatever the server answers.

    The first line of the input is the address, the rest what the server sends.
    """
    head, _, answer = content.partition(b"\n")
    url = head.decode("utf-8", "replace")
    cache = scratch() / "cache"
    shutil.rmtree(cache, ignore_errors=True)

    async def resolve(host: str, port: int) -> list[str]:
        return [_PUBLIC]

    with (
        patch("mmsc_cli.files.web.public_network._resolve", resolve),
        patch.object(httpcore, "AnyIOBackend", lambda: httpcore.AsyncMockBackend([answer])),
    ):
        files, reasons = download_images([url], cache, _SETTINGS)
    return Tally(1, len(files), sum(bool(reason) for reason in reasons.values())).checked("addresses")


def _encoded(form: str) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form)
    return buffer.getvalue()


def image_seeds() -> list[bytes]:
    """A small image of every format, taken or not; some with what formats carry along."""
    seeds = [_encoded(form) for form in _FORMS]
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, form, options in (
        ("RGBA", "PNG", {"exif": exif}),
        ("P", "GIF", {"transparency": 0}),
        ("L", "JPEG", {"exif": exif, "progressive": True}),
        ("CMYK", "JPEG", {}),
        ("I;16", "PNG", {}),
        ("1", "PNG", {"optimize": True}),
        ("RGBA", "WEBP", {"lossless": True}),
    ):
        buffer = io.BytesIO()
        Image.new(mode, (7, 5)).save(buffer, form, **options)
        seeds.append(buffer.getvalue())
    return seeds


def address_seeds() -> list[bytes]:
    """Addresses, good and bad, with answers, good and bad."""
    png = _encoded("PNG")
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(png), png)
    return [
        b"https://images.example/a.png\n" + whole,
        b"http://images.example:80/a.png?x=1#y\n" + whole,
        b"https://images.example/a\nHTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"https://images.example/a.png\nHTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"https://[::1]/a\n",
        b"https://x.example:99999/a\n",
        b"https://" + b"a" * 70 + b".example/a\n",
        "https://müller.example/ü\n".encode(),
    ]


IMAGES = Target("images", check_image, image_seeds)
ADDRESSES = Target("addresses of images", check_address, address_seeds)
