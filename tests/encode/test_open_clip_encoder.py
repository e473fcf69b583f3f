from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mmsc_cli.encode.encoder import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.items import full_text

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


def test_other_weights_are_refused_on_reopening(
    typed_items: pa.Table, run_encode: Run, tiny_open_clip: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = tmp_path / "copy.safetensors"
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


def test_checkpoint_that_does_not_fit(typed_items: pa.Table, run_encode: Run, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    for name in ("other", "broken"):
        with pytest.raises(InputError, match="cannot be loaded") as caught:
            run_encode(typed_items, encoder=f"open_clip:mmsc-tiny/{tmp_path / name}.safetensors")
        assert "\n" not in caught.value.message
