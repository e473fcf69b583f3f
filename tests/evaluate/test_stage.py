"""What the verdict makes of a trained workspace."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.protocol import SLICES
from mmsc_cli.evaluate.settings import EvaluateSettings
from mmsc_cli.evaluate.stage import (
    annotator_of,
    read_context,
    read_known_truth,
    read_training_history,
    untestable_parts,
)
from mmsc_cli.model.parts import Part
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.manifest import StageRecord
from mmsc_cli.workspace.workspace import Workspace

PARTS: tuple[Part, ...] = ("llm", "denoise", "aggregation", "image", "text", "id")


@pytest.fixture(scope="module")
def context(trained: Workspace) -> EvaluationContext:
    return read_context(trained, 1)


@pytest.fixture
def training(trained: Workspace) -> StageRecord:
    return trained.manifest().stages["train"]


class _Memory:
    """Puts the training and validation pairs first; then, if it `knows` them, the test pairs of the relation."""

    def __init__(self, context: EvaluationContext, *, knows: bool) -> None:
        self._scores: dict[Relation, NDArray[np.float32]] = {}
        test, seen = context.pairs.of("test"), context.pairs.of("train", "valid")
        for relation in RELATIONS:
            scores = np.zeros((context.n_items, context.n_items), np.float32)
            if knows:
                right = test.select(test.holds(relation))
                scores[right.a, right.b] = scores[right.b, right.a] = 1
                scores[:, context.item_split != "warm"] = 0  # cold items are nobody's positives
            scores[seen.a, seen.b] = scores[seen.b, seen.a] = 9
            self._scores[relation] = scores

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of the matrix of the relation."""
        return self._scores[relation][queries]


@pytest.mark.parametrize("knows", [False, True])
def test_training_pairs_in_front_gain_nothing_and_cost_nothing(context: EvaluationContext, knows: bool) -> None:
    result = evaluate(
        context, _Memory(context, knows=knows), EvaluateSettings(baselines="none", negatives=50, bootstrap=20)
    )
    asked = 0
    for relation in RELATIONS:
        for part in SLICES:
            found = result["models"]["mmsc"][relation][part]
            asked += found["queries"]
            assert found["ndcg@10"] in (None, pytest.approx(float(knows)))
    assert asked > 200


def test_truth_mode_reads_truth_reliabilities_and_labels(trained: Workspace, training: StageRecord) -> None:
    known = read_known_truth(trained, trained.inputs_of("evaluate"), training)
    assert known is not None
    assert len(known.truth) > 1_000
    assert known.edges is not None
    assert known.labels is not None
    assert len(known.labels) == 300


def test_without_a_truth_table_there_is_no_truth_mode(trained: Workspace, training: StageRecord) -> None:
    assert read_known_truth(trained, {"pairs.parquet": "x"}, training) is None


def test_a_model_of_an_earlier_version_has_no_reliabilities(trained_copy: Workspace, training: StageRecord) -> None:
    trained_copy.path("model/edges.parquet").unlink()
    trained_copy.path("model/metrics.jsonl").unlink()
    known = read_known_truth(trained_copy, {"truth.parquet": "x"}, training)
    assert known is not None
    assert known.edges is None
    assert read_training_history(trained_copy) == []


def test_the_training_history_has_an_entry_per_epoch(trained: Workspace) -> None:
    history = read_training_history(trained)
    assert [epoch["epoch"] for epoch in history] == [1, 2]
    assert all(epoch["loss"] > 0 for epoch in history)


def test_every_part_of_a_whole_model_can_be_tested(
    trained: Workspace, context: EvaluationContext, training: StageRecord
) -> None:
    used = training.model_copy(update={"counts": {**training.counts, "labelled_pairs": 100}})
    assert untestable_parts(PARTS, context, used) == {}
    assert annotator_of(trained, training) == "rules (no LLM)"


def test_a_part_that_is_not_there_has_a_reason(
    trained: Workspace, context: EvaluationContext, training: StageRecord
) -> None:
    unlabelled = training.model_copy(update={"inputs": {"items.parquet": "x"}})
    reasons = untestable_parts(PARTS, context, unlabelled)
    assert set(reasons) == {"llm"}
    assert "mmsc label" in reasons["llm"]
    assert annotator_of(trained, unlabelled) is None
    weightless = {**training.config, "train": {**training.config["train"], "llm": 0}}
    assert (
        "train.llm is 0" in untestable_parts(PARTS, context, training.model_copy(update={"config": weightless}))["llm"]
    )
    useless = {**training.counts, "labelled_pairs": 0, "added_pairs": 0}
    assert (
        "training can use none"
        in untestable_parts(PARTS, context, training.model_copy(update={"counts": useless}))["llm"]
    )
    training = training.model_copy(update={"counts": {**training.counts, "labelled_pairs": 100}})
    left_out = {**training.config, "without": ["id"]}
    assert set(untestable_parts(PARTS, context, training.model_copy(update={"config": left_out}))) == {"id"}
    blind = EvaluationContext(context.pairs, context.item_split, context.category, text=context.text, seed=1)
    assert untestable_parts(PARTS, blind, training) == {"image": "no item has an image"}
    assert untestable_parts(("id",), blind, training) == {}
