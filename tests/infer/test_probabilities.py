"""Probabilities of pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmsc_cli.errors import InputError, UnknownItemError, WorkspaceError
from mmsc_cli.infer.probabilities import PairOpinion
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def opened(trained: Workspace) -> Recommender:
    return Recommender.open(trained.root)


def test_probabilities_sum_to_one_whichever_comes_first(opened: Recommender) -> None:
    there = opened.probabilities(opened.index.ids[3], opened.index.ids[8])
    back = opened.probabilities(opened.index.ids[8], opened.index.ids[3])

    assert there.p_substitute + there.p_complement + there.p_neither == pytest.approx(1)
    assert (there.p_substitute, there.p_neither) == pytest.approx((back.p_substitute, back.p_neither))


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_linked_pairs_are_likelier_linked_than_random_ones(opened: Recommender, trained: Workspace, split: str) -> None:
    pairs = Pairs.read(trained.path("pairs.parquet"))
    linked = pairs.of(split)  # type: ignore[arg-type]
    any_two = np.random.default_rng(0).integers(0, len(opened), (60, 2))

    def unlinked(ends: list[tuple[int, int]]) -> float:
        return float(
            np.mean([opened.probabilities(opened.index.ids[a], opened.index.ids[b]).p_neither for a, b in ends])
        )

    seen = list(zip(linked.a.tolist(), linked.b.tolist(), strict=True))[:60]
    assert unlinked(seen) < unlinked([(a, b) for a, b in any_two.tolist() if a != b]) - 0.1


def test_an_unknown_end(opened: Recommender) -> None:
    with pytest.raises(UnknownItemError, match="NOWHERE"):
        opened.probabilities(opened.index.ids[0], "NOWHERE")


def test_an_index_without_calibration_says_so(opened: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(opened.index.about, "calibration", {})

    with pytest.raises(WorkspaceError, match="too few validation pairs"):
        opened.probabilities(opened.index.ids[0], opened.index.ids[1])


def test_probabilities_are_numbers(opened: Recommender) -> None:
    found = opened.probabilities(opened.index.ids[0], opened.index.ids[1])

    assert all(math.isfinite(value) for value in (found.p_substitute, found.p_complement, found.p_neither))


def test_an_item_beside_itself_is_no_pair(opened: Recommender) -> None:
    first, second = opened.index.ids[0], opened.index.ids[1]
    wrong, right = opened.judge([(first, first), (first, second)])
    assert isinstance(wrong, InputError)
    assert "a pair has two items" in wrong.message
    assert isinstance(right, PairOpinion)
