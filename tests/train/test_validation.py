from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.validation import Validation

SPLITS = np.array(["warm", "warm", "warm", "warm", "cold_valid", "cold_test"])


def table(*rows: tuple[int, int, str]) -> Pairs:
    a, b, split = zip(*rows, strict=True)
    ones = np.ones(len(a), np.float32)
    return Pairs(np.array(a, np.int32), np.array(b, np.int32), ones, ones, ones, ones, np.array(split))


PAIRS = table((0, 1, "train"), (0, 2, "valid"), (0, 3, "test"), (1, 4, "valid"), (2, 5, "test"))


class Favourites:
    """Scores item by item, the same for every query."""

    def __init__(self, *scores: float) -> None:
        self._scores = np.array(scores, np.float32)

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.tile(self._scores, (len(queries), 1))


def test_queries_are_validation_pairs_of_warm_items_or_cold_valid_items() -> None:
    random = np.random.default_rng(0)
    assert Validation(PAIRS, SPLITS, "substitute", "warm", random).queries.tolist() == [0, 2]
    assert Validation(PAIRS, SPLITS, "substitute", "cold", random).queries.tolist() == [4]


def test_training_pairs_and_the_query_itself_are_masked_and_test_pairs_are_not_read() -> None:
    validation = Validation(PAIRS, SPLITS, "complement", "warm", np.random.default_rng(0))
    # For query 0, items 0 (itself) and 1 (a training pair) are out of the way, so 2 comes first.
    assert validation.ndcg(Favourites(9, 8, 7, 1, 0, 0)) == 1.0
    without_test = PAIRS.select(PAIRS.split != "test")
    again = Validation(without_test, SPLITS, "complement", "warm", np.random.default_rng(0))
    scorer = Favourites(1, 5, 2, 4, 3, 0)
    assert validation.ndcg(scorer) == again.ndcg(scorer)


def test_nothing_to_validate_on_is_said_and_not_counted_as_zero() -> None:
    train_only = PAIRS.select(PAIRS.split == "train")
    assert (
        Validation(train_only, SPLITS, "substitute", "warm", np.random.default_rng(0)).ndcg(Favourites(*range(6)))
        is None
    )
