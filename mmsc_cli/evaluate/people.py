"""The precision of the answers, by the judgement of people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.top import best_rows
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.ranking import block_size
from mmsc_cli.metrics.bootstrap import bootstrap_interval
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.judgements import Votes
from mmsc_cli.tables.relations import RELATIONS, Relation

K = 10


def precision_by_people(
    index: Index, votes: Votes, by_annotator: Mapping[str, Votes], seed: int
) -> dict[str, Any] | None:
    """Of the judged pairs that the model shows, how many people call what the model shows them as.

    A pair on which people disagree counts by the share of them.

    Returns:
        Per relation `judged`, the number of judged answers among the first 10 of an item; `precision@10` with its 95 %
        bootstrap interval `precision@10_ci`, None without any; and `by_annotator`, the same by who judged. None where
        nobody judged.
    """
    if not len(votes):
        return None
    block: dict[str, Any] = {}
    for number, relation in enumerate(RELATIONS):
        shown = _shown(index, relation, np.unique(np.concatenate([votes.a, votes.b])).astype(np.int64))
        block[relation] = _precision(votes, shown, number, numpy_generator(seed, f"evaluate/people/{relation}"))
        block[relation]["by_annotator"] = {
            who: _precision(own, shown, number, numpy_generator(seed, f"evaluate/people/{relation}/{who}"))
            for who, own in sorted(by_annotator.items())
        }
    return block


def _shown(index: Index, relation: Relation, queries: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Each query with each of its first answers."""
    shown: set[tuple[int, int]] = set()
    size = block_size(len(index))
    for start in range(0, len(queries), size):
        rows = queries[start : start + size]
        scores = index.scores(relation, rows)
        scores[np.arange(len(rows)), rows] = -np.inf
        for row, of_row in zip(rows.tolist(), scores, strict=True):
            shown |= {(row, answer) for answer in best_rows(of_row, K).tolist()}
    return shown


def _precision(
    votes: Votes, shown: set[tuple[int, int]], number: int, generator: np.random.Generator
) -> dict[str, Any]:
    """The share of people, averaged over shown pairs, who call a pair what it is shown as, the class of `number`."""
    judged = [
        float(counts[number] / counts.sum())
        for a, b, counts in zip(votes.a.tolist(), votes.b.tolist(), votes.counts, strict=True)
        if (a, b) in shown or (b, a) in shown
    ]
    interval = bootstrap_interval(np.array(judged, np.float64), generator)
    return {
        "judged": len(judged),
        "precision@10": float(np.mean(judged)) if judged else None,
        "precision@10_ci": list(interval) if interval else None,
    }
