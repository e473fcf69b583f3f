"""How the answers to several items are put together: ways to rank what goes with a basket.

The shoppers of a demo workspace go shopping once more, with another seed: visits that no training has seen. A visit
of three items or more is a question: the basket is all of them but one, in no order, and that one is to be found in the
whole catalogue. Ways are chosen on visits of one seed (`choose`) and judged on those of another.

    python -m benchmarks.baskets WORKSPACE...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import markdown_table
from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.basket import TEMPERATURE
from mmsc_cli.infer.probabilities import class_probabilities
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.prepare.settings import DemoSource
from mmsc_cli.prepare.sources.demo.generate import generate_demo
from mmsc_cli.prepare.sources.demo.shoppers import Shoppers
from mmsc_cli.prepare.sources.demo.stock import stock_up
from mmsc_cli.prepare.sources.demo.true_pairs import true_relations
from mmsc_cli.tables.relations import CLASSES, RELATIONS
from mmsc_cli.workspace.workspace import Workspace

VISITS = {"choose": (1001, 6_000), "judge": (1002, 6_000)}
_COMPLEMENT = CLASSES.index("complement")
# Complement scores and probabilities of a basket's members, (n_members, n_items) each, to one score per item.
Way = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank from 1 of each item for each member."""
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return (1 + places).astype(np.float64)


def _standard(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    standard: NDArray[np.float64] = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    return standard


def _mean_share(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The logarithm of the mean over members of the softmax of their scores."""
    scores = scores / temperature
    mean: NDArray[np.float64] = np.logaddexp.reduce(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), axis=0)
    return mean


WAYS: dict[str, Way] = {
    "one item alone": lambda scores, _: scores[0],
    "mean of scores": lambda scores, _: scores.mean(axis=0),
    "mean of standardized scores": lambda scores, _: _standard(scores).mean(axis=0),
    "maximum of scores": lambda scores, _: scores.max(axis=0),
    "mean of log-odds": lambda _, p: (np.log(p) - np.log1p(-p)).mean(axis=0),
    "mean of probabilities": lambda _, p: p.mean(axis=0),
    "probability of any (noisy or)": lambda _, p: -np.log1p(-p).sum(axis=0),
    "sum of ranks": lambda scores, _: -_ranks(scores).sum(axis=0),
    "reciprocal ranks (1 / (10 + rank))": lambda scores, _: (1 / (10 + _ranks(scores))).sum(axis=0),
    "reciprocal ranks (1 / (60 + rank))": lambda scores, _: (1 / (60 + _ranks(scores))).sum(axis=0),
    "log-mean-exp of scores": lambda scores, _: np.logaddexp.reduce(scores, axis=0),
    "mean share (softmax)": lambda scores, _: _mean_share(scores, 1.0),
    "mean share, temperature 2": lambda scores, _: _mean_share(scores, TEMPERATURE),
    "mean share, temperature 4": lambda scores, _: _mean_share(scores, 4.0),
}


def main() -> None:
    """Print a table for each workspace."""
    for name in sys.argv[1:]:
        sys.stdout.write(f"{name}\n\n{judge_ways(Path(name))}\n")


def judge_ways(root: Path) -> str:
    """A table of the ways: NDCG@10 and hits of ten, by kind of visit."""
    config = Workspace(root).manifest().stages["prepare"].config["recipe"]
    settings, seed = DemoSource.model_validate(config["source"]), int(config["seed"])
    index = Recommender.open(root, rules=()).index
    item_ids = generate_demo(settings.model_copy(update={"images": False}), seed, None).items["item_id"].to_pylist()
    row_of = np.array([index.row(item_id) for item_id in item_ids])
    figures: dict[str, list[str]] = {way: [] for way in WAYS}
    head = ["way"]
    for kind, (visit_seed, visits) in VISITS.items():
        baskets = held_out_baskets(settings, seed, visit_seed, visits)
        found = {way: np.array(ranks) for way, ranks in _target_ranks(index, row_of, baskets).items()}
        head += [f"{kind}: NDCG@10 ({len(baskets):,} baskets)", "hit@10"]
        for way, ranks in found.items():
            gains = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)
            error = gains.std() / np.sqrt(len(gains))
            figures[way] += [f"{gains.mean():.4f} ± {error:.4f}", f"{(ranks <= 10).mean():.3f}"]
    return markdown_table(head, [[way, *cells] for way, cells in figures.items()])


def held_out_baskets(settings: DemoSource, seed: int, visit_seed: int, visits: int) -> list[tuple[list[int], int]]:
    """Baskets and the item that was bought with each, as rows of the demo's stock."""
    stock = stock_up(settings.items, seed)
    shoppers = Shoppers(stock, true_relations(stock), settings.noise, visit_seed)
    random = np.random.default_rng(visit_seed)
    starts = random.choice(len(stock), size=visits, p=stock.popularity)
    baskets = []
    for start in starts.tolist():
        added = list(dict.fromkeys(shoppers._buy(np.array([start])).target.tolist()))  # noqa: SLF001  one visit alone
        if len(added) > 1:
            target, *basket = random.permutation([start, *added]).tolist()
            baskets.append((basket, target))
    return baskets


def _target_ranks(
    index: Index, row_of: NDArray[np.int64], baskets: list[tuple[list[int], int]]
) -> dict[str, list[int]]:
    """The rank of each basket's missing item, by way."""
    ranks: dict[str, list[int]] = {way: [] for way in WAYS}
    for basket, target in baskets:
        rows = row_of[basket]
        both = np.stack([index.scores(relation, rows) for relation in RELATIONS], axis=-1)
        scores = both[:, :, RELATIONS.index("complement")].astype(np.float64)
        p = class_probabilities(index, both.reshape(-1, 2))[:, _COMPLEMENT].reshape(scores.shape)
        p = np.clip(p, 1e-12, 1 - 1e-12)
        for way, put_together in WAYS.items():
            whole = put_together(scores, p).copy()
            whole[rows] = -np.inf
            ranks[way].append(1 + int(np.count_nonzero(whole > whole[row_of[target]])))
    return ranks


if __name__ == "__main__":
    main()
