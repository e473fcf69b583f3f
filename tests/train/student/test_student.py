from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmsc_cli.index.index_file import Index
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.tables.relations import CLASSES, RELATIONS
from mmsc_cli.tables.truth import Truth
from mmsc_cli.train.inputs import Inputs, Plan, read_inputs
from mmsc_cli.train.known import Catalogue, Known
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student.student import teach
from mmsc_cli.train.student.views import PairViews
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def inputs(prepared: Workspace) -> Inputs:
    return read_inputs(prepared, Plan(1, (), None))


def views_of(inputs: Inputs) -> PairViews:
    visible = inputs.training()
    known = Known(Catalogue(inputs.features, visible.has_behaviour, 10), visible, 64)
    return PairViews(Evidence(known), PairRules(inputs.items), 32)


@pytest.fixture(scope="module")
def trained(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("trained without labels")
    settings = TrainSettings(dim=16, epochs=1, batch_queries=128)
    train(prepared, settings, Plan(1, (), None, serve=False), folder, torch.device("cpu"))
    return Index.open(folder / "judged")


def precision(index: Index, truth: Truth, weight: float) -> list[float]:
    """The share of true pairs among the first ten answers, per relation."""
    queries = np.arange(len(index))
    found = []
    for relation in RELATIONS:
        scores = index.with_follow_labels({relation: weight}).scores(relation, queries)
        scores[queries, queries] = -np.inf
        best = np.argsort(-scores, axis=1)[:, :10]
        found.append(float(truth.of_pairs(relation, np.repeat(queries, 10), best.ravel(), len(index)).mean()))
    return found


def test_the_view_of_behaviour_says_nothing_of_what_the_items_are(inputs: Inputs) -> None:
    features = inputs.features
    other = replace(features, brand=torch.zeros_like(features.brand), price=torch.zeros_like(features.price))
    # Candidates of other items are found by what they are.
    a, b = np.split(np.flatnonzero(inputs.training().has_behaviour)[:40], 2)
    was, now = (views_of(replace(inputs, features=side)) for side in (features, other))
    evidence, changed = was.of_pairs(a, b)[0], now.of_pairs(a, b)[0]
    assert not np.array_equal(evidence, changed)
    strengths = was.of_pairs(a, b)[1]
    np.testing.assert_array_equal(was.behaviour(evidence, strengths), now.behaviour(changed, strengths))


def test_without_any_label_the_student_tells_true_pairs_from_others(inputs: Inputs, prepared: Workspace) -> None:
    views = views_of(inputs)
    student = teach(views, None, seed=1)
    assert student is not None
    assert student.about is None
    queries = np.arange(len(inputs))
    candidates = views.evidence.known.candidates(queries, 32)
    truth = Truth.read(prepared.path("truth.parquet"))
    blocks = np.array_split(queries, max(1, -(-len(queries) // views.evidence.chunk)))
    said = np.concatenate(
        [
            student.of_candidates(views, rows, candidates[rows], views.evidence.of(rows, candidates[rows]))
            for rows in blocks
        ]
    )
    np.testing.assert_allclose(said.sum(axis=2), 1, atol=1e-5)
    a, b, there = np.repeat(queries, 32), np.maximum(candidates, 0).ravel(), candidates.ravel() >= 0
    for number, relation in enumerate(RELATIONS):
        true = truth.of_pairs(relation, a, b, len(inputs))
        assert roc_auc_score(true[there], said[:, :, number].ravel()[there]) > 0.8


def test_following_the_student_shows_more_true_answers(trained: Index, prepared: Workspace) -> None:
    truth = Truth.read(prepared.path("truth.parquet"))
    by_behaviour, by_truth = precision(trained, truth, 0.0), precision(trained, truth, 1.0)
    for before, after in zip(by_behaviour, by_truth, strict=True):
        assert after > before


def test_what_is_chosen_when_answering_is_what_training_would_have_made(trained: Index) -> None:
    queries = np.arange(20)
    chosen = trained.about["follow_labels"]
    there_and_back = trained.with_follow_labels({"complement": 1.0}).with_follow_labels(chosen)
    np.testing.assert_allclose(
        trained.scores("complement", queries), there_and_back.scores("complement", queries), atol=1e-4
    )
    assert set(chosen) == set(RELATIONS)
    assert CLASSES[: len(RELATIONS)] == RELATIONS
