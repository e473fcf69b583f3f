"""The softmax of a catalogue too large for all its items: a sample stands for the rest, with the log-q correction.

Query items are taken in groups. A group's candidates are all of its queries' targets (in-batch negatives of one
another) and items drawn uniformly; the score of a candidate is lowered by the logarithm of its probability q to be in
the sample (Bengio & Senécal, IEEE Trans. Neural Networks 19, 2008; for in-batch negatives Yi et al., RecSys 2019).

Here q is exact, not estimated: a group is a random draw of the queries, so that an item is in it by its number of
targets as in an urn (hypergeometric), or by the uniform draw. So the sampled sum of exp(score - log q) has the
catalogue's sum as its expectation (Horvitz & Thompson, JASA 47, 1952). The loss takes that sum's logarithm, and the
gradient of the logarithm of an estimate is biased by about the estimate's relative variance: none where the sample is
the catalogue, and vanishing with one over the size of the sample. Only a sample drawn from the softmax itself, which
would need the full softmax, is free of it at any size (Blanc & Rendle, ICML 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import gammaln

from mmsc_cli.train.loop.data import Candidates
from mmsc_cli.train.loop.loss import SoftmaxGradient, catalogue_softmax

GROUP = 512


@dataclass(frozen=True)
class Sample:
    """The items that stand for the catalogue in one step.

    Attributes:
        present: the items whose keys are given: all targets of the queries, and `uniform`.
        uniform: rows drawn without replacement from the items that can be targets, ascending.
        n_items: the number of items that can be targets.
    """

    present: Candidates
    uniform: NDArray[np.int64]
    n_items: int


def sampled_softmax(
    query: torch.Tensor,
    key: torch.Tensor,
    sample: Sample,
    asked: NDArray[np.int64],
    targets: sparse.csr_array[Any],
    hidden: sparse.csr_array[Any],
    logits_per_chunk: int,
    group: int = GROUP,
) -> SoftmaxGradient:
    """The loss of `mmsc_cli.train.loop.loss.catalogue_softmax`, estimated, and its gradient by (queries | keys, dim).

    Args:
        query: (asked, dim).
        key: (present, dim), of the items present.
        sample: the items present.
        asked: (asked,) rows of query items with targets, in random order, of all such items.
        targets: symmetric (n_items, n_items) weights of what is to be predicted.
        hidden: (n_items, n_items) an entry where a pair is neither target nor negative.
        logits_per_chunk: the number of scores in memory at a time.
        group: queries that share their candidates.
    """
    query_gradient, key_gradient = torch.empty_like(query), torch.zeros_like(key)
    population = int(np.count_nonzero(np.diff(targets.indptr)))
    total = 0.0
    for start in range(0, len(asked), group):
        numbers = asked[start : start + group]
        wanted, known = targets[numbers], hidden[numbers]
        candidates = Candidates(np.union1d(wanted.indices, sample.uniform))
        degree = np.diff(targets.indptr)[candidates.rows]
        log_q = np.log(inclusion(degree, len(numbers), population, len(sample.uniform) / sample.n_items))
        columns = torch.from_numpy(sample.present.places(candidates.rows)).to(key.device)
        of_group = catalogue_softmax(
            query[start : start + group],
            key[columns],
            candidates.places(numbers),
            candidates.columns(wanted),
            candidates.columns(known),
            logits_per_chunk,
            torch.from_numpy(log_q.astype(np.float32)).to(key.device),
        )
        total += of_group.loss
        query_gradient[start : start + group] = of_group.query
        key_gradient.index_add_(0, columns, of_group.key)
    return SoftmaxGradient(total, query_gradient, key_gradient)


def inclusion(degree: NDArray[Any], group: int, population: int, uniform_share: float) -> NDArray[np.float64]:
    """Probability of each item to be among a query's candidates, the query's own targets apart.

    Args:
        degree: (items,) of how many queries it is a target.
        group: queries in a group, the one that asks among them.
        population: queries in all.
        uniform_share: probability to be in the uniform draw.
    """
    # The other queries of the group come from all others; none of those that have the item as a target may be there.
    others, drawn = population - 1, group - 1
    free = np.maximum(others - degree.astype(np.float64), drawn - 1)
    missed = np.exp(_log_ways(free, drawn) - _log_ways(np.float64(others), drawn))
    return np.asarray(1 - missed * (1 - uniform_share), dtype=np.float64)


def _log_ways(of: Any, drawn: int) -> Any:
    """Logarithm of the number of ordered draws, of! / (of - drawn)!."""
    return gammaln(of + 1) - gammaln(of - drawn + 1)
