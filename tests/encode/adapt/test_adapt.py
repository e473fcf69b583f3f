from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.encode.adapt import early_stopping
from mmsc_cli.encode.adapt import train_projection as adapt
from mmsc_cli.encode.adapt.pair_batches import epoch_batches, usable_rows
from mmsc_cli.encode.adapt.train_projection import train_adapter
from mmsc_cli.encoders.projection import Adapter, open_adapter
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.tables.embeddings import Embeddings, no_joint
from mmsc_cli.tables.items import full_text
from mmsc_cli.tables.pairs import Pairs

Run = Callable[..., Any]
PairTable = Callable[..., Pairs]
GROUPS, PER_GROUP, DIM = 20, 10, 24


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are faster on one thread, much so where the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Adaptation:
    """A trained adapter and its report."""

    adapter: Adapter
    pairs: int
    best_epoch: int
    valid_losses: list[float]


def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training just long enough to depend on everything it reads."""
    monkeypatch.setattr(adapt, "SCHEDULE", replace(adapt.SCHEDULE, max_epochs=2))


def grouped(seed: int) -> Embeddings:
    """Items in groups: a few dimensions say which group, the others are louder and say nothing."""
    rng = np.random.default_rng(seed)
    group = np.repeat(rng.normal(size=(GROUPS, 8)), PER_GROUP, axis=0)
    noise = rng.normal(size=(2, GROUPS * PER_GROUP, DIM - 8)) * 1.5
    text, image = (unit_rows(np.hstack([group, part])).astype(np.float16) for part in noise)
    return Embeddings(text, image[:, ::-1], np.ones((len(text), 2), np.bool_), no_joint(len(text)))


def group_pairs(pair_table: PairTable, seed: int) -> Pairs:
    """All pairs within groups; four fifths for training, the rest valid and test."""
    first = [
        (start + i, start + j) for start in range(0, GROUPS * PER_GROUP, PER_GROUP) for i in range(10) for j in range(i)
    ]
    draw = np.random.default_rng(seed + 100).random(len(first))
    split = np.where(draw < 0.8, "train", np.where(draw < 0.9, "valid", "test"))
    return pair_table([(min(pair), max(pair)) for pair in first], split.tolist())


def train(
    frozen: Embeddings,
    pairs: Pairs,
    warm: NDArray[np.bool_] | None = None,
    seed: int = 1,
    *,
    shared_space: bool = False,
    checkpoints: Checkpoints | None = None,
) -> Adaptation:
    rows = usable_rows(frozen.mask, pairs, np.ones(len(frozen.mask), np.bool_) if warm is None else warm)
    adapter, report = train_adapter(
        frozen, rows, shared_space=shared_space, seed=seed, device=cpu(), checkpoints=checkpoints
    )
    return Adaptation(adapter, **report)


def cosine(rows: NDArray[Any], pairs: Pairs) -> float:
    unit = unit_rows(rows)
    return float((unit[pairs.a] * unit[pairs.b]).sum(axis=1).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_held_out_pairs_come_closer_than_chance_pairs(pair_table: PairTable, seed: int) -> None:
    frozen, pairs = grouped(seed), group_pairs(pair_table, seed)
    result = train(frozen, pairs, seed=seed)
    assert result.valid_losses[result.best_epoch] < 0.9 * result.valid_losses[0]
    held_out = pairs.of("valid", "test")
    chance = pair_table(np.random.default_rng(0).integers(0, GROUPS * PER_GROUP, (500, 2)).tolist(), ["test"] * 500)
    adapted = result.adapter.adapt_texts(frozen.text.astype(np.float32))
    assert cosine(adapted, held_out) > cosine(frozen.text, held_out) + 0.1
    assert cosine(adapted, chance) < cosine(frozen.text, chance) + 0.1
    pictures = result.adapter.adapt_images(frozen.image.astype(np.float32))
    assert cosine(pictures, held_out) > cosine(frozen.image, held_out) + 0.1


@pytest.mark.usefixtures("short")
def test_same_seed_same_adapter(pair_table: PairTable) -> None:
    frozen, pairs = grouped(1), group_pairs(pair_table, 1)
    first, second = train(frozen, pairs), train(frozen, pairs)
    assert np.array_equal(first.adapter.text, second.adapter.text)
    assert not np.array_equal(first.adapter.text, train(frozen, pairs, seed=2).adapter.text)


@pytest.mark.usefixtures("short")
def test_held_out_pairs_are_never_looked_at(pair_table: PairTable) -> None:
    frozen, pairs = grouped(1), group_pairs(pair_table, 1)
    kept = pairs.of("train")
    rng = np.random.default_rng(5)
    for held_out in (pairs.of("valid", "test"), None):
        ends = (
            []
            if held_out is None
            else np.sort(rng.integers(0, GROUPS * PER_GROUP, (len(held_out), 2)), axis=1).tolist()
        )
        other = pair_table(
            [*np.stack([kept.a, kept.b], axis=1).tolist(), *ends],
            ["train"] * len(kept) + ["test"] * len(ends),
        )
        first, second = train(frozen, pairs), train(frozen, other)
        assert np.array_equal(first.adapter.text, second.adapter.text)
        assert np.array_equal(first.adapter.image, second.adapter.image)


@pytest.mark.usefixtures("short")
def test_held_out_items_are_never_looked_at(pair_table: PairTable) -> None:
    frozen, pairs = grouped(1), group_pairs(pair_table, 1)
    warm = np.arange(GROUPS * PER_GROUP) % 7 > 0
    scrambled = Embeddings(frozen.text.copy(), frozen.image.copy(), frozen.mask, frozen.joint)
    scrambled.text[~warm] = scrambled.text[~warm][::-1]
    scrambled.image[~warm] = 0
    first, second = train(frozen, pairs, warm), train(scrambled, pairs, warm)
    assert np.array_equal(first.adapter.text, second.adapter.text)
    assert np.array_equal(first.adapter.image, second.adapter.image)


@pytest.mark.parametrize("shared", [True, False])
def test_without_pairs_text_and_image_still_meet(pair_table: PairTable, shared: bool) -> None:
    result = train(grouped(1), pair_table([], []), shared_space=shared)
    assert result.pairs == 0
    assert result.valid_losses[result.best_epoch] < result.valid_losses[0]


def test_too_little_to_learn_from(pair_table: PairTable) -> None:
    frozen = grouped(1)
    blind = Embeddings(frozen.text, frozen.image, frozen.mask & [True, False], frozen.joint)
    with pytest.raises(InputError, match="too few") as caught:
        train(blind, pair_table([(0, 1)], ["train"]))
    assert "leave out --adapt" in (caught.value.hint or "")


@pytest.mark.parametrize("encoder", ["classic", "open_clip"])
def test_stage_writes_adapted_rows_and_reopens_them(
    typed_items: pa.Table,
    run_encode: Run,
    pair_table: PairTable,
    tiny_open_clip: Path,
    encoder: str,
) -> None:
    ends = [(row, row + 3) for row in range(57)] + [(row, row + 6) for row in range(54)]
    pairs = pair_table(ends, ["train"] * len(ends))
    name = "classic" if encoder == "classic" else f"open_clip:mmsc-tiny/{tiny_open_clip}"
    frozen = run_encode(typed_items, encoder=name)
    adapted = run_encode(typed_items, pairs, encoder=name, adapt=True)
    assert adapted.counts["adapt"]["pairs"] == len(ends)
    assert adapted.counts["adapt"]["best_epoch"] > 0
    text = adapted.array("text.npy")
    assert text.shape == frozen.array("text.npy").shape
    assert not np.allclose(text, frozen.array("text.npy"), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(text.astype(np.float32), axis=1), 1, atol=2e-3)
    again = open_encoder(adapted.folder, device=cpu)
    np.testing.assert_allclose(again.encode_texts(full_text(typed_items)), text, atol=3e-3)


def test_it_says_what_it_gained_on_held_out_items_and_keeps_what_gained_nothing(
    typed_items: pa.Table, run_encode: Run, pair_table: PairTable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    splits = ["cold_valid" if row % 10 == 9 else "warm" for row in range(60)]
    items = typed_items.set_column(typed_items.schema.get_field_index("split"), "split", pa.array(splits))
    every = [(a, b) for a in range(60) for b in range(a + 1, 60)]
    # Two types that go together, which nothing in their texts says; and items alike, but warm ones meet by chance.
    crossed = [(a, b) for a, b in every if {a % 3, b % 3} == {0, 1}]
    alike = [(a, b) for a, b in every if a % 3 == b % 3]
    chance = [every[number] for number in np.random.default_rng(1).choice(len(every), 200, replace=False)]
    frozen = run_encode(items, encoder="classic")
    for training, right, applied in ((crossed, crossed, True), (chance, alike, False)):
        met = [pair for pair in training if all(splits[row] == "warm" for row in pair)]
        held_out = [pair for pair in right if sum(splits[row] == "warm" for row in pair) == 1]
        pairs = pair_table([*met, *held_out], ["train"] * len(met) + ["valid"] * len(held_out))
        made = run_encode(items, pairs, encoder="classic", adapt=True)
        report = made.counts["adapt"]
        figures = report["held_out"]["substitute"]
        assert figures["queries"] == len({row for pair in held_out for row in pair if splits[row] != "warm"})
        assert (figures["adapted_ndcg@10"] > figures["frozen_ndcg@10"]) is applied is report["applied"]
        assert np.array_equal(made.array("text.npy"), frozen.array("text.npy")) is not applied
        assert (made.folder / "adapter.safetensors").exists() is applied
        again = open_encoder(made.folder, device=cpu)
        np.testing.assert_allclose(again.encode_texts(full_text(items)), made.array("text.npy"), atol=3e-3)
        assert ("the adapted vectors are used" if applied else "the frozen vectors are kept") in caplog.text
        caplog.clear()


def test_a_training_that_was_stopped_ends_the_same(
    pair_table: PairTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, pairs = grouped(1), group_pairs(pair_table, 1)
    monkeypatch.setattr(adapt, "SCHEDULE", replace(adapt.SCHEDULE, max_epochs=4))
    whole = train(frozen, pairs)
    draw, epochs = epoch_batches, []

    def stop_in_the_third(*arguments: Any, epoch: int, **others: Any) -> Any:
        epochs.append(epoch)
        if epochs == [1, 2, 3]:
            raise KeyboardInterrupt
        return draw(*arguments, epoch=epoch, **others)

    monkeypatch.setattr(early_stopping, "epoch_batches", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(frozen, pairs, checkpoints=Checkpoints(tmp_path / "training", {}))
    again = train(frozen, pairs, checkpoints=Checkpoints(tmp_path / "training", {}))
    assert epochs == [1, 2, 3, 3, 4]
    assert again.valid_losses == whole.valid_losses
    assert np.array_equal(again.adapter.text, whole.adapter.text)
    assert np.array_equal(again.adapter.image, whole.adapter.image)


@pytest.mark.usefixtures("short")
def test_exchanged_adapter_is_refused(tmp_path: Path, pair_table: PairTable) -> None:
    result = train(grouped(1), group_pairs(pair_table, 1))
    sha256 = result.adapter.save(tmp_path)
    assert np.array_equal(open_adapter(tmp_path, sha256).text, result.adapter.text)
    (tmp_path / "adapter.safetensors").write_bytes(b"x")
    with pytest.raises(WorkspaceError, match="not the one"):
        open_adapter(tmp_path, sha256)
