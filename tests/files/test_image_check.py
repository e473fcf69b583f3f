from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from mmsc_cli.files.images import UnusableImageError, image_suffix, open_image
from mmsc_cli.files.settings import DownloadSettings


def _image(form: str, side: int = 300) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(("form", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_the_format_is_told_by_content(form: str, suffix: str) -> None:
    assert image_suffix(_image(form), max_pixels=90_000) == suffix


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_image_that_is_cut_short_is_damaged(form: str) -> None:
    whole = _image(form)
    with pytest.raises(UnusableImageError, match="damaged"):
        image_suffix(whole[: len(whole) * 2 // 3], max_pixels=90_000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>not here</html>", "not an image of a format we take"),
        (_image("GIF", 20), "not an image of a format we take"),
        (_image("BMP", 20), "not an image of a format we take"),
        (_image("PNG", 301), "301 x 301 pixels, over the limit of 90,000"),
    ],
)
def test_what_we_do_not_take_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        image_suffix(content, max_pixels=90_000)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    header = bytearray(_image("PNG", 20))
    header[16:24] = side.to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(UnusableImageError, match=r"pixels.* the limit of 64,000,000"):
        image_suffix(bytes(header), max_pixels=64_000_000)


@pytest.mark.parametrize("size", [256 << 20, (256 << 20) + 1])
def test_a_file_has_at_most_256_mib(tmp_path: Path, size: int) -> None:
    """A sound image, and nothing behind it, which takes no place on the disk."""
    path = tmp_path / "a.png"
    path.write_bytes(_image("PNG", 20))
    os.truncate(path, size)
    if size <= 256 << 20:
        assert open_image(path).size == (20, 20)
    else:
        with pytest.raises(UnusableImageError, match="268,435,457 bytes, over the limit of 268,435,456"):
            open_image(path)


def test_no_setting_lets_a_download_be_larger() -> None:
    assert DownloadSettings(max_bytes=256 << 20)
    with pytest.raises(ValidationError, match="max_bytes"):
        DownloadSettings(max_bytes=(256 << 20) + 1)
