"""The field's sampled protocol: one positive among uniformly drawn negatives.

Figures over sampled negatives are not comparable with a ranking of the whole catalogue, and can order systems
differently (Krichene & Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020). They are reported only for
comparison with published tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.evaluate.protocol import RelationProtocol
from mmsc_cli.metrics.retrieval import sampled_figures
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs

PAIR_CAP = 20_000
NOTE = (
    "one positive ranked among uniformly sampled negatives: not comparable with the ranking of the whole "
    "catalogue, reported only for comparison with published tables"
)


@dataclass(frozen=True)
class SampledPairs:
    """Test pairs of one relation, each with its own negatives.

    Attributes:
        query: item rows, ascending, shape (pairs,).
        positive: item rows, shape (pairs,).
        negatives: item rows, shape (pairs, negatives); -1 where the catalogue has no more to draw.
        available: number of test pairs (both directions) before the cap.
    """

    query: NDArray[np.int64]
    positive: NDArray[np.int64]
    negatives: NDArray[np.int32]
    available: int

    def figures(self, queries: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Figures of the pairs whose query is among `queries` (ascending); `scores` are (queries, items).

        Returns:
            Shape (pairs of these queries, 4), in pair order; columns as in `FIGURES`.
        """
        rows = np.flatnonzero(np.isin(self.query, queries))
        row = np.searchsorted(queries, self.query[rows])
        negatives = self.negatives[rows]
        drawn = np.where(negatives >= 0, scores[row[:, None], negatives], np.float32(np.nan))
        return sampled_figures(scores[row, self.positive[rows]], drawn)


def draw_sampled_pairs(
    protocol: RelationProtocol, pairs: Pairs, seed: int, negatives: int = 1_000, cap: int = PAIR_CAP
) -> SampledPairs:
    """Draw at most `cap` test pairs of the slice `all`, and for each `negatives` items without replacement.

    A negative is neither the query nor any known pair of it: of any split, in any relation.
    """
    positives = protocol.judgements["plain"].positives
    queries = protocol.slices["all"].queries
    asked = positives[queries]
    query = np.repeat(queries, np.diff(asked.indptr))
    positive = asked.indices.astype(np.int64)
    available = len(query)
    generator = numpy_generator(seed, f"evaluate/sampled/{protocol.relation}")
    if available > cap:
        kept = np.sort(generator.choice(available, cap, replace=False))
        query, positive = query[kept], positive[kept]
    n_items = positives.shape[0]
    partners = symmetric_matrix(pairs.a, pairs.b, None, n_items)
    drawn = np.full((len(query), negatives), -1, np.int32)
    for pair, item_row in enumerate(query):
        known = partners.indices[partners.indptr[item_row] : partners.indptr[item_row + 1]]
        excluded = np.unique(np.append(known, item_row))
        free = n_items - len(excluded)
        chosen = generator.choice(free, min(negatives, free), replace=False)
        # The n-th free item is n plus the number of excluded items before it.
        shift = np.searchsorted(excluded - np.arange(len(excluded)), chosen, side="right")
        drawn[pair, : len(chosen)] = chosen + shift
    return SampledPairs(query, positive, drawn, available)
