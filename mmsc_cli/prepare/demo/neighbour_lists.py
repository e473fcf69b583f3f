"""From events to what a shop publishes: for each item an ordered list of its most frequent partners."""

from __future__ import annotations

import numpy as np

from mmsc_cli.prepare.demo.catalogue import Edges
from mmsc_cli.prepare.demo.shoppers import Events

VIEWED = 30  # longest list of "also viewed"
BOUGHT = 40  # longest list of "also bought"
ENOUGH = 1  # beyond this place, partners seen once are left out


def ranked_lists(events: Events, items: int, longest: int, random: np.random.Generator) -> Edges:
    """Rank each item's partners by number of events and keep the first `longest`.

    Strength is 0.5 + 1 / log2(1 + position), position from 1, as for the lists in Amazon's data. `random`
    breaks ties.
    """
    pair, count = np.unique(events.source * items + events.target, return_counts=True)
    source, target = np.divmod(pair, items)
    order = np.lexsort((random.permutation(len(pair)), -count, source))
    source, target, count = source[order], target[order], count[order]
    position = np.arange(len(source)) - np.searchsorted(source, source) + 1
    keep = (position <= longest) & ((count > 1) | (position <= ENOUGH))
    strength = 0.5 + 1 / np.log2(1 + position[keep])
    return Edges(source[keep], target[keep], strength.astype(np.float32))
