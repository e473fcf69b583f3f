"""The annotator without a language model: the rules, named `rules` wherever their labels appear."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.label.opinions import Opinions
from mmsc_cli.rules.pair_rules import RULES_MODEL, PairRules

RULES_VERSION = "rules-1"


def annotate(item_table: pa.Table, a: NDArray[np.int32], b: NDArray[np.int32]) -> Opinions:
    """Judge pairs of item rows (shape (pairs,), `a < b`) by rules.

    `label_mass` and `agreement` are 1: nothing was asked.
    """
    seen = PairRules(item_table).features(a, b)
    return Opinions.of_one_order(
        a, b, seen.probabilities(), seen.direction(), annotator=RULES_MODEL, version=RULES_VERSION
    )
