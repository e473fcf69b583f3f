"""A catalogue small enough to work out by hand, and scorers whose every score is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.pairs import Pairs
from mmsc_cli.relations import Relation

# Items 0-9 are warm, 10 is cold_valid, 11 and 12 are cold_test.
ITEM_SPLIT = np.asarray(["warm"] * 10 + ["cold_valid", "cold_test", "cold_test"])
ITEMS = len(ITEM_SPLIT)

# (a, b, view strength, buy strength, split)
HAND_PAIRS = [
    (0, 1, 1.0, 0.0, "train"),
    (0, 2, 1.0, 1.0, "train"),
    (0, 3, 0.0, 1.0, "train"),
    (0, 4, 1.0, 0.0, "valid"),
    (0, 5, 1.0, 0.0, "test"),  # clean substitute
    (0, 6, 1.0, 1.0, "test"),  # ambiguous
    (0, 7, 0.0, 1.0, "test"),  # clean complement
    (1, 2, 1.0, 0.0, "train"),
    (0, 8, 1.0, 0.0, "train"),
    (5, 8, 0.0, 1.0, "train"),
    (3, 10, 1.0, 0.0, "valid"),  # cold_valid
    (0, 11, 1.0, 1.0, "test"),  # cold, ambiguous
    (2, 11, 1.0, 0.0, "test"),  # cold, clean substitute
    (11, 12, 1.0, 0.0, "test"),  # between cold items: nobody's positive
]


class _FixedScorer:
    """Scores from one (items, items) matrix for both relations, or one per relation."""

    def __init__(self, scores: NDArray[np.float32] | Mapping[Relation, NDArray[np.float32]]) -> None:
        self._scores = scores
        self.asked: list[int] = []

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of the matrix."""
        self.asked += queries.tolist()
        matrix = self._scores if isinstance(self._scores, np.ndarray) else self._scores[relation]
        return matrix[queries]


def _pair_table(rows: Sequence[tuple[int, int, float, float, str]]) -> Pairs:
    """A pair table from (a, b, view, buy, split); the strength is put in both directions."""
    a, b, view, buy, split = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    views, buys = np.asarray(view, np.float32), np.asarray(buy, np.float32)
    return Pairs(np.asarray(a, np.int32), np.asarray(b, np.int32), views, views, buys, buys, np.asarray(split, np.str_))


def _random_context(items: int = 120, pairs: int = 900, seed: int = 0) -> EvaluationContext:
    """A random catalogue with cold items and a hold-out as the protocol demands it."""
    generator = np.random.default_rng(seed)
    item_split = np.where(np.arange(items) % 10 == 8, "cold_valid", "warm")
    item_split[np.arange(items) % 10 == 9] = "cold_test"
    codes = np.unique(generator.integers(0, items * items, pairs))
    codes = codes[codes // items < codes % items]
    a, b = (codes // items).astype(np.int32), (codes % items).astype(np.int32)
    view = generator.random(len(a)).astype(np.float32) * (generator.random(len(a)) < 0.6)
    buy = np.where(view > 0, generator.random(len(a)) < 0.5, 1).astype(np.float32)
    split = generator.choice(["train", "train", "valid", "test"], len(a))
    for kind, end in (("cold_valid", "valid"), ("cold_test", "test")):
        split[(item_split[a] == kind) | (item_split[b] == kind)] = end
    table = Pairs(a, b, view.astype(np.float32), np.zeros_like(buy), buy, np.zeros_like(buy), split)
    category = [["root", f"branch {item % 3}", f"leaf {item % 6}"] for item in range(items)]
    text = Modality(generator.standard_normal((items, 8)).astype(np.float16), np.ones(items, np.bool_))
    return EvaluationContext(table, item_split, category, text=text, image=None, seed=seed)


@pytest.fixture(autouse=True)
def hardly_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graph baselines take part, but how well they learn is tested next to them."""
    from mmsc_cli.evaluate.baselines.graph import training

    for name in ("MOST_CHECKS", "VIEWS_PER_CHECK", "STEPS_PER_VIEW"):
        monkeypatch.setattr(training, name, 1)


@pytest.fixture
def pair_table() -> Callable[..., Pairs]:
    return _pair_table


@pytest.fixture
def random_context() -> Callable[..., EvaluationContext]:
    return _random_context


@pytest.fixture
def fixed_scorer() -> Callable[..., _FixedScorer]:
    return _FixedScorer


@pytest.fixture
def hand_pairs() -> Pairs:
    return _pair_table(HAND_PAIRS)


@pytest.fixture
def hand_context(hand_pairs: Pairs) -> EvaluationContext:
    return EvaluationContext(hand_pairs, ITEM_SPLIT, [["root"]] * ITEMS)
