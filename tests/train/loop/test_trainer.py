from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape, Vectors
from mmsc_cli.runtime.checkpoint import CHECKPOINT, Checkpoints, Resume
from mmsc_cli.runtime.progress import SILENT, Progress, Task
from mmsc_cli.train.loop import data as problem
from mmsc_cli.train.loop import loss, step, trainer
from mmsc_cli.train.loop import step as memory
from mmsc_cli.train.loop.data import Problem, masked_views
from mmsc_cli.train.loop.step import Step
from mmsc_cli.train.loop.trainer import Fitted, fit
from mmsc_cli.train.settings import TrainSettings
from tests.train.loop.test_data import random_pairs

ITEMS = 60
SETTINGS = TrainSettings(dim=8, epochs=3, patience=4, batch_queries=20)
STEPS = 3


@pytest.fixture
def posed() -> Problem:
    random = torch.Generator().manual_seed(0)
    items = ItemFeatures(
        text=torch.randn(ITEMS, 6, generator=random),
        image=torch.randn(ITEMS, 4, generator=random),
        joint=torch.zeros(ITEMS, 0),
        present=torch.ones(ITEMS, 2, dtype=torch.bool),
        category=torch.arange(ITEMS) % 3 + 1,
        category_start=torch.arange(ITEMS),
        brand=torch.arange(ITEMS) % 2 + 1,
        price=torch.stack([torch.randn(ITEMS, generator=random), torch.ones(ITEMS)], dim=1),
    )
    pairs = random_pairs(ITEMS)
    near = torch.stack([(torch.arange(ITEMS) + shift) % ITEMS for shift in (1, 2)], dim=1)
    return Problem(items, pairs, pairs.strength, pairs.strength, neighbour_graph(near, torch.ones(ITEMS, 2), ITEMS))


def figures(vectors: Vectors) -> dict[str, float]:
    """A stand-in for validation that goes up and down with the weights."""
    return {"ndcg@10": float(vectors["substitute"][0].abs().sum().sin())}


def run(
    posed: Problem,
    settings: TrainSettings = SETTINGS,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
    validate: Callable[[Vectors], dict[str, float]] = figures,
) -> tuple[dict[str, torch.Tensor], Fitted]:
    torch.manual_seed(1)
    model = Mmsc(Shape(ITEMS, text_dim=6, image_dim=4, categories=3, brands=2, dim=8))
    fitted = fit(model, posed, settings, validate, seed=1, checkpoints=checkpoints, progress=progress)
    return model.state_dict(), fitted


def assert_same(first: tuple[dict[str, torch.Tensor], Fitted], second: tuple[dict[str, torch.Tensor], Fitted]) -> None:
    for name, tensor in first[0].items():
        assert torch.equal(tensor, second[0][name]), name
    without_time = [
        [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in fitted.history]
        for _, fitted in (first, second)
    ]
    assert without_time[0] == without_time[1]


class Interrupting:
    """Progress that is interrupted once so many steps are done: what Ctrl-C at that moment does."""

    def __init__(self, after: int) -> None:
        self._left = after

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: Literal["", "bytes"] = "") -> Iterator[Task]:
        yield self

    def advance(self, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise KeyboardInterrupt

    def show(self, **figures: float) -> None:
        """Nobody watches."""


def saved(folder: Path, resume: Resume = "auto", **fingerprint: Any) -> Checkpoints:
    return Checkpoints(folder / "training", fingerprint, resume)


@pytest.mark.parametrize("after", [0, 1, STEPS, STEPS + 1, 2 * STEPS + 2])
def test_a_run_that_was_interrupted_ends_as_if_it_was_not(
    posed: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = run(posed)
    with pytest.raises(KeyboardInterrupt):
        run(posed, checkpoints=saved(tmp_path), progress=Interrupting(after))
    torch.manual_seed(99)
    torch.rand(3)
    steps: list[int] = []
    original = Step.__call__

    def counted(self: Step, *given: Any) -> float:
        steps.append(1)
        return original(self, *given)

    monkeypatch.setattr(Step, "__call__", counted)
    assert_same(run(posed, checkpoints=saved(tmp_path)), whole)
    kept = after // STEPS * STEPS  # whole epochs
    assert len(steps) == STEPS * SETTINGS.epochs - kept


def test_early_stopping_counts_across_an_interruption(posed: Problem, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 6, "patience": 2})

    def worse_and_worse(vectors: Vectors) -> dict[str, float]:
        worse_and_worse.calls += 1  # type: ignore[attr-defined]
        return {"ndcg@10": 1 / worse_and_worse.calls}  # type: ignore[attr-defined]

    worse_and_worse.calls = 0  # type: ignore[attr-defined]
    whole = run(posed, settings, validate=worse_and_worse)
    assert len(whole[1].history) == 3
    worse_and_worse.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        run(posed, settings, saved(tmp_path), Interrupting(2 * STEPS), worse_and_worse)
    assert_same(run(posed, settings, saved(tmp_path), validate=worse_and_worse), whole)


def test_figures_of_finished_epochs_survive_an_interruption(posed: Problem, tmp_path: Path) -> None:
    whole = run(posed)
    with pytest.raises(KeyboardInterrupt):
        run(posed, checkpoints=saved(tmp_path), progress=Interrupting(2 * STEPS + 1))
    lines = (tmp_path / "training" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [epoch["loss"] for epoch in whole[1].history[:2]]


def test_a_checkpoint_of_another_run_is_never_continued(
    posed: Problem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(posed, checkpoints=saved(tmp_path, seed=1, inputs={"pairs": "x"}), progress=Interrupting(STEPS))
    with pytest.raises(InputError, match=r"another inputs\.pairs, seed"):
        run(posed, checkpoints=saved(tmp_path, "must", seed=2, inputs={"pairs": "y"}))
    assert_same(run(posed, checkpoints=saved(tmp_path, seed=2, inputs={"pairs": "x"})), run(posed))
    assert "another seed: training starts over" in caplog.text


def test_a_damaged_checkpoint_is_not_continued(
    posed: Problem, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(posed, checkpoints=saved(tmp_path), progress=Interrupting(STEPS))
    path = tmp_path / "training" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-9])
    assert_same(run(posed, checkpoints=saved(tmp_path)), run(posed))
    assert "damaged" in caplog.text


def test_checkpoints_are_safetensors_and_json_alone(posed: Problem, tmp_path: Path) -> None:
    run(posed, checkpoints=saved(tmp_path))
    assert sorted(path.name for path in (tmp_path / "training").iterdir()) == [CHECKPOINT, "metrics.jsonl"]


@pytest.mark.parametrize(
    "failure",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_where_memory_runs_out_a_step_is_done_again_in_smaller_chunks(
    posed: Problem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: RuntimeError
) -> None:
    whole = run(posed)
    limit = memory.ChunkSize().logits // 4
    original = loss.catalogue_softmax

    def short_of_memory(*given: Any) -> loss.SoftmaxGradient:
        # The first softmax of a step goes well, so that a failed try leaves something to undo.
        short_of_memory.calls += 1  # type: ignore[attr-defined]
        if short_of_memory.calls > 1 and given[5] > limit:  # type: ignore[attr-defined]
            raise failure
        return original(*given)

    short_of_memory.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(step, "catalogue_softmax", short_of_memory)
    assert_same(run(posed), whole)
    assert caplog.text.count("out of memory") == 2


def test_the_smallest_chunks_are_the_end_of_it(posed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> loss.SoftmaxGradient:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(step, "catalogue_softmax", fail)
    with pytest.raises(MemoryError):
        run(posed)


def test_other_errors_are_not_taken_for_a_lack_of_memory(posed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> loss.SoftmaxGradient:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(step, "catalogue_softmax", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        run(posed)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_ends_training_and_leaves_the_last_good_state(
    posed: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    original = Step.__call__
    calls: list[int] = []

    def fails_late(self: Step, *given: Any) -> float:
        calls.append(1)
        return original(self, *given) * (broken if len(calls) == STEPS + 2 else 1)

    with monkeypatch.context() as patched:
        patched.setattr(Step, "__call__", fails_late)
        with pytest.raises(MmscError, match="not a number in epoch 2") as raised:
            run(posed, checkpoints=saved(tmp_path))
    assert raised.value.hint is not None
    assert "--set train.learning_rate=0.0033" in raised.value.hint
    assert_same(run(posed, checkpoints=saved(tmp_path)), run(posed))


def test_a_gradient_that_is_no_number_is_never_stepped_along(posed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Step.__call__

    def breaks_gradient(self: Step, *given: Any) -> float:
        found = original(self, *given)
        assert self.model.log_scale.grad is not None
        self.model.log_scale.grad[0] = torch.nan
        return found

    monkeypatch.setattr(Step, "__call__", breaks_gradient)
    torch.manual_seed(1)
    model = Mmsc(Shape(ITEMS, text_dim=6, image_dim=4, categories=3, brands=2, dim=8))
    with pytest.raises(MmscError, match="gradient is not a number in epoch 1"):
        fit(model, posed, SETTINGS, figures, seed=1)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def test_a_large_catalogue_in_parts_is_trained_like_one_in_memory(
    posed: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(posed)
    monkeypatch.setattr(step, "SEMANTIC_KEPT", 1)
    monkeypatch.setattr(problem, "PART", 25)
    monkeypatch.setattr(trainer, "PART", 25)
    parts = run(replace(posed))
    for relation, sides in whole[1].vectors.items():
        for side in range(2):
            torch.testing.assert_close(parts[1].vectors[relation][side], sides[side], rtol=1e-3, atol=1e-4)


def test_sampled_training_with_all_items_in_the_sample_is_full_training(posed: Problem) -> None:
    # One step from the same weights; the sizes of the channels, measured on the sample, are then those of all items.
    torch.manual_seed(1)
    model = Mmsc(Shape(ITEMS, text_dim=6, image_dim=4, categories=3, brands=2, dim=8))
    assert bool(posed.has_behaviour.all())
    gradients = []
    for settings in (SETTINGS, SETTINGS.model_copy(update={"full_softmax_items": 1})):
        model.zero_grad()
        generator = torch.Generator().manual_seed(3)
        views = masked_views(posed, 0.2, generator)
        # The draw of the sample moves the random stream on, so nothing may hang on what comes after it.
        taken = Step(model, posed, settings.model_copy(update={"item_dropout": 0.0}), True, memory.ChunkSize())
        taken(views, torch.arange(20), generator)
        gradients.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_mixed_precision_goes_the_same_way(posed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    _, exact = run(posed)
    monkeypatch.setattr(step, "MIXED_PRECISION", ("cpu",))
    state, mixed = run(posed)
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert mixed.vectors["substitute"][0].dtype == torch.float32
    losses = [[epoch["loss"] for epoch in fitted.history] for fitted in (exact, mixed)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_sampled_training_learns(posed: Problem) -> None:
    settings = SETTINGS.model_copy(update={"full_softmax_items": 1, "sampled_negatives": 20, "epochs": 8})
    _, fitted = run(posed, settings)
    history = [epoch["loss"] for epoch in fitted.history]
    assert history[-1] < history[0]
