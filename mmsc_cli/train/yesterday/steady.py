"""Answers that stay put: a score follows today's at a distance, and does not move while it is near enough.

Scores move a little every night, as all evidence does, and candidates that are nearly as good as one another would
change places. What really changed shows at once: a score that moved far follows to within TOLERANCE, and today's score
is taken as it is for a new item, for a pair that was seen in a relation since or is not any more, and for an item that
has begun or ceased to be related to any other. So an index tells nothing either of what was known of a pair, or of an
item, that is held out now.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_keys, pair_keys
from mmsc_cli.index.index_file import Index
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.known import Visible
from mmsc_cli.train.ranking.answers import in_steps

# In units of the score, the logarithm of a candidate's share: at most so far from today's (docs/experiments.md).
TOLERANCE = 1.25
CHUNK = 4_096


class Steady:
    """The last answers, and what has changed since."""

    def __init__(self, last: Index, places: NDArray[np.int64], visible: Visible) -> None:
        """Compare the last index with today.

        Args:
            last: the index of the last time.
            places: (n_items,) the row in it of each item of today, -1 for a new one.
            visible: what may be looked at today.
        """
        self._last = last
        self._places = places
        n_items, pairs = len(places), visible.pairs
        rows = np.repeat(np.arange(len(last)), np.diff(last.known.indptr))
        today = np.full(len(last), -1)
        today[places[places >= 0]] = np.flatnonzero(places >= 0)
        a, b = today[rows], today[last.known.indices]
        there = (a >= 0) & (b >= 0)
        changed = []
        for relation in RELATIONS:
            held = there & (last.tensors[f"known.strength.{relation}"] > 0)
            holds = pairs.holds(relation)
            before, now = pair_keys(a[held], b[held], n_items), pair_keys(pairs.a[holds], pairs.b[holds], n_items)
            changed.append(np.setxor1d(before, now))
        self._changed = np.unique(np.concatenate(changed))
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
        row, column = self._places[queries[query]], self._places[partner]
        values = vectors.linear.values_at(row, column)
        unchanged = find_keys(self._changed, pair_keys(queries[query], partner, n_items)) < 0
        kept = np.flatnonzero((values != 0) & unchanged)  # 0 where it was no candidate
        products = np.einsum("ij,ij->i", vectors.query[row[kept]], vectors.key[column[kept]])
        before[query[kept], place[kept]] = in_steps(products + values[kept])
        return before
