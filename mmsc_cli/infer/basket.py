"""Baskets as one question: what goes with several items together.

Each item of a basket spreads a whole over the catalogue, by the softmax of its complement scores, and an answer's score
is the mean of what it gets: items with large scores do not outvote the others, and an item that goes very well with one
of them beats one that goes a little with all. docs/experiments.md compares the ways that were tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.index.filters import Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, Ranked
from mmsc_cli.index.soundness import check_scores
from mmsc_cli.infer.choices import LONGEST_BASKET
from mmsc_cli.infer.entries import Entry
from mmsc_cli.tables.relations import Relation

if TYPE_CHECKING:
    from mmsc_cli.infer.explain import Explainer, Explanation

# Scores are divided by it before the softmax; chosen on held-out visits to demo shops.
TEMPERATURE = 2.0


@dataclass(frozen=True)
class Closest:
    """The item of a basket that an answer goes with best, the answer's score for that item, and the vectors' part."""

    item: Query
    score: float
    network: float


def basket_of(queries: Sequence[Query]) -> Query:
    """Items of the catalogue as one query; an item that is there twice counts once.

    Raises:
        InputError: there is none, or there are too many.
    """
    items = tuple({query.row: query for query in queries}.values())
    if not items:
        raise InputError("a basket has at least one item", hint="give ids, separated by commas")
    if len(items) > LONGEST_BASKET:
        raise InputError(f"a basket has at most {LONGEST_BASKET} items, and this has {len(items):,}")
    return Query(",".join(item.name for item in items), items=items)


class BasketRanker:
    """Ranks the catalogue for baskets, exactly."""

    def __init__(self, index: Index, sieves: Mapping[Relation, Sieve], k: int) -> None:
        """Rank the `k` best items that pass the sieve; see IndexRanker."""
        self._index = index
        self._ranker = IndexRanker(index, sieves, k)
        self.sieves = sieves
        self.k = k

    def rank(self, basket: Query) -> tuple[Ranked, list[Closest]]:
        """Rank the complements of a basket, and say with which of its items each goes best.

        Of a single item, the ranking and the scores are the item's own. `Ranked.network` is 0, as no part of the score
        is that of the vectors alone.
        """
        rows = [item.row for item in basket.items if item.row is not None]
        shares = np.full(len(self._index), -np.inf, np.float32)
        wholes = []
        for row in rows:
            scores = self._index.scores("complement", np.array([row]))[0] / np.float32(TEMPERATURE)
            check_scores(scores)
            most = float(scores.max())
            wholes.append(most + float(np.log(np.exp(scores - most).sum(dtype=np.float64))))
            np.logaddexp(shares, scores - np.float32(wholes[-1]), out=shares)
        # The mean of the shares; as a score of the usual size again.
        shares += np.float32(np.mean(wholes) - np.log(len(rows)))
        shares *= np.float32(TEMPERATURE)
        ranked = self._ranker.pick("complement", basket, shares, _no_network).placed(self.k)
        return ranked, self._closest(basket, rows, wholes, ranked.rows)

    def _closest(
        self, basket: Query, rows: Sequence[int], wholes: Sequence[float], answers: NDArray[np.int64]
    ) -> list[Closest]:
        side = self._index.vectors("complement")
        network = side.query[rows] @ side.key[answers].T
        linear = [side.linear.values_at(np.full(len(answers), row), answers) for row in rows]
        scores = network + np.stack(linear)
        best = np.argmax(scores / TEMPERATURE - np.array(wholes)[:, None], axis=0)
        return [
            Closest(basket.items[item], float(scores[item, place]), float(network[item, place]))
            for place, item in enumerate(best.tolist())
        ]


class BasketWhys:
    """Explains the answers to a basket, each by the item of the basket that it goes with best."""

    def __init__(self, explainer: Explainer, basket: Query, ranked: Ranked, closest: Sequence[Closest]) -> None:
        self._explainer = explainer
        self._first = basket.items[0]
        self._is_several = len(basket.items) > 1
        self._closest = dict(zip(ranked.rows.tolist(), closest, strict=True))

    def __call__(self, relation: Relation, entry: Entry) -> Explanation:
        """Explain an answer; `network_score` and `linear_score` are those of the one item."""
        closest = self._closest.get(entry.row)
        if closest is None:
            return self._explainer.explain(self._explainer.subject(self._first), relation, entry)
        pair = Entry(entry.row, closest.score, closest.network)
        why = self._explainer.explain(self._explainer.subject(closest.item), relation, pair)
        return replace(why, summary=f"with {closest.item.name}: {why.summary}") if self._is_several else why


def _no_network(rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.zeros(len(rows), np.float32)
