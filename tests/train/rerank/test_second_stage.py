from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mmsc_cli.train.rerank.second_stage import Ranked, compose

ITEMS, DIM = 20, 4


@pytest.fixture(scope="module")
def composed() -> tuple[np.ndarray, np.ndarray, Ranked]:
    """Scores of the first stage, scores as composed, and what was ranked: all items but the last two."""
    draw = np.random.default_rng(0)
    query, key = (draw.normal(size=(ITEMS, DIM)).astype(np.float32) * 30 for _ in range(2))
    scores = draw.random((ITEMS, ITEMS), np.float32)
    mixed = sparse.csr_array(np.where(scores < 0.3, scores, 0))
    rows = draw.permutation(ITEMS - 2)
    candidates = np.stack([np.sort(draw.permutation(ITEMS)[:5]) for _ in rows])
    ranked = Ranked(rows, candidates, draw.normal(size=(len(rows), 5)).astype(np.float32))
    new_query, new_key, new_rows = compose(query, key, mixed, ranked)
    return query @ key.T + mixed.toarray(), new_query @ new_key.T + new_rows.toarray(), ranked


def test_candidates_get_the_score_of_the_ranker(composed: tuple[np.ndarray, np.ndarray, Ranked]) -> None:
    _, scores, ranked = composed
    found = np.take_along_axis(scores[ranked.rows], ranked.candidates, axis=1)
    np.testing.assert_allclose(found, ranked.scores, atol=1e-5)


def test_all_others_follow_in_the_order_of_the_network(composed: tuple[np.ndarray, np.ndarray, Ranked]) -> None:
    _, scores, ranked = composed
    for row, candidates, ranking in zip(ranked.rows, ranked.candidates, ranked.scores, strict=True):
        others = np.setdiff1d(np.arange(ITEMS), candidates)
        assert scores[row, others].max() <= ranking.min() + 1e-5
        assert scores[row, others].min() >= ranking.min() - 2 - 1e-5


def test_the_order_of_what_is_no_candidate_is_that_of_the_vectors() -> None:
    draw = np.random.default_rng(1)
    query, key = (draw.normal(size=(ITEMS, DIM)).astype(np.float32) for _ in range(2))
    nothing = sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32))
    ranked = Ranked(np.array([3]), np.array([[0, 1]]), np.array([[1.0, 2.0]], np.float32))
    new_query, new_key, rows = compose(query, key, nothing, ranked)
    before, after = query[3] @ key[2:].T, (new_query @ new_key.T + rows.toarray())[3, 2:]
    np.testing.assert_array_equal(np.argsort(before), np.argsort(after))


def test_items_that_were_not_ranked_keep_their_scores(composed: tuple[np.ndarray, np.ndarray, Ranked]) -> None:
    before, after, _ = composed
    np.testing.assert_allclose(after[-2:], before[-2:], rtol=1e-5)
