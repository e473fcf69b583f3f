from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsc_cli.files.images import UnusableImageError, load_image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def reason(workspace: Path, path: str) -> str:
    with pytest.raises(UnusableImageError) as caught:
        load_image(workspace, path)
    return str(caught.value)


def png_header(width: int, height: int) -> bytes:
    chunks = b""
    for body in (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(b""),
    ):
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunks


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_usual_formats_come_back_as_rgb(tmp_path: Path, images: Path, suffix: str) -> None:
    Image.new("RGB", (40, 30), (200, 30, 30)).save(images / f"a.{suffix}")
    image = load_image(tmp_path, f"images/a.{suffix}")
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert np.abs(np.subtract(colour(image, 20, 15), (200, 30, 30))).max() < 8


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_first_frame_of_an_animation(tmp_path: Path, images: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (20, 20), name) for name in ("red", "lime", "blue")]
    frames[0].save(images / f"a.{suffix}", save_all=True, append_images=frames[1:])
    red, green, blue = colour(load_image(tmp_path, f"images/a.{suffix}"), 10, 10)
    assert red > 230
    assert max(green, blue) < 30


def test_cmyk(tmp_path: Path, images: Path) -> None:
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(images / "a.jpg")
    red, green, blue = colour(load_image(tmp_path, "images/a.jpg"), 10, 10)
    assert red > 200
    assert max(green, blue) < 80


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path, images: Path) -> None:
    shades = np.linspace(0, 65_535, 256).astype(np.uint16)
    Image.fromarray(np.tile(shades, (8, 1))).save(images / "a.png")
    image = load_image(tmp_path, "images/a.png")
    assert [colour(image, x, 4)[0] for x in (0, 128, 255)] == [0, 128, 255]


def test_transparency_lies_over_white(tmp_path: Path, images: Path) -> None:
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(images / "rgba.png")
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(images / "palette.png", transparency=0)
    assert colour(load_image(tmp_path, "images/rgba.png"), 5, 5) == (255, 255, 255)
    assert colour(load_image(tmp_path, "images/palette.png"), 5, 5) == (255, 255, 255)


def test_exif_rotation_is_applied(tmp_path: Path, images: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    lying = Image.new("RGB", (40, 20), "blue")
    lying.paste((255, 0, 0), (0, 0, 20, 20))
    lying.save(images / "a.jpg", exif=exif, quality=95)
    image = load_image(tmp_path, "images/a.jpg")
    assert image.size == (20, 40)
    assert colour(image, 10, 5)[0] > 200
    assert colour(image, 10, 35)[2] > 200


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_large_images_come_back_reduced(tmp_path: Path, images: Path, suffix: str) -> None:
    Image.new("RGB", (3000, 2000), "green").save(images / f"a.{suffix}")
    width, height = load_image(tmp_path, f"images/a.{suffix}").size
    assert 448 <= height < 1000
    assert width / height == pytest.approx(1.5, abs=0.02)


def test_a_long_thin_strip(tmp_path: Path, images: Path) -> None:
    Image.new("RGB", (5, 30_000), "green").save(images / "a.jpg")
    assert load_image(tmp_path, "images/a.jpg").mode == "RGB"


def test_pixel_count_is_read_from_the_header(tmp_path: Path, images: Path) -> None:
    (images / "huge.png").write_bytes(png_header(50_000, 50_000))
    (images / "large.png").write_bytes(png_header(9_000, 9_000))
    assert "pixels" in reason(tmp_path, "images/huge.png")
    assert "9000 x 9000 pixels" in reason(tmp_path, "images/large.png")


def test_files_that_are_no_images(tmp_path: Path, images: Path) -> None:
    (images / "empty.jpg").touch()
    (images / "page.jpg").write_text("<html>404</html>")
    Image.new("RGB", (20, 20)).save(images / "a.bmp")
    (images / "folder.png").mkdir()
    assert "empty" in reason(tmp_path, "images/empty.jpg")
    assert "not an image" in reason(tmp_path, "images/page.jpg")
    assert "not an image" in reason(tmp_path, "images/a.bmp")
    assert "no such file" in reason(tmp_path, "images/gone.jpg")
    assert reason(tmp_path, "images/folder.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
def test_cut_off_and_garbled_files_never_crash(tmp_path: Path, images: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    whole = images / f"whole.{suffix}"
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(whole)
    content = whole.read_bytes()
    for number in range(40):
        damaged = bytearray(content[: int(rng.integers(1, len(content)))])
        for at in rng.integers(0, len(damaged), 4):
            damaged[at] = int(rng.integers(256))
        (images / "damaged").write_bytes(damaged)
        try:
            image = load_image(tmp_path, "images/damaged")
        except UnusableImageError:
            continue
        assert image.mode == "RGB", number


@pytest.mark.parametrize("path", ["../secret.png", "images/../secret.png", "secret.png", "images/link.png", "a\0b"])
def test_paths_out_of_the_images_folder_are_refused(tmp_path: Path, images: Path, path: str) -> None:
    for secret in (tmp_path / "secret.png", tmp_path.parent / "secret.png"):
        Image.new("RGB", (20, 20)).save(secret)
    (images / "link.png").symlink_to(tmp_path / "secret.png")
    assert "path" in reason(tmp_path, path)


def test_absolute_path_is_refused(tmp_path: Path, images: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "secret.png")
    assert "leads out" in reason(tmp_path, str(tmp_path / "secret.png"))
