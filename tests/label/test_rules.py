from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose

from mmsc_cli.label.opinions import Calibration
from mmsc_cli.label.rules import annotate
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import CLASSES

UNCALIBRATED = Calibration(np.ones(len(CLASSES)) / len(CLASSES))
PHONES = ["Electronics", "Phones", "Smartphones"]
SHOP = [
    {"title": "Acme X200 smartphone 128 GB", "brand": "Acme", "category": PHONES, "price": 499.0},
    {"title": "Bolt Nova smartphone 128 GB", "brand": "Bolt", "category": PHONES, "price": 449.0},
    {
        "title": "Leather case for Acme X200",
        "brand": "Hull",
        "category": ["Electronics", "Phones", "Cases"],
        "price": 19.0,
    },
    {
        "title": "Herbal shampoo 300 ml",
        "brand": "Lisse",
        "category": ["Beauty", "Hair", "Shampoo"],
        "price": 6.0,
    },
    {"title": "Inkjet printer Quill 7", "brand": "Quill", "category": ["Office", "Printers"], "price": 120.0},
    {
        "title": "Refill ink cartridge black compatible with Quill 7 inkjet printer",
        "brand": "",
        "category": ["Office", "Ink"],
        "price": 15.0,
    },
    {
        "title": "Eau de parfum rose for women",
        "brand": "Lisse",
        "category": ["Beauty", "Scent"],
        "price": 50.0,
    },
    {
        "title": "Eau de parfum iris for women",
        "brand": "Fleur",
        "category": ["Beauty", "Scent"],
        "price": 40.0,
    },
]


@pytest.fixture
def labels(make_items: Callable[..., pa.Table]) -> Labels:
    rows = np.array([(0, 1), (0, 2), (0, 3), (4, 5), (6, 7), (2, 3)], dtype=np.int32)
    return annotate(make_items(SHOP), rows[:, 0], rows[:, 1]).labels(UNCALIBRATED)


def test_clear_cases(labels: Labels) -> None:
    likeliest = [CLASSES[index] for index in labels.probabilities().argmax(axis=1)]
    assert likeliest == ["substitute", "complement", "neither", "complement", "substitute", "neither"]


def test_direction_is_towards_the_accessory_and_only_for_complements(labels: Labels) -> None:
    assert labels.direction.tolist() == ["", "a_to_b", "", "a_to_b", "", ""]


def test_direction_turns_with_the_pair(make_items: Callable[..., pa.Table]) -> None:
    items = make_items([SHOP[2], SHOP[0]])
    labels = annotate(items, np.array([0], dtype=np.int32), np.array([1], dtype=np.int32))
    assert labels.direction.tolist() == ["b_to_a"]


def test_distributions_are_complete_and_named(labels: Labels) -> None:
    assert_allclose(labels.probabilities().sum(axis=1), 1, atol=1e-6)
    assert set(labels.model) == {"rules"}
    assert (labels.label_mass == 1).all()
    assert ((labels.agreement > 0.5) & (labels.agreement < 1)).all()  # clear cases, though no certain ones


def test_items_that_say_nothing_get_an_opinion_without_nan(make_items: Callable[..., pa.Table]) -> None:
    items = make_items([{}, {}, {"title": "phone", "price": 0.0}, {"title": "phone", "price": 3.0}])
    opinions = annotate(items, np.array([0, 2], dtype=np.int32), np.array([1, 3], dtype=np.int32))
    assert np.isfinite(opinions.mean()).all()
    assert opinions.mean()[0].argmax() == CLASSES.index("neither")
