"""Answers that stay put: a score follows today's at a distance, and does not move while it is near enough.

Scores move a little every night, as all evidence does, and candidates that are nearly as good as one another would
change places. What really changed shows at once: a score that moved far follows to within TOLERANCE, and today's score
is taken as it is for a new item, for an item that has begun or ceased to be related to any other, and for a pair that
is held out now and was not the last time. So an index tells nothing either of what was known of a pair, or of an item,
that is held out now.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_keys, pair_keys
from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.known import Visible
from mmsc_cli.train.ranking.answers import in_steps

# In units of the score, the logarithm of a candidate's share: at most so far from today's (docs/experiments.md).
TOLERANCE = 1.25
CHUNK = 4_096


class Steady:
    """The last answers, and what has changed since."""

    def __init__(self, last: Index, served: Index, places: NDArray[np.int64], visible: Visible, pairs: Pairs) -> None:
        """Compare the last index with today.

        Args:
            last: the index of the last time.
            served: the one that knew all pairs then; for the served index, the same.
            places: (n_items,) the row in both of each item of today, -1 for a new one.
            visible: what may be looked at today.
            pairs: all pairs of today.
        """
        self._last = last
        self._places = places
        n_items, seen = len(places), visible.pairs
        hidden_then = np.setdiff1d(_known(served, places), _known(last, places))
        hidden_now = np.setdiff1d(pair_keys(pairs.a, pairs.b, n_items), pair_keys(seen.a, seen.b, n_items))
        # A pair that was no pair the last time may have been known before.
        self._let_go = np.setdiff1d(hidden_now, hidden_then)
        had = np.append(np.diff(last.known.indptr) > 0, False)[places]
        self._same = (places >= 0) & (had == visible.has_behaviour)

    def hold(
        self, relation: Relation, candidates: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The scores to show, (n_items, count), of candidates (n_items, count), -1 for none, and today's scores."""
        shown = np.empty_like(scores)
        for start in range(0, len(scores), CHUNK):
            block = slice(start, start + CHUNK)
            before, now = self._before(relation, np.arange(len(scores))[block], candidates[block]), scores[block]
            followed = np.clip(before, now - TOLERANCE, now + TOLERANCE)
            shown[block] = np.where(np.isnan(before), now, followed)
        return shown

    def _before(
        self, relation: Relation, queries: NDArray[np.int64], candidates: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The last scores of candidates (queries, count); NaN where there is none or it is not to be held."""
        vectors, n_items = self._last.vectors(relation), len(self._places)
        before = np.full(candidates.shape, np.nan, np.float32)
        query, place = np.nonzero((candidates >= 0) & self._same[queries][:, None] & self._same[candidates])
        partner = candidates[query, place]
        rows = self._places[queries]
        row, column = rows[query], self._places[partner]
        some = np.flatnonzero(rows >= 0)
        values = vectors.linear.values_in(rows[some], np.searchsorted(some, query), column)
        held = find_keys(self._let_go, pair_keys(queries[query], partner, n_items)) < 0
        kept = np.flatnonzero((values != 0) & held)  # 0 where it was no candidate
        products = np.einsum("ij,ij->i", vectors.query[row[kept]], vectors.key[column[kept]])
        before[query[kept], place[kept]] = in_steps(products + values[kept])
        return before


def _known(index: Index, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The keys, in rows of today, of the pairs that an index knows and whose items are still there."""
    rows = np.repeat(np.arange(len(index)), np.diff(index.known.indptr))
    today = np.full(len(index), -1)
    today[places[places >= 0]] = np.flatnonzero(places >= 0)
    a, b = today[rows], today[index.known.indices]
    there = (a >= 0) & (b >= 0)
    return pair_keys(a[there], b[there], len(places))
