from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from mmsc_cli.label.opinions import Calibration, Opinions
from mmsc_cli.tables.relations import CLASSES

NEUTRAL = Calibration(np.full(3, 1 / 3))


def opinions(*orders: tuple[tuple[float, ...], tuple[float, ...]]) -> Opinions:
    rows = np.arange(len(orders), dtype=np.int32)
    return Opinions(
        a=rows,
        b=rows + 1,
        orders=np.array(orders),
        direction=np.full(len(orders), "a_to_b"),
        label_mass=np.ones(len(orders), np.float32),
        annotator="judge",
        version="1",
    )


@pytest.mark.parametrize(
    ("first", "second", "agreement"),
    [
        ((1, 0, 0), (1, 0, 0), 1),
        ((1, 0, 0), (0, 0, 1), 0),
        ((1 / 3, 1 / 3, 1 / 3), (1 / 3, 1 / 3, 1 / 3), 0),  # they say nothing, both of them
        ((1, 0, 0), (1 / 3, 1 / 3, 1 / 3), 0),
        ((0.7, 0.2, 0.1), (0.7, 0.2, 0.1), 0.31),
        ((0.7, 0.2, 0.1), (0.2, 0.7, 0.1), 0),
    ],
)
def test_agreement_is_no_reward_for_indecision(
    first: tuple[float, ...], second: tuple[float, ...], agreement: float
) -> None:
    assert opinions((first, second)).labels(NEUTRAL).agreement[0] == pytest.approx(agreement, abs=1e-5)


def test_a_label_is_the_mean_of_both_orders_and_has_a_direction_only_as_a_complement() -> None:
    labels = opinions(((0.6, 0.2, 0.2), (0.2, 0.2, 0.6)), ((0.1, 0.8, 0.1), (0.1, 0.6, 0.3))).labels(NEUTRAL)
    assert_allclose(labels.probabilities(), [(0.4, 0.2, 0.4), (0.1, 0.7, 0.2)], atol=1e-6)
    assert labels.direction.tolist() == ["", "a_to_b"]


def test_a_preference_that_all_answers_share_is_taken_out() -> None:
    generator = np.random.default_rng(1)
    true = generator.integers(0, 3, 600)
    # It says "complement" of every pair, and a little more so of complements: as SmolLM2 did.
    liking = (
        np.array([0.15, 0.7, 0.15]) * np.where(np.eye(3)[true] == 1, 1.3, 1) * generator.uniform(0.9, 1.1, (600, 3))
    )
    raw = liking / liking.sum(axis=1, keepdims=True)
    assert set(raw.argmax(axis=1)) == {CLASSES.index("complement")}
    calibrated = Calibration.of_candidates(raw).apply(raw)
    assert (calibrated.argmax(axis=1) == true).mean() > 0.9
    assert_allclose(calibrated.sum(axis=1), 1)


def test_a_few_pairs_hardly_move_anything() -> None:
    raw = np.array([[0.8, 0.1, 0.1]])
    assert_allclose(Calibration.of_candidates(raw).apply(raw), raw, atol=0.03)


def test_human_labels_make_an_annotator_as_sure_as_it_is_right() -> None:
    generator = np.random.default_rng(2)
    true = generator.integers(0, 3, 2_000)
    answer = np.where(generator.random(2_000) < 0.7, true, generator.integers(0, 3, 2_000))  # right: 0.8
    raw: NDArray[np.float64] = np.full((2_000, 3), 0.005)
    raw[np.arange(2_000), answer] = 0.99
    fitted = Calibration.of_candidates(raw).fitted(raw[:500], true[:500]).apply(raw[500:])
    assert fitted.max(axis=1).mean() == pytest.approx(0.8, abs=0.03)


def test_an_annotator_that_states_its_accuracy_is_taken_at_its_word() -> None:
    rows = np.array([0, 1], np.int32)
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    direction = np.array(["both", "both"])
    stated = Opinions.of_one_order(
        rows, rows + 1, p, direction, annotator="oracle", version="1", states_accuracy=True
    ).labels(Calibration(np.array([0.9, 0.05, 0.05])))
    assert_allclose(stated.probabilities(), p, atol=1e-6)
    assert (stated.agreement == 1).all()
