"""People and a model on the same pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsc_cli.tables.combined_labels import with_people
from mmsc_cli.tables.judgements import Votes
from mmsc_cli.tables.labels import Labels

ITEMS = 1_000


def labels(classes: np.ndarray, sure: float = 0.9) -> Labels:
    """A model's labels of the pairs (0, 1), (0, 2), ..."""
    n, p = len(classes), np.full((len(classes), 3), (1 - sure) / 2, np.float32)
    p[np.arange(n), classes] = sure
    ones = np.ones(n, np.float32)
    return Labels(
        np.zeros(n, np.int32), np.arange(1, n + 1, dtype=np.int32), p[:, 0], p[:, 1], p[:, 2],
        np.full(n, ""), np.full(n, "model"), np.full(n, "1"), ones, ones,
    )  # fmt: skip


def votes(classes: np.ndarray, first: int = 1) -> Votes:
    n = len(classes)
    return Votes(np.zeros(n, np.int32), np.arange(first, first + n, dtype=np.int32), np.eye(3, dtype=np.int64)[classes])


def test_a_person_outweighs_a_model_that_is_often_wrong() -> None:
    says, true = np.zeros(60, np.int64), np.arange(60) % 3
    joined = with_people(labels(says, sure=0.99), votes(true[:40]), ITEMS)
    assert joined is not None
    np.testing.assert_array_equal(joined.probabilities()[:40].argmax(axis=1), true[:40])
    assert joined.model.tolist() == ["model and people"] * 40 + ["model"] * 20
    # What nobody judged is believed no more than the model was right where somebody did.
    assert joined.probabilities()[40:, 0].max() < 0.5


def test_pairs_that_only_people_know_become_labels() -> None:
    joined = with_people(labels(np.zeros(3, np.int64)), votes(np.array([1, 2]), first=100), ITEMS)
    assert joined is not None
    assert len(joined) == 5
    assert joined.model.tolist() == ["model"] * 3 + ["people"] * 2
    assert joined.probabilities()[3:].argmax(axis=1).tolist() == [1, 2]
    np.testing.assert_allclose(joined.probabilities().sum(axis=1), 1, atol=1e-5)
    alone = with_people(None, votes(np.array([1, 2])), ITEMS)
    assert alone is not None
    assert len(alone) == 2


def test_people_who_disagree_are_believed_less() -> None:
    two = np.array([[2, 0, 0]] * 30, np.int64)
    torn = np.array([[1, 1, 0]] * 30 + [[2, 0, 0]] * 30, np.int64)
    ends = np.arange(1, 61, dtype=np.int32)
    sure, unsure = (
        with_people(None, Votes(np.zeros(len(counts), np.int32), ends[: len(counts)], counts), ITEMS)
        for counts in (two, torn)
    )
    assert sure is not None
    assert unsure is not None
    assert unsure.p_substitute[-1] < sure.p_substitute[-1]


def test_the_last_word_of_each_person_counts(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from mmsc_cli.tables.judgements import append_judgement, read_judgements, votes_of

    path, now = tmp_path / "judgements.parquet", datetime.now(UTC)
    said = [("x", "y", "neither", "anna"), ("y", "x", "substitute", "anna"), ("x", "y", "substitute", "ben")]
    for a, b, label, who in [*said, ("x", "gone", "neither", "ben")]:
        append_judgement(path, {"a": a, "b": b, "label": label, "who": who, "time": now, "source": "answers"})
    counted = votes_of(read_judgements(path), ["x", "y"])
    assert counted.counts.tolist() == [[2, 0, 0]]
    assert (counted.a.tolist(), counted.b.tolist()) == ([0], [1])
    assert len(read_judgements(tmp_path / "nobody.parquet")) == pytest.approx(0)
