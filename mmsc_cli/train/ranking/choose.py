"""The rankers, chosen on the split: examples from folds of the training pairs, and from validation pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.inputs import Inputs, Plan
from mmsc_cli.train.known import Known
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.examples import collect_examples, first_copies, make_folds, split_shares
from mmsc_cli.train.ranking.ranker import Ranker, fit_ranker
from mmsc_cli.train.settings import TrainSettings

# Validation pairs kept from the rankers, to make probabilities and say how good they are: a fraction, but of few half.
KEPT_BACK = 0.15
FEWEST_KEPT_BACK = 200
FEWEST_QUERIES = 50


def keep_back(pairs: Pairs, first: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Draw the validation pairs that no ranker learns from, (pairs,); `first` (n_items,): first variants."""
    valid = np.flatnonzero(pairs.split == "valid")
    copies = first_copies(pairs.select(valid), first)
    fraction = min(0.5, max(KEPT_BACK, FEWEST_KEPT_BACK / max(len(valid), 1)))
    kept_back = np.zeros(len(pairs), np.bool_)
    kept_back[valid] = numpy_generator(seed, "rank/kept back").random(len(valid))[copies] < fraction
    return kept_back


def choose_rankers(
    known: Known,
    inputs: Inputs,
    kept_back: NDArray[np.bool_],
    settings: TrainSettings,
    plan: Plan,
    progress: Progress = SILENT,
) -> dict[Relation, Ranker]:
    """Fit a ranker for each relation that has enough examples; none for the others, nor where ranking is left out.

    Args:
        known: the look at all training pairs; its evidence goes with validation pairs.
        inputs: of which training and validation pairs are read.
        kept_back: (pairs,) the validation pairs that are no examples.
        settings: folds, candidates, epochs.
        plan: seed and parts left out.
        progress: shows every part.
    """
    if "rerank" in plan.without:
        return {}
    count = settings.rerank_candidates
    shares = split_shares(inputs.pairs, inputs.item_splits)
    draws = [numpy_generator(plan.seed, f"fold {number}") for number in range(settings.folds)]
    nothing = known.visible.pairs.select(np.zeros(len(known.visible.pairs), np.bool_))
    collected = []
    for fold, draw in zip(make_folds(known.visible, inputs.first_variants, shares, draws), draws, strict=True):
        evidence = Evidence(Known(known.catalogue, fold.visible, settings.linear_top, progress))
        collected.append(collect_examples(evidence, fold.hidden, nothing, count, draw, progress))
        del evidence  # before the next is made
    valid = inputs.pairs.split == "valid"
    examples, unasked = inputs.pairs.select(valid & ~kept_back), inputs.pairs.select(valid & kept_back)
    draw = numpy_generator(plan.seed, "rank/validation")
    evidence = Evidence(known)
    collected.append(collect_examples(evidence, examples, unasked, count, draw, progress))
    rankers = {}
    for relation in RELATIONS:
        # Taken out, as they are large and not needed once the ranker is fitted.
        parts = [part.pop(relation) for part in collected if relation in part]
        if sum(map(len, parts)) >= FEWEST_QUERIES:
            rankers[relation] = fit_ranker(parts, settings.rerank_epochs, plan.seed, relation, progress)
    return rankers
