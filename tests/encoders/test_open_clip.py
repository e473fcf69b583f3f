from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.encoders.open_clip_weights import find_weights
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.tables.items import full_text

WORKSPACE = Path("workspace")
Run = Callable[..., Any]


def cpu() -> torch.device:
    return torch.device("cpu")


def test_tiny_model_encodes_and_reopens(
    typed_items: pa.Table, run_encode: Run, tiny_open_clip: Path, tmp_path: Path
) -> None:
    made = run_encode(typed_items, encoder=f"open_clip:mmsc-tiny/{tiny_open_clip}", batch_size=16)
    text, image = made.array("text.npy"), made.array("image.npy")
    assert text.shape == image.shape == (60, 32)
    assert made.array("mask.npy").all()
    for rows in (text, image):
        np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=2e-3)
    assert np.unique(text, axis=0).shape == text.shape

    again = open_encoder(made.folder, device=cpu, batch_size=16)
    assert again.shared_space
    np.testing.assert_allclose(again.encode_texts(full_text(typed_items)), text, atol=1e-3)
    pictures = [Image.open(tmp_path / path).convert("RGB") for path in typed_items["image_path"].to_pylist()]
    np.testing.assert_allclose(again.encode_images(pictures), image, atol=1e-3)
    assert again.encode_images([]).shape == (0, 32)


def test_batch_size_does_not_change_the_vectors(typed_items: pa.Table, run_encode: Run, tiny_open_clip: Path) -> None:
    name = f"open_clip:mmsc-tiny/{tiny_open_clip}"
    small, large = (run_encode(typed_items, encoder=name, batch_size=size) for size in (3, 64))
    np.testing.assert_allclose(small.array("text.npy"), large.array("text.npy"), atol=2e-3)
    np.testing.assert_allclose(small.array("image.npy"), large.array("image.npy"), atol=2e-3)


def test_vectors_are_those_of_open_clip_itself(typed_items: pa.Table, tiny_open_clip: Path, tmp_path: Path) -> None:
    """Leaving padding away, sorting and normalising on the device change nothing."""
    model, _, transform = open_clip.create_model_and_transforms("mmsc-tiny", pretrained=str(tiny_open_clip))
    model.eval()
    texts = ["a", "kettle! steel, 1.5 l", "long " * 100, *typed_items["title"].to_pylist()]
    path = typed_items["image_path"].to_pylist()[4]
    pictures = [Image.open(tmp_path / path).convert("RGB"), Image.effect_noise((90, 200), 80).convert("RGB")]
    encoder = OpenClipEncoder(
        find_weights(f"open_clip:mmsc-tiny/{tiny_open_clip}", WORKSPACE), device=torch.device("cpu"), batch_size=8
    )
    with torch.inference_mode():
        told = model.encode_text(open_clip.get_tokenizer("mmsc-tiny")(texts), normalize=True)
        seen = model.encode_image(torch.stack([transform(picture) for picture in pictures]), normalize=True)
    np.testing.assert_allclose(encoder.encode_texts(texts), told, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures), seen, atol=1e-5)


def test_a_lack_of_memory_changes_nothing(
    typed_items: pa.Table, run_encode: Run, tiny_open_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"open_clip:mmsc-tiny/{tiny_open_clip}"
    whole = run_encode(typed_items, encoder=name, batch_size=32)
    encode_pixels = OpenClipEncoder.encode_pixels

    def with_little_memory(self: OpenClipEncoder, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode_pixels(self, pixels)

    monkeypatch.setattr(OpenClipEncoder, "encode_pixels", with_little_memory)
    halved = run_encode(typed_items, encoder=name, batch_size=32)
    np.testing.assert_allclose(halved.array("image.npy"), whole.array("image.npy"), atol=2e-3)
    assert halved.array("mask.npy").all()


def test_other_weights_are_refused_on_reopening(
    typed_items: pa.Table, run_encode: Run, tiny_open_clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = tmp_path_factory.mktemp("models") / "copy.safetensors"
    shutil.copy(tiny_open_clip, checkpoint)
    made = run_encode(typed_items, encoder=f"open_clip:mmsc-tiny/{checkpoint}")
    weights = load_file(checkpoint)
    weights["logit_scale"] = weights["logit_scale"] + 1
    save_file(weights, checkpoint)
    with pytest.raises(WorkspaceError, match="not the checkpoint"):
        open_encoder(made.folder, device=cpu)
    checkpoint.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        open_encoder(made.folder, device=cpu)


def test_checkpoint_that_does_not_fit(
    typed_items: pa.Table, run_encode: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from safetensors.torch import save_file

    models = tmp_path_factory.mktemp("models")
    save_file({"weight": torch.zeros(2)}, models / "other.safetensors")
    (models / "broken.safetensors").write_bytes(b"\xff" * 100)
    for name in ("other", "broken"):
        with pytest.raises(InputError, match="cannot be loaded") as caught:
            run_encode(typed_items, encoder=f"open_clip:mmsc-tiny/{models / name}.safetensors")
        assert "\n" not in caught.value.message
