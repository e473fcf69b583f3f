"""One pass over the queries of a relation: each is scored once, and every slice is read off those scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.protocol import JudgementName, RelationProtocol, SliceName, TrueSliceName
from mmsc_cli.evaluate.sampled import SampledPairs
from mmsc_cli.metrics.bootstrap import bootstrap_interval
from mmsc_cli.metrics.retrieval import FIGURES, NDCG, catalogue_figures
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator

SCORE_CELLS = 16_000_000
DEGREE_SLICE: SliceName = "all"
# Lowest degree of each bin; the last bin has no end.
DEGREE_BINS = (0, 1, 3, 6, 11, 21, 51)


@dataclass(frozen=True)
class Ranking:
    """Figures of every query of one relation under one scorer.

    Attributes:
        protocol: the queries, their right answers and slices.
        figures: per judgement, shape (items, 4), columns as in `FIGURES`; NaN for items that are no query.
        sampled: shape (sampled pairs, 4); no rows if not asked for.
    """

    protocol: RelationProtocol
    figures: dict[JudgementName, NDArray[np.float64]]
    sampled: NDArray[np.float64]

    def of_slice(self, name: SliceName | TrueSliceName) -> NDArray[np.float64]:
        """Figures of the queries of a slice, shape (queries, 4)."""
        part = self.protocol.slices[name]
        return self.figures[part.judgement][part.queries]


def rank_catalogue(
    scorer: Scorer,
    protocol: RelationProtocol,
    *,
    name: str,
    sampled: SampledPairs | None = None,
    progress: Progress = SILENT,
) -> Ranking:
    """Rank the whole catalogue for every query of a relation.

    Memory follows a chunk of queries (SCORE_CELLS scores), not the square of the catalogue.

    Args:
        scorer: gives the scores.
        protocol: the queries and their right answers.
        name: of the scorer, in messages.
        sampled: pairs of the sampled protocol to judge by the same scores.
        progress: told of the queries.

    Raises:
        InputError: the scorer returned NaN.
        ValueError: the scorer returned scores of another shape than (queries, items).
    """
    queries, n_items = protocol.queries, protocol.judgements["plain"].positives.shape[0]
    figures = {kind: np.full((n_items, len(FIGURES)), np.nan) for kind in protocol.judgements}
    sampled_figures = [np.empty((0, len(FIGURES)))]
    with progress.task(f"{name}: {protocol.relation}", total=len(queries)) as task:
        for chunk in _chunks(queries, n_items):
            scores = _checked(scorer, protocol, chunk, n_items, name)
            for kind, judgement in protocol.judgements.items():
                asked = judgement.has_positives(chunk)
                rows = chunk[asked]
                figures[kind][rows] = catalogue_figures(
                    scores[asked], judgement.positives[rows], judgement.masked[rows]
                )
            if sampled is not None:
                sampled_figures.append(sampled.figures(chunk, scores))
            task.advance(len(chunk))
    return Ranking(protocol, figures, np.concatenate(sampled_figures))


def summarise_slice(ranking: Ranking, name: SliceName | TrueSliceName, seed: int, resamples: int) -> dict[str, Any]:
    """Means of a slice under the keys of the contract; None instead of a figure where there is no query.

    The resamples depend on the seed, the relation and the slice alone, so all models share them.
    """
    return summarise(ranking.of_slice(name), f"{ranking.protocol.relation}/{name}", seed, resamples)


def summarise(values: NDArray[np.float64], purpose: str, seed: int, resamples: int) -> dict[str, Any]:
    """Means of any (queries, 4) figures; the resamples depend on seed, purpose and number of queries alone."""
    generator = numpy_generator(seed, f"evaluate/bootstrap/{purpose}")
    interval = bootstrap_interval(values[:, NDCG], generator, resamples)
    return {
        **mean_figures(values),
        "queries": len(values),
        "ndcg@10_ci": None if interval is None else list(interval),
    }


def by_degree(ranking: Ranking, degree: NDArray[np.int64], seed: int, resamples: int) -> list[dict[str, Any]]:
    """Figures of the queries of DEGREE_SLICE by training pairs in the relation.

    Args:
        ranking: of one relation.
        degree: training pairs of each item in that relation, shape (items,).
        seed: of the resamples.
        resamples: behind an interval.

    Returns:
        Per bin `low` and `high` (both included; `high` is None in the last), and the values of a slice.
    """
    known = degree[ranking.protocol.slices[DEGREE_SLICE].queries]
    figures = ranking.of_slice(DEGREE_SLICE)
    bin_of = np.searchsorted(DEGREE_BINS, known, side="right") - 1
    bins: list[dict[str, Any]] = []
    for number, low in enumerate(DEGREE_BINS):
        high = DEGREE_BINS[number + 1] - 1 if number + 1 < len(DEGREE_BINS) else None
        purpose = f"{ranking.protocol.relation}/degree/{low}"
        bins.append({"low": low, "high": high, **summarise(figures[bin_of == number], purpose, seed, resamples)})
    return bins


def mean_figures(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Column means of (queries, 4) figures by name; None where there is no query."""
    if not len(values):
        return dict.fromkeys(FIGURES)
    return dict(zip(FIGURES, values.mean(axis=0).tolist(), strict=True))


def _chunks(queries: NDArray[np.int64], n_items: int) -> Iterator[NDArray[np.int64]]:
    size = max(1, SCORE_CELLS // max(1, n_items))
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def _checked(
    scorer: Scorer, protocol: RelationProtocol, queries: NDArray[np.int64], n_items: int, name: str
) -> NDArray[np.float32]:
    scores = np.asarray(scorer.scores(protocol.relation, queries), dtype=np.float32)
    if scores.shape != (len(queries), n_items):
        raise ValueError(f"{name}: scores of shape {scores.shape}, not {(len(queries), n_items)}")
    if np.isnan(scores.max(initial=-np.inf)):
        raise InputError(
            f"{name}: the {protocol.relation} scores contain NaN, so nothing can be ranked",
            hint="train again, with a lower train.learning_rate if the loss was NaN too",
        )
    return scores
