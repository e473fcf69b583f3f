"""The figure by which settings are chosen and training stops: NDCG@10 on validation pairs, never on test pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.baseline import ScoreRows
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import Slice, SliceName, validation_protocol
from mmsc_cli.evaluate.ranking import rank_catalogue
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import Relation

QUERIES = 2_000


class ValidationQueries:
    """Validation queries of one relation, at most QUERIES of each kind, the same for all baselines."""

    def __init__(self, context: EvaluationContext, relation: Relation, *, cold: bool) -> None:
        """Draw the queries; those of cold_valid items only if `cold`. Test pairs are dropped before anything else."""
        protocol = validation_protocol(relation, context.pairs.of("train", "valid"), context.item_split)
        kinds: tuple[SliceName, ...] = ("all", "cold") if cold else ("all",)
        drawn = {kind: _draw(protocol.slices[kind], context.seed, f"{relation}/{kind}") for kind in kinds}
        self._protocol = replace(protocol, slices={kind: part for kind, part in drawn.items() if len(part.queries)})

    @property
    def kinds(self) -> list[str]:
        """What kinds of queries there are: `warm`, `cold`, both or none."""
        return ["warm" if kind == "all" else "cold" for kind in self._protocol.slices]

    def ndcg(self, rows: ScoreRows, name: str, progress: Progress = SILENT) -> float | None:
        """NDCG@10, the mean over the kinds of queries; None where there is no query.

        Raises:
            InputError: the scores contain NaN.
        """
        if not self._protocol.slices:
            return None
        ranking = rank_catalogue(_Rows(rows), self._protocol, name=f"{name} (validation)", progress=progress)
        return float(np.mean([ranking.of_slice(kind)[:, NDCG].mean() for kind in self._protocol.slices]))


class _Rows:
    """The scores of one relation, as a scorer."""

    def __init__(self, rows: ScoreRows) -> None:
        self._rows = rows

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of shape (queries, items)."""
        return self._rows(queries)


def _draw(part: Slice, seed: int, name: str) -> Slice:
    generator = numpy_generator(seed, f"evaluate/validation/{name}")
    count = min(QUERIES, len(part.queries))
    return replace(part, queries=np.sort(generator.choice(part.queries, count, replace=False)))
