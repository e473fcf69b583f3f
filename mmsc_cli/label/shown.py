"""Which pairs a later round asks about: what would be shown, and where student and model disagree.

Labels of pairs that are shown teach the student more than labels of pairs that behaviour is unsure of, and it is what
is shown that must be right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.arrays.top import rank_in_group
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.candidates import PairsToAsk, fill, first_of_each
from mmsc_cli.tables.relations import RELATIONS, Relation

SHOWN = 20  # answers to an item that may be seen
STRATEGIES = ("traffic", "tail", "disputed")
CHUNK = 1 << 20


def choose_shown(
    index: Index, degree: NDArray[np.int64], asked: NDArray[np.int64], budget: int, seed: int
) -> PairsToAsk:
    """Choose at most `budget` pairs, a third each by traffic, of the tail, and disputed.

    Args:
        index: the judged index, which has seen no test pair; its known pairs are not asked about.
        degree: training pairs of each item, shape (n_items,), for its traffic.
        asked: keys of pairs that were asked about before.
        budget: number of pairs.
        seed: of the recipe.
    """
    n_items = len(index)
    ranked: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {name: [] for name in STRATEGIES}
    known = pair_keys(*index.known.pairs(), n_items)
    taken = np.unique(np.concatenate([known, asked]))
    for relation in RELATIONS:
        query, answer, rank, student_rank = standings(index, relation, by_behaviour=True)
        keys = pair_keys(query, answer, n_items)
        new = ~np.isin(keys, taken) & (query != answer)
        keys, query, rank, student_rank = keys[new], query[new], rank[new], student_rank[new]
        shown, busy = rank < SHOWN, 1 + degree[query].astype(np.float64)
        ranked["traffic"].append((keys[shown], (1 + rank[shown]) / busy[shown]))
        ranked["tail"].append((keys[shown], (1 + rank[shown]) * busy[shown]))
        either = np.minimum(rank, student_rank) < SHOWN
        gap = np.abs(np.log1p(rank[either]) - np.log1p(student_rank[either]))
        ranked["disputed"].append((keys[either], -gap))
    ordered = {name: _in_order(parts, seed) for name, parts in ranked.items()}
    share = dict.fromkeys(STRATEGIES, budget // len(STRATEGIES))
    share["traffic"] += budget - sum(share.values())
    return PairsToAsk.of(fill(ordered, share, budget), n_items)


def standings(index: Index, relation: Relation, *, by_behaviour: bool = False) -> tuple[NDArray[Any], ...]:
    """Queries and candidates, where each stands among the query's, and where the student puts it; (entries,) each.

    `by_behaviour`: the former without what the student adds to scores.
    """
    truth = index.optional(f"{relation}.linear.truth")
    if by_behaviour and truth is not None:
        index = index.with_follow_labels({relation: 0.0})
    vectors = index.vectors(relation)
    linear = vectors.linear
    query, answer = linear.pairs()
    assert linear.values is not None
    scores = np.array(linear.values, np.float32)
    for start in range(0, len(query), CHUNK):
        block = slice(start, start + CHUNK)
        scores[block] += np.einsum("ij,ij->i", vectors.query[query[block]], vectors.key[answer[block]])
    rank = _standing(query, scores)
    return query, answer, rank, rank if truth is None else _standing(query, truth)


def _standing(query: NDArray[np.int64], values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rank of each entry among those of its query, 0 for the highest."""
    order = np.lexsort((-values, query))
    rank = np.empty(len(query), np.int64)
    rank[order] = rank_in_group(query[order])
    return rank


def _in_order(parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]], seed: int) -> NDArray[np.int64]:
    """Keys of both relations, each once, the least value first; ties fall by chance."""
    keys, values = (np.concatenate(side) for side in zip(*parts, strict=True))
    chance = np.random.default_rng(seed).permutation(len(keys))
    return first_of_each(keys[np.lexsort((chance, values))])
