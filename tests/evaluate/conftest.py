"""A catalogue small enough to work out by hand, and scorers whose every score is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.evaluate.ablation import AblationPlan
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.report.gallery import ShownItems, build_gallery
from mmsc_cli.evaluate.report.report import render_report
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.truth_mode import KnownTruth
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.tables.truth import Truth

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


def _random_truth(context: EvaluationContext, seed: int = 7) -> KnownTruth:
    """True relations of which behaviour shows a part, and reliabilities that know something of them."""
    generator = np.random.default_rng(seed)
    codes = np.flatnonzero(np.triu(generator.random((context.n_items, context.n_items)) < 0.04, k=1))
    a, b = (codes // context.n_items).astype(np.int32), (codes % context.n_items).astype(np.int32)
    substitute = generator.random(len(a)) < 0.5
    truth = Truth(a, b, substitute, ~substitute, np.where(substitute, "", "both"))
    train = context.pairs.of("train")
    reliability: dict[Relation, NDArray[np.float32]] = {}
    for relation in RELATIONS:
        true = truth.of_pairs(relation, train.a, train.b, context.n_items)
        reliability[relation] = ((generator.random(len(train)) + true) / 2).astype(np.float32)
    strength = {relation: train.strength(relation) for relation in RELATIONS}
    return KnownTruth(truth, Edges(train.a, train.b, strength, reliability))


@pytest.fixture
def random_truth() -> Callable[..., KnownTruth]:
    return _random_truth


@pytest.fixture
def rendered(tmp_path: Path) -> str:
    """A report that has every section, on a catalogue whose texts try to get out of it."""
    context = _random_context()
    scorer = _FixedScorer(np.random.default_rng(3).random((120, 120)).astype(np.float32))
    result = evaluate(
        context,
        scorer,
        EvaluateSettings(
            baselines=["popularity", "resource-allocation", "ease", "knn-transfer"], negatives=20, bootstrap=50
        ),
        truth=_random_truth(context),
        ablation=AblationPlan(
            lambda without, seed: scorer, ("llm",), (1, 2), {"image": "no item has an image"}, "judge & <co>"
        ),
    )
    result["protocol"]["baselines_left_out"]["image-knn"] = "there are no image embeddings"
    point = {"setting": {"regularisation": 30.0}, "ndcg@10": 0.5, "seconds": 1.25}
    tuning = {"setting": point["setting"], "grid": [point, point], "seconds": 2.5}
    result["models"]["ease"]["tuning"] = dict.fromkeys(RELATIONS, tuning)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "images" / "item.png")
    titles = [
        f'<script>alert({item})</script> & "quotes" {{{{ 7 * 7 }}}} {"long" * (3 if item % 4 else 40)}'
        for item in range(120)
    ]
    shown = ShownItems(
        item_ids=[f"<b>{item}" for item in range(120)],
        titles=titles,
        prices=[1234.5 if item % 2 else float("nan") for item in range(120)],
        images=["images/item.png" if item % 3 else None for item in range(120)],
        workspace_root=tmp_path,
    )
    history = [{"epoch": n, "loss": 9 / n, "substitute_warm": n / 20, "ndcg@10": n / 20} for n in range(1, 13)]
    return render_report(
        result,
        build_gallery(context, scorer, shown, lambda *_: "seen & bought"),
        history,
        "Beauty & <co>",
        {"encoder": "<classic>"},
    )
