from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmsc_cli.errors import InputError

Run = Callable[..., Any]
Table = Callable[..., pa.Table]


def test_arrays_are_aligned_float16_unit_rows(typed_items: pa.Table, run_encode: Run) -> None:
    made = run_encode(typed_items, encoder="classic", text_dim=20, image_dim=10, batch_size=7)
    text, image, mask = (made.array(name) for name in ("text.npy", "image.npy", "mask.npy"))
    assert (text.dtype, text.shape) == (np.float16, (60, 20))
    assert (image.dtype, image.shape) == (np.float16, (60, 10))
    assert (mask.dtype, mask.shape) == (np.bool_, (60, 2))
    for rows in (text, image):
        np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=2e-3)
    rates = made.counts.pop("texts_per_second"), made.counts.pop("images_per_second")
    assert min(rates) > 0
    assert made.counts == {
        "items": 60,
        "texts": 60,
        "texts_repeated": 0,
        "images": 60,
        "images_repeated": 0,
        "texts_kept": 0,
        "images_kept": 0,
        "images_missing": 0,
        "images_failed": 0,
        "encoder": "classic",
        "text_dim": 20,
        "image_dim": 10,
        "joint_dim": 0,
        "batch_size": 7,
    }
    assert not made.failures.exists()
    card = json.loads((made.folder / "encoder.json").read_text())
    assert (card["name"], card["text_dim"], card["image_dim"]) == ("classic", 20, 10)
    assert len(card["weights_sha256"]) == 64


def test_batch_size_changes_nothing(typed_items: pa.Table, run_encode: Run) -> None:
    small, large = (run_encode(typed_items, encoder="classic", batch_size=size) for size in (7, 64))
    np.testing.assert_allclose(small.array("image.npy"), large.array("image.npy"), atol=1e-3)


def test_unusable_images_are_noted_and_the_item_goes_on(item_table: Table, run_encode: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, name in enumerate(("red", "green", "blue")):
        Image.new("RGB", (30, 30 + number), name).save(images / f"{name}.png")
    (images / "empty.png").touch()
    paths = [
        "images/red.png",
        None,
        "images/gone.png",
        "images/green.png",
        "images/empty.png",
        "../x",
        "images/blue.png",
    ]
    texts = ["red lamp", "green lamp", "blue lamp", "", "  ", "chair lamp", "lamp"]
    made = run_encode(item_table(texts, paths), encoder="classic", batch_size=2)
    mask = made.array("mask.npy")
    assert mask[:, 0].tolist() == [True, True, True, False, False, True, True]
    assert mask[:, 1].tolist() == [True, False, False, True, False, False, True]
    assert not made.array("text.npy")[~mask[:, 0]].any()
    assert not made.array("image.npy")[~mask[:, 1]].any()
    counts = {name: made.counts[name] for name in ("texts", "images", "images_missing", "images_failed")}
    assert counts == {"texts": 5, "images": 3, "images_missing": 1, "images_failed": 3}
    failures = [json.loads(line) for line in made.failures.read_text().splitlines()]
    assert [(failure["item_id"], failure["path"]) for failure in failures] == [
        ("i0002", "images/gone.png"),
        ("i0004", "images/empty.png"),
        ("i0005", "../x"),
    ]
    assert all(failure["reason"] for failure in failures)


def test_catalogue_without_images_keeps_the_width(item_table: Table, run_encode: Run) -> None:
    made = run_encode(item_table(["red lamp", "blue lamp"], [None, None]), encoder="classic", image_dim=12)
    assert made.array("image.npy").shape == (2, 12)
    assert not made.array("image.npy").any()
    assert not made.array("mask.npy")[:, 1].any()
    assert (made.counts["images_missing"], made.counts["images_failed"]) == (2, 0)


@pytest.mark.parametrize("name", ["clasic", "openclip", "word2vec"])
def test_unknown_encoder(item_table: Table, run_encode: Run, name: str) -> None:
    with pytest.raises(InputError, match=name) as caught:
        run_encode(item_table(["a"], [None]), encoder=name)
    assert "classic" in f"{caught.value.message} {caught.value.hint}"
