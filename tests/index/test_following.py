"""The student of labels in an index: its weight and its filter; I00 is asked about, and In scores -n."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index.following import RANGE, followed_scores
from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS
from tests.fixtures.hand_made_index import ITEMS, hand_made_tensors

TRUTH = {1: 0.01, 2: 0.9, 3: 0.4}


@pytest.fixture
def index() -> Index:
    """I01, I02 and I03 are the candidates of I00."""
    tensors = hand_made_tensors()
    for relation in RELATIONS:
        tensors[f"{relation}.linear.indptr"] = np.array([0, *[len(TRUTH)] * ITEMS])
        tensors[f"{relation}.linear.indices"] = np.array(list(TRUTH), np.int32)
        tensors[f"{relation}.linear.values"] = np.zeros(len(TRUTH), np.float32)
        tensors[f"{relation}.linear.behaviour"] = np.full(len(TRUTH), 5, np.float32)
        tensors[f"{relation}.linear.truth"] = np.array(list(TRUTH.values()), np.float32)
    return Index(tensors, {})


def _asked(index: Index, root: Path, **filters: Any) -> list[int]:
    return [int(answer.item[1:]) for answer in Recommender(index, root).complements("I00", 20, **filters)]


def test_the_further_the_student_is_followed_the_more_it_decides(index: Index, tmp_path: Path) -> None:
    assert _asked(index, tmp_path)[:3] == [1, 2, 3]
    assert _asked(index.with_follow_labels({"complement": 1.0}), tmp_path)[:3] == [2, 3, 1]
    back = index.with_follow_labels({"complement": 1.0}).with_follow_labels({"complement": 0.0})
    assert _asked(back, tmp_path)[:3] == [1, 2, 3]


def test_shares_are_mixed_with_those_of_a_list_that_counts_what_seems_true() -> None:
    share, truth, indptr = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.8, 0.4], np.float32), np.array([0, 2, 3])
    behaviour = np.log1p(np.exp(RANGE) * share).astype(np.float32)
    liked = truth * np.sqrt(share)
    liked /= np.array([liked[:2].sum()] * 2 + [liked[2]])  # of each of the two queries
    found = followed_scores(behaviour, truth, indptr, 0.25)
    np.testing.assert_allclose(
        np.expm1(found.astype(np.float64)) / np.exp(RANGE), 0.75 * share + 0.25 * liked, rtol=1e-4
    )


def test_followed_fully_candidates_stand_by_share_times_truth_squared() -> None:
    draw = np.random.default_rng(0)
    behaviour, truth = draw.random(50, np.float32) * 12, draw.random(50, np.float32)
    found = followed_scores(behaviour, truth, np.array([0, 50]), 1.0)
    wanted = np.log(np.expm1(behaviour)) + 2 * np.log(np.maximum(truth, 0.005))
    np.testing.assert_array_equal(np.argsort(found), np.argsort(wanted))


def test_only_answers_that_seem_true_pass(index: Index, tmp_path: Path) -> None:
    assert _asked(index, tmp_path, min_truth=0.3) == [2, 3]
    assert _asked(index, tmp_path, min_truth=0.95) == []


def test_an_index_without_a_student_says_so(tmp_path: Path) -> None:
    lean = Index(hand_made_tensors(), {})
    with pytest.raises(WorkspaceError, match="no student"):
        lean.with_follow_labels({"complement": 1.0})
    with pytest.raises(WorkspaceError, match="no student"):
        _asked(lean, tmp_path, min_truth=0.5)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_that_is_none(weight: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        Recommender.open(tmp_path, follow_labels=weight)
