"""The teachers that are always there, what shoppers did and the rules: the pairs each speaks of, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.tables.relations import CLASSES, RELATIONS
from mmsc_cli.train.known import Known
from mmsc_cli.train.student.views import PairViews

# Pairs that a teacher speaks of, at most.
LESSONS = 6_000
# Of an item's best linear answers, those that stand for what is shown.
SHOWN = 20


@dataclass(frozen=True)
class Taught:
    """Pairs of item rows and the class that a teacher gives each, all of shape (pairs,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    classes: NDArray[np.int64]


def shown_pairs(known: Known, rng: np.random.Generator) -> NDArray[np.int64]:
    """Keys of pairs that are likely to be shown and were never seen, in random order, at most LESSONS.

    They are the best linear answers to some items.
    """
    n_items = len(known.catalogue)
    asked = rng.permutation(n_items)[:LESSONS]
    keys = []
    for relation in RELATIONS:
        answers = known.linear[relation].columns[asked, :SHOWN]
        found = answers >= 0
        keys.append(pair_keys(np.repeat(asked, found.sum(axis=1)), answers[found], n_items))
    pairs = known.visible.pairs
    unseen = np.setdiff1d(np.concatenate(keys), pair_keys(pairs.a, pairs.b, n_items))
    a, b = np.divmod(unseen, n_items)
    return rng.permutation(unseen[a != b])[:LESSONS]


def taught_by_behaviour(known: Known, shown: NDArray[np.int64], rng: np.random.Generator) -> Taught:
    """Pairs that were seen in one relation alone, and as many that were never seen.

    Of the latter, half are likely to be shown, and half are any two items with behaviour.
    """
    n_items, pairs = len(known.catalogue), known.visible.pairs
    alone = pairs.select(rng.permutation(np.flatnonzero(~pairs.ambiguous()))[:LESSONS])
    half = len(alone) // 2
    drawn = rng.choice(np.flatnonzero(known.visible.has_behaviour), size=(2, half)) if half else np.zeros((2, 0), int)
    random = pair_keys(drawn[0], drawn[1], n_items)[drawn[0] != drawn[1]]
    never = np.concatenate([shown[:half], np.setdiff1d(random, pair_keys(pairs.a, pairs.b, n_items))])
    a, b = np.divmod(never, n_items)
    seen_as = np.where(alone.holds("substitute"), 0, 1)
    return Taught(
        np.concatenate([alone.a, a]).astype(np.int64),
        np.concatenate([alone.b, b]).astype(np.int64),
        np.concatenate([seen_as, np.full(len(never), CLASSES.index("neither"))]).astype(np.int64),
    )


def taught_by_rules(views: PairViews, shown: NDArray[np.int64]) -> Taught:
    """What the rules say of pairs that are likely to be shown, each class as often as the others on average.

    Dividing by the mean takes out the rules' liking for a class, as for any annotator (`label`).
    """
    a, b = np.divmod(shown, len(views.evidence.known.catalogue))
    opinions = views.rules.features(a, b).probabilities()
    return Taught(a, b, (opinions / opinions.mean(axis=0)).argmax(axis=1) if len(a) else np.zeros(0, np.int64))
