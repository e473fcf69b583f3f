from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import relation_protocol
from mmsc_cli.evaluate.sampled import SampledPairs, draw_sampled_pairs


def _draw(context: EvaluationContext, negatives: int = 30, cap: int = 1_000, seed: int = 1) -> SampledPairs:
    protocol = relation_protocol("substitute", context.pairs, context.item_split)
    return draw_sampled_pairs(protocol, context.pairs, seed, negatives, cap)


def test_no_negative_is_the_query_or_a_known_pair_of_it(
    random_context: Callable[..., EvaluationContext],
) -> None:
    context = random_context()
    drawn = _draw(context)
    known = set(zip(context.pairs.a.tolist(), context.pairs.b.tolist(), strict=True))
    for query, negatives in zip(drawn.query.tolist(), drawn.negatives.tolist(), strict=True):
        assert query not in negatives
        assert len(set(negatives)) == 30
        assert not any((min(query, other), max(query, other)) in known for other in negatives)


def test_negatives_are_uniform_over_what_may_be_drawn(
    random_context: Callable[..., EvaluationContext],
) -> None:
    context = random_context(items=30, pairs=120)
    first = _draw(context).query[0]
    counts = np.zeros(30)
    for seed in range(400):
        drawn = _draw(context, negatives=5, cap=10**6, seed=seed)
        np.add.at(counts, drawn.negatives[drawn.query == first][0], 1)
    known = context.pairs.select((context.pairs.a == first) | (context.pairs.b == first))
    free = np.setdiff1d(np.arange(30), [first, *known.a, *known.b])
    expected = 400 * 5 / len(free)
    assert (np.flatnonzero(counts) == free).all()
    assert abs(counts[free] - expected).max() < 5 * np.sqrt(expected)


def test_a_small_catalogue_has_fewer_negatives(hand_context: EvaluationContext) -> None:
    drawn = _draw(hand_context, negatives=50)
    places = dict(zip(drawn.query.tolist(), (drawn.negatives >= 0).sum(axis=1).tolist(), strict=True))
    assert places[0] == 3  # 13 items less itself and nine known pairs
    assert drawn.figures(np.asarray([0]), np.zeros((1, 13), np.float32))[:, 3].tolist() == [1 / 4, 1 / 4]


def test_the_cap_is_drawn_by_seed(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    capped = _draw(context, cap=20)
    assert len(capped.query) == 20
    assert capped.available == len(_draw(context).query) > 20
    again = _draw(context, cap=20)
    assert np.array_equal(capped.positive, again.positive)
    assert np.array_equal(capped.negatives, again.negatives)
    assert not np.array_equal(capped.positive, _draw(context, cap=20, seed=2).positive)


def test_chunks_add_up(random_context: Callable[..., EvaluationContext]) -> None:
    context = random_context()
    drawn = _draw(context)
    scores = np.random.default_rng(0).random((120, 120)).astype(np.float32)
    queries = np.unique(drawn.query)
    halves = [drawn.figures(part, scores[part]) for part in np.array_split(queries, 2)]
    np.testing.assert_array_equal(np.concatenate(halves), drawn.figures(queries, scores[queries]))
    best = scores.copy()
    best[drawn.query, drawn.positive] = 2
    assert drawn.figures(queries, best[queries]).min() == 1
