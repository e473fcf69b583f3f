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

from mmsc_cli.encode.adapt import early_stopping
from mmsc_cli.encode.adapt import train_towers as fine_tuning
from mmsc_cli.encode.adapt.pair_batches import epoch_batches
from mmsc_cli.encode.stage import run_encode
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import change_recipe, load_recipe
from mmsc_cli.tables.items import full_text, item_splits, read_items
from mmsc_cli.workspace.workspace import Workspace

AMONG_FIRST = 10
Shop = Callable[[int, int], Workspace]


def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A prepared demo shop of so many items, by a seed; each is made once."""
    made: dict[tuple[int, int], Workspace] = {}

    def of(items: int, seed: int) -> Workspace:
        if (items, seed) not in made:
            made[items, seed] = Workspace(tmp_path_factory.mktemp("shop") / "workspace")
            prepare(made[items, seed], load_recipe("demo", (f"source.items={items}", f"seed={seed}")))
        return made[items, seed]

    return of


def encode(workspace: Workspace, encoder: str, *settings: str) -> dict[str, Any]:
    prepared = workspace.manifest().stages["prepare"].config["recipe"]
    return run_encode(workspace, change_recipe(prepared, [f"encode.encoder={encoder}", *settings], {}), cpu)


def recall(workspace: Workspace, *, held_out: bool) -> float:
    """How often an item's own image is among the first for its text, among all items or those never learned from."""
    folder = workspace.path("embeddings")
    text, image, mask = (np.load(folder / f"{name}.npy") for name in ("text", "image", "mask"))
    splits = item_splits(read_items(workspace.path("items.parquet")))
    rows = np.flatnonzero(mask.all(axis=1) & ((splits != "warm") | (not held_out)))
    similarity = text[rows].astype(np.float32) @ image[rows].astype(np.float32).T
    better = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
    return float((better < AMONG_FIRST).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_projection_raises_recall_of_items_it_never_saw(shop: Shop, wide_open_clip: str, seed: int) -> None:
    workspace = shop(1_000, seed)
    assert "adapt" not in encode(workspace, wide_open_clip)
    frozen = recall(workspace, held_out=True)
    adapted = encode(workspace, wide_open_clip, "encode.adapt=true")["adapt"]
    assert adapted["trained"] == "projection"
    assert adapted["towers_hours_per_epoch"] >= 0
    losses = adapted["valid_losses"]
    assert losses[adapted["best_epoch"]] == min(losses) < losses[0]
    assert recall(workspace, held_out=True) > 1.6 * frozen


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_trained_towers_raise_recall(
    shop: Shop, wide_open_clip: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = replace(fine_tuning.SCHEDULE, steps=10, max_epochs=6, learning_rate=5e-3)
    monkeypatch.setattr(fine_tuning, "SCHEDULE", schedule)
    workspace = shop(300, seed)
    encode(workspace, wide_open_clip)
    frozen = recall(workspace, held_out=False)
    adapted = encode(workspace, wide_open_clip, "encode.adapt=true", "encode.adapt_with=lora")["adapt"]
    assert adapted["trained"] == "lora"
    losses = adapted["valid_losses"]
    assert losses[adapted["best_epoch"]] == min(losses) < losses[0]
    assert recall(workspace, held_out=False) > 1.6 * frozen


def test_trained_towers_are_kept_apart_resume_and_open_again(
    shop: Shop, wide_open_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = replace(fine_tuning.SCHEDULE, steps=3, max_epochs=3, learning_rate=1e-2)
    monkeypatch.setattr(fine_tuning, "SCHEDULE", schedule)
    workspace = shop(300, 1)

    def adapt() -> dict[str, Any]:
        counts = encode(workspace, wide_open_clip, "encode.adapt=true", "encode.adapt_with=lora")
        found: dict[str, Any] = counts["adapt"]
        return found

    whole = adapt()
    folder = workspace.path("embeddings")
    vectors = np.load(folder / "text.npy")
    assert json.loads((folder / "encoder.json").read_text())["adapter"] == "lora"
    checkpoint = Path(wide_open_clip.partition("/")[2])
    assert (folder / "lora.safetensors").stat().st_size < checkpoint.stat().st_size / 10
    texts = full_text(read_items(workspace.path("items.parquet")).slice(0, 20))
    np.testing.assert_allclose(open_encoder(folder, device=cpu).encode_texts(texts), vectors[:20], atol=2e-3)

    draw, epochs = epoch_batches, []

    def stop_in_the_second(*arguments: Any, epoch: int, **others: Any) -> Any:
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt
        return draw(*arguments, epoch=epoch, **others)

    monkeypatch.setattr(early_stopping, "epoch_batches", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        adapt()
    assert adapt() == whole
    assert epochs == [1, 2, 2, 3]
    assert np.array_equal(np.load(folder / "text.npy"), vectors)
