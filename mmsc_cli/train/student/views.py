"""What a student reads of a pair, in two views: what the items are, and what shoppers did.

The student that behaviour teaches reads the first view alone, the one that the rules teach the second alone: a student
that sees what its teacher looks at copies the teacher, errors included.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.rows import paired_dots
from mmsc_cli.arrays.sparse_rows import both_directions
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.tables.proposals import ProposedTypes
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.ranking.evidence import Evidence


class PairViews:
    """Both views of pairs, from one look at the catalogue."""

    def __init__(
        self, evidence: Evidence, rules: PairRules, candidates: int, proposed: ProposedTypes | None = None
    ) -> None:
        """Take the evidence of a look; a pair is seen among the `candidates` best of its query.

        `proposed`: what an annotator says of product types, where it was asked.
        """
        self.evidence = evidence
        self.rules = rules
        self._count = candidates
        self._proposed = proposed
        self._is_behaviour = ~evidence.from_metadata()

    def metadata(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the items are, (pairs, features): the rules' features, likeness, how often their categories are related.

        Where an annotator was asked about product types, how strongly it relates them. The same for (b, a). The pair
        itself is not counted among those of its categories.
        """
        known = self.evidence.known
        likeness = [paired_dots(vectors, a, b) for vectors in known.catalogue.content]
        related = [
            affinity.log_ratio(a, b, (strength > 0).astype(np.float32))
            for affinity, strength in zip(self.evidence.affinity.values(), self._seen(a, b), strict=True)
        ]
        columns = [self.rules.features(a, b).columns(), np.stack([*likeness, *related], axis=1)]
        if self._proposed is not None:
            columns.append(self._proposed.weights(a, b))
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _seen(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """How strongly each pair was seen, (pairs,) for each relation."""
        adjacency = self.evidence.known.adjacency
        return [np.asarray(adjacency[relation][a, b], np.float32).ravel() for relation in RELATIONS]

    def behaviour(self, features: NDArray[np.float32], strengths: NDArray[np.float32]) -> NDArray[np.float32]:
        """What shoppers did, (pairs, features), of evidence (pairs, features) and strengths (pairs, 2)."""
        return np.concatenate([features[:, self._is_behaviour], strengths], axis=1)

    def strengths(self, queries: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        """How strongly each pair was seen in both relations, (queries, candidates, 2), of (queries, candidates)."""
        adjacency = self.evidence.known.adjacency
        return np.stack(
            [self.evidence.entries(adjacency[relation][queries], candidates) for relation in RELATIONS], axis=2
        )

    def of_pairs(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Evidence (2 * pairs, features) and strengths (2 * pairs, 2): first from a to b, then from b to a.

        Where a candidate stands among the others of its query is part of the evidence, so each pair is put among them.
        """
        query, partner = both_directions(a.astype(np.int64), b.astype(np.int64))
        order = np.argsort(query, kind="stable")
        rows, starts = np.unique(query[order], return_index=True)
        lengths = np.diff(np.append(starts, len(query)))
        features, strengths = [], []
        for start in range(0, len(rows), self.evidence.chunk):
            block = slice(start, start + self.evidence.chunk)
            asked, length = rows[block], lengths[block]
            filled = np.arange(int(length.max())) < length[:, None]
            partners = np.full(filled.shape, -1, np.int64)
            partners[filled] = partner[order[starts[start] : starts[start] + int(length.sum())]]
            among = np.concatenate([partners, self.evidence.known.candidates(asked, self._count)], axis=1)
            features.append(self.evidence.of(asked, among)[:, : filled.shape[1]][filled])
            strengths.append(self.strengths(asked, partners)[filled])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        if not features:
            return np.zeros((0, 0), np.float32), np.zeros((0, len(RELATIONS)), np.float32)
        return np.concatenate(features)[back], np.concatenate(strengths)[back]
