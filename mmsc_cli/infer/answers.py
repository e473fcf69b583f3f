"""Ranked answers for items, known or new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.index import Index
from mmsc_cli.relations import RELATIONS, Relation

Asked = Literal["substitute", "complement", "both"]
COLUMNS = ("query", "relation", "rank", "item", "score", "title")


@dataclass(frozen=True)
class Answer:
    """One line of output; fields in the order of COLUMNS."""

    query: str
    relation: Relation
    rank: int
    item: str
    score: float
    title: str


def asked_relations(asked: Asked) -> Sequence[Relation]:
    """The relations behind a --relation value."""
    return RELATIONS if asked == "both" else (asked,)


def answer_item(index: Index, item_id: str, asked: Asked, k: int, novel: bool = False) -> Iterator[Answer]:
    """The `k` best items for a known item, per relation; never the item itself.

    Args:
        index: an opened index.
        item_id: the query.
        asked: which relations.
        k: answers per relation; fewer where the catalogue is smaller.
        novel: leave out pairs known from training.

    Raises:
        UnknownItemError: the item is not in the catalogue.
    """
    row = index.row(item_id)
    left_out = np.array([row], dtype=np.int64)
    if novel:
        left_out = np.append(left_out, index.known.indices[index.known.row(row)])
    for relation in asked_relations(asked):
        scores = index.scores(relation, np.array([row]))[0]
        scores[left_out] = -np.inf
        yield from rank_scores(index, item_id, relation, scores, k)


def rank_scores(index: Index, query: str, relation: Relation, scores: NDArray[np.float32], k: int) -> Iterator[Answer]:
    """The `k` best of `scores` (items,), best first; equal scores in the order of ids; -inf is left out."""
    k = min(k, len(scores))
    best = np.argpartition(scores, len(scores) - k)[-k:]
    best = best[np.lexsort((best, -scores[best]))]
    for rank, row in enumerate(best[np.isfinite(scores[best])].tolist(), start=1):
        yield Answer(query, relation, rank, index.ids[row], float(scores[row]), index.titles[row])
