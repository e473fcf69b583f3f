from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmsc_cli.label.llm.interview import interview
from mmsc_cli.label.llm.pictures import SIDE, Pictures
from mmsc_cli.label.llm.servers import Servers
from mmsc_cli.label.settings import LabelSettings


@pytest.fixture
def catalogue(make_items: Callable[..., pa.Table], tmp_path: Path) -> pa.Table:
    """A wide red item, a damaged image, one outside of the folder, and an item without."""
    (tmp_path / "images").mkdir()
    Image.new("RGBA", (1_000, 400), (255, 0, 0, 255)).save(tmp_path / "images" / "red.png")
    (tmp_path / "images" / "damaged.png").write_bytes(b"\x89PNG no more")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    paths = ["images/red.png", "images/damaged.png", "secret.png", None]
    return make_items([{"title": f"item {n}", "image_path": path} for n, path in enumerate(paths)])


def test_usable_images_are_small_and_others_left_out(catalogue: pa.Table, tmp_path: Path) -> None:
    urls = Pictures(catalogue, tmp_path).of_items(range(4))
    assert list(urls) == [0]
    kind, _, content = urls[0].partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (SIDE, round(SIDE * 0.4))
        assert image.getpixel((5, 5)) == pytest.approx((255, 0, 0), abs=5)


def test_a_model_that_sees_gets_the_pictures_of_both_items_in_both_orders(
    catalogue: pa.Table, tmp_path: Path, fake_llm: Callable[..., Any], completion: Callable[..., Any]
) -> None:
    url, seen = fake_llm(lambda request: completion({"A": 1.0}, "A"))
    a, b = np.array([0, 1], np.int32), np.array([3, 3], np.int32)
    settings = LabelSettings(concurrency=1)
    with Servers("m", settings, endpoints=[url], cache=tmp_path / "answers") as servers:
        interview(catalogue, a, b, servers, Pictures(catalogue, tmp_path))
    contents = [request["messages"][-1]["content"] for request in seen[:4]]
    pictured = [content for content in contents if isinstance(content, list)]
    assert len(pictured) == 2  # the first pair, in both orders; the other has no usable image
    for content in pictured:
        name, picture, text = content
        number = 1 if text["text"].startswith('ITEM 1: {"title": "item 0"') else 2
        assert name["text"] == f"Picture of ITEM {number}:"
        assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    before = len(seen)
    with Servers("m", settings, endpoints=[url], cache=tmp_path / "answers") as servers:
        again = interview(catalogue, a, b, servers)
    assert again.counts["asked"] == 1  # what was shown with a picture is another question without it
    assert all(isinstance(request["messages"][-1]["content"], str) for request in seen[before:])
