"""On demo shops, adaptation finds an item's image by its text clearly better than the frozen towers: new items too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsc_cli.encode import fine_tuning
from mmsc_cli.encode.encoder import open_encoder
from mmsc_cli.items import full_text, item_splits, read_items
from mmsc_cli.pipeline import run_encode
from mmsc_cli.prepare.run import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.workspace import Workspace

ITEMS = 600
AMONG_FIRST = 10


def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Workspace]:
    """A prepared demo shop of a seed; each is made once."""
    made: dict[int, Workspace] = {}

    def of(seed: int) -> Workspace:
        if seed not in made:
            made[seed] = Workspace(tmp_path_factory.mktemp("shop") / "workspace")
            prepare(made[seed], load_recipe("demo", (f"source.items={ITEMS}", f"seed={seed}")))
        return made[seed]

    return of


def encode(workspace: Workspace, encoder: str, seed: int, *settings: str) -> dict[str, Any]:
    recipe = load_recipe("demo", (f"source.items={ITEMS}", f"seed={seed}", f"encode.encoder={encoder}", *settings))
    return run_encode(workspace, recipe, cpu)


def recall(workspace: Workspace) -> float:
    """How often an item's own image is among the first for its text, among the items that nothing was learned from."""
    folder = workspace.path("embeddings")
    text, image, mask = (np.load(folder / f"{name}.npy") for name in ("text", "image", "mask"))
    splits = item_splits(read_items(workspace.path("items.parquet")))
    held_out = np.flatnonzero(mask.all(axis=1) & (splits != "warm"))
    similarity = text[held_out].astype(np.float32) @ image[held_out].astype(np.float32).T
    better = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    return float((better < AMONG_FIRST).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_projection_raises_recall(shop: Callable[[int], Workspace], wide_open_clip: str, seed: int) -> None:
    frozen_counts = encode(shop(seed), wide_open_clip, seed)
    frozen = recall(shop(seed))
    counts = encode(shop(seed), wide_open_clip, seed, "encode.adapt=true")
    assert "adapt" not in frozen_counts
    assert counts["adapt"]["trained"] == "projection"
    assert counts["adapt"]["towers_hours_per_epoch"] >= 0
    losses = counts["adapt"]["valid_losses"]
    assert losses[counts["adapt"]["best_epoch"]] == min(losses) < losses[0]
    assert recall(shop(seed)) > max(1.3 * frozen, frozen + 0.08)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_trained_towers_raise_recall(
    shop: Callable[[int], Workspace], wide_open_clip: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fine_tuning, "SCHEDULE", replace(fine_tuning.SCHEDULE, steps=10, max_epochs=4, learning_rate=1e-2)
    )
    encode(shop(seed), wide_open_clip, seed)
    frozen = recall(shop(seed))
    counts = encode(shop(seed), wide_open_clip, seed, "encode.adapt=true", "encode.adapt_with=lora")
    assert counts["adapt"]["trained"] == "lora"
    losses = counts["adapt"]["valid_losses"]
    assert losses[counts["adapt"]["best_epoch"]] == min(losses) < losses[0]
    assert recall(shop(seed)) > max(1.3 * frozen, frozen + 0.08)


def test_trained_towers_are_kept_apart_resume_and_open_again(
    shop: Callable[[int], Workspace], wide_open_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = replace(fine_tuning.SCHEDULE, steps=3, max_epochs=3, learning_rate=1e-2)
    monkeypatch.setattr(fine_tuning, "SCHEDULE", schedule)
    settings = "encode.adapt=true", "encode.adapt_with=lora"
    whole = encode(shop(1), wide_open_clip, 1, *settings)["adapt"]
    folder = shop(1).path("embeddings")
    vectors = np.load(folder / "text.npy")
    card = json.loads((folder / "encoder.json").read_text())
    checkpoint = Path(wide_open_clip.partition("/")[2])
    assert card["adapter"] == "lora"
    assert (folder / "lora.safetensors").stat().st_size < checkpoint.stat().st_size / 10
    texts = full_text(read_items(shop(1).path("items.parquet")).slice(0, 20))
    np.testing.assert_allclose(open_encoder(folder, device=cpu).encode_texts(texts), vectors[:20], atol=2e-3)

    draw, epochs = fine_tuning.epoch_batches, []

    def stop_in_the_second(*arguments: Any, epoch: int, **others: Any) -> Any:
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt
        return draw(*arguments, epoch=epoch, **others)

    monkeypatch.setattr(fine_tuning, "epoch_batches", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        encode(shop(1), wide_open_clip, 1, *settings)
    again = encode(shop(1), wide_open_clip, 1, *settings)["adapt"]
    assert epochs == [1, 2, 2, 3]
    assert again == whole
    assert np.array_equal(np.load(folder / "text.npy"), vectors)
