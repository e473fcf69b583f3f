"""A catalogue with planted relations: look-alikes replace one another, and each group goes with its partner group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows
from mmsc_cli.evaluate.baselines.graph import training
from mmsc_cli.evaluate.baselines.named import BASELINES
from mmsc_cli.evaluate.baselines.tuning import RowScorer, ValidationQueries
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.protocol import SliceName, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation

GROUP = 12
GROUPS = 12


def _plant(noise: int = 150, noise_strength: float = 1.0, seed: int = 0) -> EvaluationContext:
    """12 groups of 12 items; group g goes with group g ^ 1. One item of each group is cold_valid, one cold_test.

    Args:
        noise: co-views and co-purchases between any two items.
        noise_strength: that of a true pair is 1.
        seed: of everything drawn.
    """
    generator = np.random.default_rng(seed)
    items = GROUP * GROUPS
    group = np.arange(items) // GROUP
    a, b = np.triu_indices(items, 1)
    true = {"view": group[a] == group[b], "buy": group[a] == group[b] ^ 1}
    strength = {}
    for kind, planted in true.items():
        strength[kind] = (planted & (generator.random(len(a)) < 0.5)).astype(np.float32)
        noisy = generator.choice(len(a), noise, replace=False)
        strength[kind][noisy] = np.where(strength[kind][noisy] > 0, strength[kind][noisy], noise_strength)
    item_split = np.full(items, "warm", "<U10")
    item_split[::GROUP], item_split[1::GROUP] = "cold_valid", "cold_test"
    split = generator.choice(["train", "valid", "test"], len(a), p=[0.7, 0.15, 0.15])
    for kind, end in (("cold_valid", "valid"), ("cold_test", "test")):
        split[(item_split[a] == kind) | (item_split[b] == kind)] = end
    kept = (strength["view"] > 0) | (strength["buy"] > 0)
    view, buy = strength["view"][kept], strength["buy"][kept]
    pairs = Pairs(a[kept].astype(np.int32), b[kept].astype(np.int32), view, view, buy, buy, split[kept])
    centre = generator.standard_normal((GROUPS, 16))
    vectors = centre[group] + 0.5 * generator.standard_normal((items, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    text = Modality(vectors.astype(np.float16), np.ones(items, np.bool_))
    # Categories are coarser than groups, and partners are not in the same one.
    category = [["root", f"branch {number % 4}"] for number in group.tolist()]
    return EvaluationContext(pairs, item_split, category, text=text, image=text, joint=text, seed=1)


def _task_of(context: EvaluationContext, relation: Relation = "substitute", *, cold: bool = False) -> FittingTask:
    validation = ValidationQueries(context, relation, cold=cold)
    return FittingTask(
        context.for_fitting("train"), relation, "baseline under test", lambda *given: validation.ndcg(*given)
    )


def _fit(name: str, context: EvaluationContext, relation: Relation, setting: Mapping[str, Any] | None) -> ScoreRows:
    baseline = BASELINES[name]
    default = baseline.grid[0] if baseline.grid else {}
    return baseline.fit(_task_of(context, relation), **(default if setting is None else setting))


def _test_ndcg(
    scorer: Scorer | ScoreRows, context: EvaluationContext, relation: Relation, part: SliceName = "all"
) -> float:
    protocol = relation_protocol(relation, context.pairs, context.item_split)
    ranking = rank_catalogue(RowScorer(scorer) if callable(scorer) else scorer, protocol, name="under test")
    return float(ranking.of_slice(part)[:, NDCG].mean())


def _with_other_pairs(context: EvaluationContext, *splits: str) -> EvaluationContext:
    """The same context, with each pair of the given splits put elsewhere."""
    pairs = context.pairs
    moved = np.where(np.isin(pairs.split, splits), (pairs.b + 7) % context.n_items, pairs.b)
    return replace(context, pairs=replace(pairs, b=moved.astype(np.int32)))


@pytest.fixture(autouse=True)
def short_training(hardly_any_training: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to learn a catalogue this small."""
    monkeypatch.setattr(training, "MOST_CHECKS", 3)
    monkeypatch.setattr(training, "STEPS_PER_VIEW", 8)
    monkeypatch.setattr(training, "VIEWS_PER_CHECK", 2)
    monkeypatch.setattr(training, "BATCH_PAIRS", 512)
    monkeypatch.setattr(training, "NEGATIVES", 64)


@pytest.fixture(scope="session")
def planted() -> EvaluationContext:
    return _plant()


@pytest.fixture(scope="session")
def task_of() -> Callable[..., FittingTask]:
    return _task_of


@pytest.fixture(scope="session")
def fit() -> Callable[..., ScoreRows]:
    """Fit a baseline by name with a setting, or its default (None), without tuning."""
    return _fit


@pytest.fixture(scope="session")
def test_ndcg() -> Callable[..., float]:
    """NDCG@10 on the test pairs of a slice."""
    return _test_ndcg


@pytest.fixture(scope="session")
def with_other_pairs() -> Callable[..., EvaluationContext]:
    return _with_other_pairs


@pytest.fixture(scope="session")
def plant() -> Callable[..., EvaluationContext]:
    return _plant
