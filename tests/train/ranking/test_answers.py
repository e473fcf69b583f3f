from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.index.following import followed_scores
from mmsc_cli.train.ranking.answers import STEP, Answers, Composed, compose

ITEMS, DIM = 20, 4


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Five candidates of every item, four of the last."""
    draw = np.random.default_rng(0)
    candidates = np.stack([np.sort(draw.permutation(ITEMS)[:5]) for _ in range(ITEMS)])
    candidates[-1, -1] = -1
    return Answers(candidates, draw.random((2, ITEMS, 5), np.float32) * 10)


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    query, key = (draw.normal(size=(ITEMS, DIM)).astype(np.float32) * 30 for _ in range(2))
    return query, key


def scores_of(composed: Composed) -> np.ndarray:
    return composed.query @ composed.key.T + composed.rows.toarray()


def test_candidates_get_the_score_of_the_ranker(answers: Answers, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    scores = scores_of(compose(*vectors, answers, distinct=0))
    filled = answers.candidates >= 0
    found = np.take_along_axis(scores, answers.candidates, axis=1)
    np.testing.assert_allclose(found[filled], answers.scores[0][filled], atol=STEP)


def test_a_share_of_the_second_head_can_be_chosen_when_answering(
    answers: Answers, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    chosen, composed = compose(*vectors, answers, distinct=0.3), compose(*vectors, answers, distinct=0)
    np.testing.assert_array_equal(composed.rows.indices, composed.by_distinct.indices)
    later = composed.rows + np.float32(0.3) * composed.by_distinct
    np.testing.assert_allclose(chosen.rows.toarray(), later.toarray(), atol=STEP)
    filled = answers.candidates >= 0
    found = np.take_along_axis(scores_of(chosen), answers.candidates, axis=1)
    np.testing.assert_allclose(found[filled], (0.7 * answers.scores[0] + 0.3 * answers.scores[1])[filled], atol=STEP)


def test_the_weight_of_the_student_can_be_chosen_when_answering(
    answers: Answers, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    truth = np.random.default_rng(2).random(answers.candidates.shape, np.float32)
    taught = Answers(answers.candidates, answers.scores, truth)
    followed, plain = (compose(*vectors, taught, distinct=0, follow=weight) for weight in (0.4, 0))
    assert not np.allclose(followed.rows.toarray(), plain.rows.toarray(), atol=0.1)
    stored = plain.by_student
    assert stored is not None
    later = plain.rows.copy()
    later.data += followed_scores(stored.behaviour, stored.truth, later.indptr, 0.4) - stored.behaviour
    np.testing.assert_allclose(followed.rows.toarray(), later.toarray(), atol=STEP)


def test_candidates_come_best_first(answers: Answers, vectors: tuple[np.ndarray, np.ndarray]) -> None:
    composed = compose(*vectors, answers, distinct=0.3)
    scores = scores_of(composed)
    for row in range(ITEMS):
        ranked = scores[row, composed.rows.indices[composed.rows.indptr[row] : composed.rows.indptr[row + 1]]]
        assert (np.diff(ranked) <= 1e-4).all()


def test_all_others_follow_in_the_order_of_the_network(
    answers: Answers, vectors: tuple[np.ndarray, np.ndarray]
) -> None:
    scores, products = scores_of(compose(*vectors, answers, distinct=0)), vectors[0] @ vectors[1].T
    for row in range(ITEMS):
        others = np.setdiff1d(np.arange(ITEMS), answers.candidates[row])
        assert scores[row, others].min() >= -2 - 1e-5
        assert scores[row, others].max() <= 1e-5
        np.testing.assert_array_equal(np.argsort(scores[row, others]), np.argsort(products[row, others]))


def test_a_network_that_says_nothing_leaves_the_candidates_as_they_are(answers: Answers) -> None:
    nothing = np.zeros((ITEMS, DIM), np.float32)
    scores = scores_of(compose(nothing, nothing, answers, distinct=0))
    np.testing.assert_allclose(np.sort(scores[3])[-5:], np.sort(answers.scores[0][3]), atol=STEP)
