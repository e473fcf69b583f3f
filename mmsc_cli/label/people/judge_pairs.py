"""Pairs for people to judge: our answers, the annotator's doubts, and any two items."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.index.index_file import Index
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import RELATIONS

ANSWERS = 10  # of an item and relation that a sample is drawn from
_FEW_PAIRS = 1 << 20
_FEWEST_ASKED = 1_000  # items whose answers a sample is drawn from, of a large catalogue
SHARES = {"answers": 0.6, "doubts": 0.25, "random": 0.15}


@dataclass(frozen=True)
class PairToJudge:
    """A pair of item rows, `a < b`, and where it comes from."""

    a: int
    b: int
    source: str


def pairs_to_judge(
    index: Index, labels: Labels | None, judged: Collection[int], count: int, seed: int
) -> list[PairToJudge]:
    """Draw pairs in random order; whoever judges must not see which come from where.

    They are `count`, or all that are left to judge. Where a source has fewer than its share, the others have more.

    Args:
        index: whose answers are sampled, each item, relation and rank equally often.
        labels: of an annotator, whose doubts are the pairs without a likely class; None: there are none.
        judged: keys of pairs that need no further judgement.
        count: number of pairs.
        seed: of the draw.
    """
    n_items = len(index)
    rng = numpy_generator(seed, f"judge/{len(judged)}")
    asked = rng.permutation(n_items)[: max(_FEWEST_ASKED, count + len(judged))]
    keys: dict[str, NDArray[np.int64]] = {
        "answers": rng.permutation(_answers(index, asked)),
        "doubts": np.zeros(0, np.int64),
    }
    if labels is not None:
        doubt = np.argsort(labels.probabilities().max(axis=1), kind="stable")
        keys["doubts"] = pair_keys(labels.a, labels.b, n_items)[doubt]
    keys["random"] = _any_pairs(n_items, 4 * count + len(judged), rng)
    taken = set(judged)
    chosen: list[PairToJudge] = []
    for source, share in (*SHARES.items(), *dict.fromkeys(SHARES, 1.0).items()):
        left = min(round(share * count), count - len(chosen))
        for key in keys[source].tolist():
            if left == 0:
                break
            if key not in taken:
                taken.add(key)
                a, b = divmod(key, n_items)
                chosen.append(PairToJudge(a, b, source))
                left -= 1
    return [chosen[place] for place in rng.permutation(len(chosen))]


def _any_pairs(n_items: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Keys of any two items: `count` draws, or every pair once where there are few."""
    if n_items * (n_items - 1) // 2 <= max(count, _FEW_PAIRS):
        return rng.permutation(pair_keys(*np.triu_indices(n_items, 1), n_items))
    drawn = rng.integers(0, n_items, (2, count))
    keys: NDArray[np.int64] = pair_keys(drawn[0], drawn[1], n_items)[drawn[0] != drawn[1]]
    return keys


def _answers(index: Index, asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of the answers to some items."""
    found = []
    for relation in RELATIONS:
        vectors = index.vectors(relation)
        for query in asked.tolist():
            columns, values = vectors.linear.entries(query)
            scores = vectors.key[columns] @ vectors.query[query] + values
            answers = columns[np.argsort(-scores, kind="stable")[:ANSWERS]]
            found.append(pair_keys(np.full(len(answers), query), answers, len(index))[answers != query])
    return np.unique(np.concatenate(found))
