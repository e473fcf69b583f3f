"""Which pairs are worth an annotator's time, under a budget.

Only training pairs are looked at. Pairs held out for validation or test are neither sought nor avoided: a list of
candidates must not show which they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.arrays.rows import divide
from mmsc_cli.arrays.top import rank_in_group
from mmsc_cli.label.settings import CandidateMix
from mmsc_cli.label.similarity import pair_similarity, similar_images, similar_texts, text_vectors
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs

NEIGHBOURS = 10
FAR = 0.1  # cosine of the texts below which two items have little in common


@dataclass(frozen=True)
class PairsToAsk:
    """Pairs to annotate, `a < b`, sorted and unique; all arrays have shape (candidates,)."""

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    strategy: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def of(cls, chosen: Mapping[str, NDArray[np.int64]], n_items: int) -> PairsToAsk:
        """Collect the keys that each strategy chose, none of them twice."""
        keys = np.concatenate(list(chosen.values()))
        strategy = np.repeat(np.array(list(chosen), dtype=np.str_), [len(keys) for keys in chosen.values()])
        order = np.argsort(keys)
        a, b = np.divmod(keys[order], n_items)
        return cls(a.astype(np.int32), b.astype(np.int32), strategy[order])

    def mix(self) -> dict[str, int]:
        """Return how many pairs each strategy gave: all of the first round, or those of a later one."""
        counted = Counter(self.strategy.tolist())
        first = set(CandidateMix.model_fields)
        return {name: counted[name] for name in (CandidateMix.model_fields if counted.keys() <= first else counted)}


def choose_candidates(
    item_table: pa.Table,
    pairs: Pairs,
    budget: int,
    mix: CandidateMix,
    *,
    seed: int,
    images: NDArray[np.float16] | None = None,
) -> PairsToAsk:
    """Choose at most `budget` pairs, each strategy its share; what one leaves goes to all others but `random`.

    Memory follows the budget, time min(budget, n_items) * n_items at worst. Same arguments, same candidates.

    Args:
        item_table: the item table.
        pairs: the pair table.
        budget: number of pairs.
        mix: shares of the strategies.
        seed: of the recipe.
        images: image vectors, shape (n_items, width), unit rows, or zero where there is no image; without them no
            pair is found to look alike.
    """
    train = pairs.of("train")
    n_items = item_table.num_rows
    generator = numpy_generator(seed, "label/candidates")
    texts = text_vectors(item_table) if mix.far or mix.similar or mix.transfer else None
    # Of each strategy, keys of pairs in the order of their worth.
    ranked = _uncertain(train, n_items, texts, generator)
    ranked |= _unseen(train, n_items, texts, images, budget, mix, generator)
    quotas = _quotas(budget, mix)
    chosen = fill(ranked, quotas, budget - quotas["random"])
    chosen["random"] = _random(n_items, quotas["random"], generator, chosen)
    return PairsToAsk.of(chosen, n_items)


def fill(
    ranked: Mapping[str, NDArray[np.int64]], quotas: Mapping[str, int], budget: int
) -> dict[str, NDArray[np.int64]]:
    """Take from each strategy's keys, best first, its quota; what one leaves goes to the others, up to the budget."""
    chosen: dict[str, NDArray[np.int64]] = {}
    for name, keys in ranked.items():
        chosen[name] = _outside(keys, *chosen.values())[: quotas[name]]
    for name, keys in ranked.items():
        spare = budget - sum(map(len, chosen.values()))
        if quotas[name] and spare > 0:
            more = _outside(keys, *chosen.values())[:spare]
            chosen[name] = np.concatenate([chosen[name], more])
    return chosen


def first_of_each(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each key once, in the order in which they first come."""
    # np.unique sorts by key; the first positions, sorted, give the order back.
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]


def _quotas(budget: int, mix: CandidateMix) -> dict[str, int]:
    shares = mix.model_dump()
    ends = np.rint(np.cumsum(list(shares.values())) / sum(shares.values()) * budget).astype(int)
    return dict(zip(shares, np.diff(ends, prepend=0).tolist(), strict=True))


def _uncertain(
    train: Pairs, n_items: int, texts: sparse.csr_matrix[Any] | None, generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Training pairs by uncertainty: in both relations (the more evenly, the earlier), or in one, weakly; or far apart.

    Strength counts by its rank, as its unit differs between sources; ties fall by chance. A pair is far apart where
    its texts have little in common; an item without text is far from nothing.
    """
    keys = pair_keys(train.a, train.b, n_items)
    chance = generator.permutation(len(train))
    view, purchase = train.strength("substitute"), train.strength("complement")
    weakness = 1 - rankdata(view + purchase) / max(len(train), 1)
    evenness = divide(np.minimum(view, purchase), np.maximum(view, purchase))
    order = np.lexsort((chance, -(weakness + evenness)))
    both = train.ambiguous()[order]
    ranked = {"ambiguous": keys[order][both], "weak": keys[order][~both]}
    if texts is not None:
        similarity = pair_similarity(texts, train.a, train.b)
        order = np.lexsort((chance, similarity))
        ranked["far"] = keys[order][similarity[order] < FAR]
    return ranked


def _unseen(
    train: Pairs,
    n_items: int,
    texts: sparse.csr_matrix[Any] | None,
    images: NDArray[np.float16] | None,
    budget: int,
    mix: CandidateMix,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Pairs without training behaviour: similar items, and what is bought with those; tail and cold first."""
    degree = np.bincount(train.a, minlength=n_items) + np.bincount(train.b, minlength=n_items)
    # Item rows from the fewest training pairs to the most.
    neediest = np.lexsort((generator.permutation(n_items), degree))
    known = pair_keys(train.a, train.b, n_items)
    ranked = {}
    if texts is not None and (mix.similar or mix.transfer):
        queries = neediest[:budget]
        similar = similar_texts(texts, queries, NEIGHBOURS)
        weights = sparse.csr_array(sparse.diags_array(1 / np.maximum(similar.sum(axis=1), 1e-6)) @ similar)
        transferred = transfer_rows(weights, train.adjacency("complement", n_items), self_weight=0)
        ranked["similar"] = _neediest_first(similar, queries, degree, known)
        ranked["transfer"] = _neediest_first(transferred, queries, degree, known)
    if images is not None and mix.look_alike:
        pictured = neediest[np.any(images, axis=1)[neediest]][:budget]
        ranked["look_alike"] = _neediest_first(similar_images(images, pictured, NEIGHBOURS), pictured, degree, known)
    return ranked


def _neediest_first(
    scores: sparse.csr_array[Any],
    queries: NDArray[np.int64],
    degree: NDArray[np.int64],
    known: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Order each item's best NEIGHBOURS new pairs by (1 + its training pairs) * (1 + rank of the partner).

    So an item without behaviour gets ten partners before one with nine pairs gets its first.

    Args:
        scores: shape (queries, n_items).
        queries: item rows, shape (queries,).
        degree: training pairs of each item, shape (n_items,).
        known: keys of the training pairs.

    Returns:
        Keys, each once.
    """
    n_items = scores.shape[1]
    entries = scores.tocoo()
    item, partner, score = queries[entries.row], entries.col.astype(np.int64), entries.data
    new = (item != partner) & (score > 0) & ~np.isin(pair_keys(item, partner, n_items), known)
    item, partner, score = item[new], partner[new], score[new]
    # By item, its best partner first, so that the rank is the position within the item's run.
    order = np.lexsort((partner, -score, item))
    item, partner, score = item[order], partner[order], score[order]
    rank = rank_in_group(item)
    best = rank < NEIGHBOURS
    item, partner, score, rank = item[best], partner[best], score[best], rank[best]
    order = np.lexsort((partner, item, -score, (1 + degree[item]) * (1 + rank)))
    return first_of_each(pair_keys(item, partner, n_items)[order])


def _random(
    n_items: int, quota: int, generator: np.random.Generator, chosen: dict[str, NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Draw pairs uniformly from all that are not chosen yet."""
    total = n_items * (n_items - 1) // 2
    drawn = generator.choice(total, size=min(total, 2 * quota + 1_000), replace=False) if quota else np.empty(0)
    # The pair number t counts the cells below the diagonal row by row: t = b (b - 1) / 2 + a.
    b = ((1 + np.sqrt(1 + 8 * drawn.astype(np.float64))) / 2).astype(np.int64)
    b -= b * (b - 1) // 2 > drawn  # the root may be rounded up
    a = drawn.astype(np.int64) - b * (b - 1) // 2
    return _outside(pair_keys(a, b, n_items), *chosen.values())[:quota]


def _outside(keys: NDArray[np.int64], *taken: NDArray[np.int64]) -> NDArray[np.int64]:
    fresh: NDArray[np.bool_] = ~np.isin(keys, np.concatenate([*taken, np.empty(0, np.int64)]))
    return keys[fresh]
