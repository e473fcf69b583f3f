"""Entries of a list of answers, before they get their ids and titles: rows, scores, and where each comes from."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mmsc_cli.index.ranking import Ranked

# Where an answer comes from: the model, also where the shop boosts it or pins it; or what sells best.
AnswerSource = Literal["model", "boosted", "pinned", "bestseller"]


class Entry(NamedTuple):
    """An item in a list of answers.

    Attributes:
        row: its item row.
        score: its score; None for a bestseller.
        network: the part of the score that the vectors give.
        boost: the part that rules of the shop give.
        source: where the answer comes from.
    """

    row: int
    score: float | None
    network: float | None = None
    boost: float = 0.0
    source: AnswerSource = "model"


def ranked_entries(ranked: Ranked) -> list[Entry]:
    """The entries of a ranking, in its order."""
    rows = zip(ranked.rows.tolist(), ranked.scores.tolist(), ranked.network.tolist(), strict=True)
    if ranked.ruled is None:
        return [Entry(*row) for row in rows]
    boosts = ranked.ruled.effects.boosts_of(ranked.rows).tolist()
    pinned = set(ranked.ruled.pinned.rows.tolist())
    return [
        Entry(row, score, network, boost, "pinned" if row in pinned else "boosted" if boost else "model")
        for (row, score, network), boost in zip(rows, boosts, strict=True)
    ]


def bestseller(row: int) -> Entry:
    """A bestseller as an entry: the model did not score it."""
    return Entry(row, None, source="bestseller")


def n_blocked(ranked: Ranked, k: int) -> int:
    """How many more answers a list of at most `k` would have, or has in another's place, without blocking rules."""
    if ranked.ruled is None:
        return 0
    own = ~np.isin(ranked.rows, ranked.ruled.pinned.rows)
    lowest = ranked.scores[own].min(initial=np.inf) if len(ranked.rows) >= k else -np.inf
    return min(int(np.count_nonzero(ranked.ruled.blocked > lowest)), k)
