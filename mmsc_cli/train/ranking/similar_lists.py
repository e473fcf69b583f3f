"""Lists of items without behaviour hear those of their look-alikes: the task level aggregates over the semantic one.

The list of an item that no shopper has met rests on its metadata alone. Those of its look-alikes rest on what shoppers
did with these, and err in other places, so that the mean of both finds more. Lists of items with behaviour are left as
they are: their own evidence mostly knows best (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.rows import divide
from mmsc_cli.index.following import scores_of, shares_of
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.linear_branch import Sparse
from mmsc_cli.train.ranking.answers import Answers
from mmsc_cli.train.ranking.evidence import Evidence

# What the look-alikes' lists count. One number for all: figures change little between .2 and .5, and the validation
# queries of a small shop are too few to tell the difference.
WEIGHT = 0.3


def hear_look_alikes(evidence: Evidence, answers: Mapping[Relation, Answers]) -> dict[Relation, Answers]:
    """Mix the lists of items without behaviour with the mean list of each one's look-alikes.

    Args:
        evidence: of the look at the catalogue that the answers were ranked by.
        answers: the ranked candidates of every item. Candidates stay the same; their shares change.
    """
    known = evidence.known
    rows = np.flatnonzero(~known.visible.has_behaviour)
    blocks = [rows[start : start + evidence.chunk] for start in range(0, len(rows), evidence.chunk)]
    heard = {}
    for relation, ranked in answers.items():
        scores, lists = ranked.scores.copy(), _as_rows(ranked)

        def listen(
            block: NDArray[np.int64], ranked: Answers = ranked, lists: list[Sparse] = lists
        ) -> NDArray[np.float32]:
            candidates = ranked.candidates[block]
            similar = known.similar[block]
            lent = np.stack([evidence.entries(similar @ listed, candidates) for listed in lists])
            lent = np.where(candidates < 0, 0, lent)
            total = lent.sum(axis=2, keepdims=True)
            own = shares_of(ranked.scores[:, block])
            return scores_of(own + WEIGHT * np.where(total > 0, divide(lent, total) - own, 0))

        for block, changed in zip(blocks, map_blocks(listen, blocks), strict=True):
            scores[:, block] = changed
        heard[relation] = replace(ranked, scores=scores)
    return heard


def _as_rows(answers: Answers) -> list[Sparse]:
    """By head, the shares in each item's list, (n_items, n_items), rows summing to one.

    A known partner's share counts as one at most: shares of others are those among unknown candidates alone.
    """
    filled = answers.candidates >= 0
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    rows = []
    for scores in answers.scores:
        shares = np.where(filled, np.minimum(shares_of(scores), 1), 0)
        shares = divide(shares, shares.sum(axis=1, keepdims=True)).astype(np.float32)
        rows.append(sparse.csr_array((shares[filled], answers.candidates[filled], indptr), shape=(len(filled),) * 2))
    return rows
