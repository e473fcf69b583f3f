from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmsc_cli.encoders.classic.image import fit_images, image_statistics
from mmsc_cli.encoders.classic.text import fit_text
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.items import full_text

Run = Callable[..., Any]


def no_device() -> NoReturn:
    raise AssertionError("the classic encoder asked for a device")


def nearest_of_same_type(rows: np.ndarray[Any, np.dtype[Any]]) -> float:
    similarity = rows.astype(np.float32) @ rows.astype(np.float32).T
    np.fill_diagonal(similarity, -np.inf)
    return float(np.mean(similarity.argmax(axis=1) % 3 == np.arange(len(rows)) % 3))


def test_product_types_lie_apart(typed_items: pa.Table, run_encode: Run) -> None:
    made = run_encode(typed_items, encoder="classic", device=no_device)
    assert made.array("mask.npy").all()
    assert nearest_of_same_type(made.array("text.npy")) > 0.95
    assert nearest_of_same_type(made.array("image.npy")) > 0.95


def test_reopened_encoder_gives_the_same_vectors(typed_items: pa.Table, run_encode: Run, tmp_path: Path) -> None:
    made = run_encode(typed_items, encoder="classic", device=no_device)
    again = open_encoder(made.folder, device=no_device)
    texts = again.encode_texts(full_text(typed_items))
    assert np.array_equal(texts.astype(np.float16), made.array("text.npy"))
    pictures = [Image.open(tmp_path / path).convert("RGB") for path in typed_items["image_path"].to_pylist()]
    np.testing.assert_allclose(again.encode_images(pictures), made.array("image.npy"), atol=1e-3)
    assert (again.text_dim, again.image_dim) == (made.counts["text_dim"], made.counts["image_dim"])


def test_same_seed_same_files(typed_items: pa.Table, run_encode: Run) -> None:
    first, second = (run_encode(typed_items, encoder="classic") for _ in range(2))
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == [
        "classic.json",
        "classic.safetensors",
        "encoder.json",
        "fitted-image.npy",
        "fitted-text.npy",
        "image.npy",
        "inputs.npy",
        "made.json",
        "mask.npy",
        "text.npy",
    ]
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name


def test_damaged_files_are_named(typed_items: pa.Table, run_encode: Run) -> None:
    made = run_encode(typed_items, encoder="classic")
    (made.folder / "classic.safetensors").write_bytes(b"nothing")
    with pytest.raises(WorkspaceError, match="damaged"):
        open_encoder(made.folder, device=no_device)
    (made.folder / "encoder.json").write_text("{}")
    with pytest.raises(WorkspaceError, match=r"encoder\.json"):
        open_encoder(made.folder, device=no_device)


def test_torch_stays_unloaded(typed_items: pa.Table, run_encode: Run) -> None:
    made = run_encode(typed_items, encoder="classic")
    code = (
        "import sys, pathlib; from mmsc_cli.encoders.registry import open_encoder; import mmsc_cli.encode.encode;"
        f"open_encoder(pathlib.Path({str(made.folder)!r}), device=None).encode_texts(['camera']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_text_width_follows_the_data() -> None:
    model = fit_text(["red lamp", "blue lamp", "red chair"], 512, seed=1)
    assert model.dim == 3
    np.testing.assert_allclose(np.linalg.norm(model.encode(["blue chair"]), axis=1), 1, rtol=1e-5)


def test_a_catalogue_of_one_word() -> None:
    assert fit_text(["lamp", "lamp lamp"], 8, seed=1).encode(["lamp", "chair"]).tolist() == [[1.0], [0.0]]


def test_unknown_words_and_no_words_give_zero_rows() -> None:
    assert not fit_text(["red lamp", "blue lamp"], 8, seed=1).encode(["zebra", "!"]).any()
    nothing = fit_text(["!!", "--"], 8, seed=1)
    assert nothing.dim == 8
    assert nothing.encode(["red lamp"]).shape == (1, 8)


def test_words_that_occur_once_are_dropped_in_a_large_catalogue() -> None:
    texts = [f"lamp only{row}" for row in range(1_200)] + ["red lamp", "red chair"]
    assert fit_text(texts, 8, seed=1).terms == ["lamp", "red"]
    assert "only1" in fit_text(texts[:100], 8, seed=1).terms


def test_accents_and_one_letter_words_count() -> None:
    model = fit_text(["crème vitamin c", "creme vitamin d", "soap"], 8, seed=1)
    assert {"creme", "c", "d"} <= set(model.terms)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_or_equal_images_give_the_width_wanted(count: int) -> None:
    picture = Image.new("RGB", (20, 20), "red")
    statistics = np.stack([image_statistics(picture)] * count) if count else np.zeros((0, 444), np.float32)
    model = fit_images(statistics, 16, seed=1)
    vectors = model.encode([image_statistics(picture)])
    assert vectors.shape == (1, 16)
    assert not vectors.any()
