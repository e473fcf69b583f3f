"""What has not changed since the last run is not encoded again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.encode.earlier import Earlier
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.merge import merge
from mmsc_cli.encoders.classic.classic import ClassicEncoder

SETTINGS: dict[str, str | int] = {"encoder": "classic", "text_dim": 8, "image_dim": 4, "batch_size": 5}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many texts and images are encoded."""
    numbers = {"text": 0, "image": 0}
    for modality in numbers:
        whole = getattr(ClassicEncoder, f"{modality}_vectors")

        def counting(self: ClassicEncoder, inputs: list[Any], modality: str = modality, whole: Any = whole) -> Any:
            numbers[modality] += len(inputs)
            return whole(self, inputs)

        monkeypatch.setattr(ClassicEncoder, f"{modality}_vectors", counting)
    return numbers


@pytest.fixture
def night(tmp_path: Path, encode_task: Callable[..., EncodeTask], encoded: dict[str, int]) -> Callable[..., Path]:
    """Encode a table, starting from the embeddings of an earlier night; `encoded` is of this night alone."""
    nights = 0

    def run(items: pa.Table, earlier: Path | None = None, **settings: str | int) -> Path:
        nonlocal nights
        nights += 1
        out = tmp_path / f"night{nights}"
        out.mkdir()
        encoded.update(text=0, image=0)
        task = encode_task(items, None, tmp_path, unfinished=tmp_path / f"work{nights}", **SETTINGS | settings)
        task = replace(task, earlier=None if earlier is None else Earlier.open(earlier))
        merge(encode_shard(task), out, out / "failures.jsonl")
        return out

    return run


def _vectors(folder: Path, modality: str) -> NDArray[np.float16]:
    vectors: NDArray[np.float16] = np.load(folder / f"{modality}.npy")
    return vectors


def test_only_what_changed_is_encoded(
    tmp_path: Path, typed_items: pa.Table, night: Callable[..., Path], encoded: dict[str, int]
) -> None:
    first = night(typed_items)
    assert encoded == {"text": 60, "image": 60}
    same = night(typed_items, first)
    assert encoded == {"text": 0, "image": 0}
    for name in ("text.npy", "image.npy", "mask.npy", "encoder.json", "inputs.npy"):
        assert (same / name).read_bytes() == (first / name).read_bytes()

    titles = typed_items["title"].to_pylist()
    titles[7] = titles[8] + " new"
    Image.new("RGB", (9, 9), "red").save(tmp_path / "images/3.png")
    changed = typed_items.set_column(typed_items.schema.get_field_index("title"), "title", pa.array(titles))
    order = np.random.default_rng(1).permutation(60)
    second = night(changed.take(order), same)
    assert encoded == {"text": 1, "image": 1}
    for modality, row in (("text", 7), ("image", 3)):
        before, after = _vectors(first, modality)[order], _vectors(second, modality)
        assert np.flatnonzero((before != after).any(axis=1)).tolist() == np.flatnonzero(order == row).tolist()


def test_the_classic_encoder_is_fitted_anew_when_the_catalogue_has_drifted(
    typed_items: pa.Table, night: Callable[..., Path], encoded: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mmsc_cli")
    first = night(typed_items.slice(0, 52))
    card = (first / "encoder.json").read_bytes()
    second = night(typed_items.slice(0, 56), first)
    assert (second / "encoder.json").read_bytes() == card
    assert encoded == {"text": 4, "image": 4}
    third = night(typed_items, second)
    assert (third / "encoder.json").read_bytes() != card, "little by little, 8 of 60 are new since it was fitted"
    assert encoded == {"text": 60, "image": 60}
    assert "7.1% of the catalogue is new since the encoder was fitted: it is kept" in caplog.text
    assert "13.3% of the catalogue is new since the encoder was fitted: it is fitted anew" in caplog.text


def test_images_that_come_later_are_fitted_on(typed_items: pa.Table, night: Callable[..., Path]) -> None:
    column = typed_items.schema.get_field_index("image_path")
    without = typed_items.set_column(column, "image_path", pa.nulls(60, pa.string()))
    assert _vectors(night(typed_items, night(without)), "image").any()


@pytest.mark.parametrize("settings", [{"text_dim": 6}, {"adapt": 0}])
def test_other_settings_encode_everything(
    typed_items: pa.Table,
    night: Callable[..., Path],
    encoded: dict[str, int],
    settings: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = night(typed_items)
    night(typed_items, first, **settings)
    changed = "text_dim" in settings
    assert encoded["text"] == (60 if changed else 0)
    assert ("everything is encoded anew" in caplog.text) is changed
    assert ("settings.text_dim 8 → 6" in caplog.text) is changed


def test_embeddings_of_an_earlier_version_are_no_help(
    typed_items: pa.Table, night: Callable[..., Path], encoded: dict[str, int], tmp_path: Path
) -> None:
    old = Path(shutil.copytree(night(typed_items), tmp_path / "old"))
    (old / "made.json").unlink()
    night(typed_items, old)
    assert encoded["text"] == 60


def test_an_image_that_could_not_be_used_is_tried_again(
    tmp_path: Path, typed_items: pa.Table, night: Callable[..., Path], encoded: dict[str, int]
) -> None:
    (tmp_path / "images/5.png").write_bytes(b"no image")
    first = night(typed_items)
    second = night(typed_items, first)
    assert (second / "failures.jsonl").read_bytes() == (first / "failures.jsonl").read_bytes()
    assert encoded == {"text": 0, "image": 0}
