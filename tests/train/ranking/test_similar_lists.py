"""The lists of items without behaviour, mixed with those of their look-alikes."""

from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.index.following import scores_of, shares_of
from mmsc_cli.model.features import Attributes
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.known import Catalogue, Known, Visible
from mmsc_cli.train.ranking.answers import Answers
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.similar_lists import WEIGHT, hear_look_alikes
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def evidence(prepared: Workspace) -> Evidence:
    items = read_items(prepared.path("items.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.sides, np.array(embeddings.mask))
    visible = Visible.training(Pairs.read(prepared.path("pairs.parquet")), None, item_splits(items))
    return Evidence(Known(Catalogue(features, visible.has_behaviour, 5), visible, keep=20))


@pytest.fixture(scope="module")
def answers(evidence: Evidence) -> Answers:
    """Candidates of every item in no order, of which the last is missing."""
    generator = np.random.default_rng(2)
    n_items = len(evidence.known.catalogue)
    candidates = np.stack([generator.choice(n_items, 12, replace=False) for _ in range(n_items)])
    candidates[:, -1] = -1
    shares = generator.dirichlet(np.ones(12), (2, n_items))
    return Answers(candidates, np.where(candidates < 0, 0, scores_of(shares)))


def test_only_lists_of_items_without_behaviour_change(evidence: Evidence, answers: Answers) -> None:
    heard = hear_look_alikes(evidence, dict.fromkeys(RELATIONS, answers))["complement"]
    cold = ~evidence.known.visible.has_behaviour
    assert cold.any()
    changed = (heard.scores != answers.scores).any(axis=(0, 2))
    assert not changed[~cold].any()
    assert changed[cold].mean() > 0.5


def test_a_candidate_that_the_look_alikes_like_moves_up(evidence: Evidence, answers: Answers) -> None:
    heard = hear_look_alikes(evidence, {"substitute": answers})["substitute"]
    similar = evidence.known.similar
    lists = np.zeros((len(evidence.known.catalogue),) * 2)
    rows = np.repeat(np.arange(len(lists)), 11)
    lists[rows, answers.candidates[:, :-1].ravel()] = shares_of(answers.scores[0])[:, :-1].ravel()
    lists /= lists.sum(axis=1, keepdims=True)
    for row in np.flatnonzero(~evidence.known.visible.has_behaviour):
        listed = answers.candidates[row, :-1]
        lent = (similar[[row]] @ lists).ravel()[listed]
        own = shares_of(answers.scores[0, row])[:-1]
        wanted = own if lent.sum() == 0 else (1 - WEIGHT) * own + WEIGHT * lent / lent.sum()
        np.testing.assert_allclose(shares_of(heard.scores[0, row])[:-1], wanted, atol=1e-5)
        assert heard.scores[0, row, -1] == 0
