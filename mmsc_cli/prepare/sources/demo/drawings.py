"""Item pictures: a shape per product type in the item's colour, with marks for brand, price tier and fit."""

from __future__ import annotations

import colorsys
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmsc_cli.prepare.sources.demo.shop import ATTRIBUTE_INDEX, COLOURS, PRODUCT_TYPES
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.runtime.seeds import numpy_generator

SIDE = 64  # pixels
NO_IMAGE = 0.025
FIT_SHOWN = 0.7  # share of models whose picture carries the coloured bar of the attribute they fit
REPORT_EVERY = 250

RGB = tuple[int, int, int]
SHAPES: dict[str, list[list[str | float]]] = tomllib.loads(
    Path(__file__).with_name("shapes.toml").read_text(encoding="utf-8")
)
_FIXED: dict[str, RGB] = {"dark": (46, 46, 52), "pale": (246, 246, 242), "metal": (172, 176, 182)}
_GOLDEN, _PLASTIC = 0.61803398875, 0.75487766625  # steps around the colour circle that keep hues apart


def has_image(items: int, seed: int) -> NDArray[np.bool_]:
    """Which items have a picture at all, shape (items,)."""
    return numpy_generator(seed, "demo/has-image").random(items) >= NO_IMAGE


def draw_images(
    stock: Stock, names: list[str], shown: NDArray[np.bool_], folder: Path, seed: int, progress: Progress
) -> int:
    """Draw the picture of each item that is `shown` into `folder` as `<name>.png`; return how many.

    Raises:
        OSError: a picture cannot be written.
    """
    random = numpy_generator(seed, "demo/images")
    place = random.uniform(-1, 1, size=(len(stock), 2))
    size = random.uniform(0.68, 0.86, size=len(stock))
    backdrop = random.integers(226, 256, size=(len(stock), 3))
    # one draw per model: its colour variants carry the bar or do not, together
    fit_shown = random.random(len(stock))[stock.model] < FIT_SHOWN
    rows = np.flatnonzero(shown)
    with progress.task("draw images", total=len(rows)) as task:
        for done, row in enumerate(rows.tolist(), start=1):
            red, green, blue = backdrop[row].tolist()
            image = Image.new("RGB", (SIDE, SIDE), (red, green, blue))
            canvas = ImageDraw.Draw(image)
            _draw_product(canvas, stock, row, float(size[row]), place[row].tolist())
            _draw_marks(canvas, stock, row, fit_shown=bool(fit_shown[row]))
            image.save(folder / f"{names[row]}.png", compress_level=3)
            if done % REPORT_EVERY == 0:
                task.advance(REPORT_EVERY)
        task.advance(len(rows) % REPORT_EVERY)
    return len(rows)


def _draw_product(canvas: ImageDraw.ImageDraw, stock: Stock, row: int, size: float, place: list[float]) -> None:
    body = COLOURS[stock.colour[row]].rgb
    fills = _FIXED | {"body": body, "shade": _mixed(body, 0, 0.35), "shine": _mixed(body, 255, 0.45)}
    scale = size * SIDE / 100
    free = SIDE * (1 - size) / 2
    left, top = free * (1 + place[0] * 0.7), free * (1 + place[1] * 0.7)
    for shape, fill, *numbers in SHAPES[PRODUCT_TYPES[stock.product_type[row]].name]:
        colour = fills[str(fill)]
        width = float(numbers.pop()) * scale if shape == "line" else 0
        points = [
            (left + float(x) * scale, top + float(y) * scale) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        if shape == "box":
            canvas.rectangle(points, fill=colour)
        elif shape == "oval":
            canvas.ellipse(points, fill=colour)
        elif shape == "line":
            canvas.line(points, fill=colour, width=max(1, round(width)))
        else:
            canvas.polygon(points, fill=colour)


def _draw_marks(canvas: ImageDraw.ImageDraw, stock: Stock, row: int, *, fit_shown: bool) -> None:
    """Draw the brand (two-coloured square), the tier (dots) and the fit (a bar in its value's colour)."""
    brand = int(stock.brand_names[stock.brand[row]])
    canvas.rectangle([1, 1, 8, 8], fill=_hue(brand * _GOLDEN))
    canvas.rectangle([3, 3, 6, 6], fill=_hue(brand * _PLASTIC))
    for dot in range(int(stock.tier[row]) + 1):
        canvas.rectangle([SIDE - 5 - 5 * dot, 2, SIDE - 3 - 5 * dot, 4], fill=_FIXED["dark"])
    if fit_shown:
        attribute = ATTRIBUTE_INDEX[PRODUCT_TYPES[stock.product_type[row]].attributes[0]]
        value = int(stock.values[row, attribute])
        canvas.rectangle([8, SIDE - 4, SIDE - 9, SIDE - 2], fill=_hue(attribute * 0.137 + value * _GOLDEN))


def _hue(angle: float) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(angle % 1, 0.75, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def _mixed(colour: RGB, towards: int, share: float) -> RGB:
    red, green, blue = (round(part + (towards - part) * share) for part in colour)
    return red, green, blue
