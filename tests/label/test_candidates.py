from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.testing import assert_array_equal

from mmsc_cli.label.candidates import Candidates, choose_candidates
from mmsc_cli.pairs import Pairs
from mmsc_cli.recipe.settings import CandidateMix

MIX = CandidateMix()


def as_set(candidates: Candidates) -> set[tuple[int, int]]:
    return set(zip(candidates.a.tolist(), candidates.b.tolist(), strict=True))


def assert_same(one: Candidates, other: Candidates) -> None:
    for name in ("a", "b", "strategy"):
        assert_array_equal(getattr(one, name), getattr(other, name))


def test_sorted_unique_and_within_budget(shop: pa.Table, behaviour: Pairs) -> None:
    for budget in (1, 7, 200, 100_000):
        found = choose_candidates(shop, behaviour, budget, MIX, seed=1)
        assert 0 < len(found) <= budget
        assert (found.a < found.b).all()
        assert len(as_set(found)) == len(found)
        assert_array_equal(np.lexsort((found.b, found.a)), np.arange(len(found)))
    assert len(choose_candidates(shop, behaviour, 200, MIX, seed=1)) == 200


def test_same_seed_same_candidates_another_seed_others(shop: pa.Table, behaviour: Pairs) -> None:
    one = choose_candidates(shop, behaviour, 150, MIX, seed=1)
    assert_same(one, choose_candidates(shop, behaviour, 150, MIX, seed=1))
    assert as_set(one) != as_set(choose_candidates(shop, behaviour, 150, MIX, seed=2))


def test_held_out_pairs_change_nothing(
    shop: pa.Table,
    behaviour: Pairs,
    make_pairs: Callable[[Sequence[tuple[int, int, float, float, str]]], Pairs],
) -> None:
    everything = choose_candidates(shop, behaviour, 300, MIX, seed=1)
    assert_same(everything, choose_candidates(shop, behaviour.of("train"), 300, MIX, seed=1))
    train = behaviour.of("train")
    rows = list(
        zip(
            train.a.tolist(),
            train.b.tolist(),
            train.view_ab.tolist(),
            train.buy_ab.tolist(),
            train.split.tolist(),
            strict=True,
        )
    )
    other = make_pairs([(0, 1, 9.0, 9.0, "test"), *rows, (0, 3, 0.1, 0.0, "valid"), (10, 20, 0.1, 2.0, "test")])
    assert_same(everything, choose_candidates(shop, other, 300, MIX, seed=1))


def test_the_mix_is_kept_and_says_why_each_pair_is_there(shop: pa.Table, behaviour: Pairs) -> None:
    found = choose_candidates(shop, behaviour, 100, MIX, seed=1)
    assert found.mix() == {"ambiguous": 30, "weak": 20, "similar": 25, "transfer": 15, "random": 10}
    train = behaviour.of("train")
    ambiguous = dict(zip(zip(train.a.tolist(), train.b.tolist(), strict=True), train.ambiguous().tolist(), strict=True))
    for pair, strategy in zip(zip(found.a.tolist(), found.b.tolist(), strict=True), found.strategy, strict=True):
        if strategy in ("ambiguous", "weak"):
            assert ambiguous[pair] == (strategy == "ambiguous")
        elif strategy != "random":
            assert pair not in ambiguous


def test_what_a_strategy_cannot_fill_goes_to_others(
    shop: pa.Table, make_pairs: Callable[[Sequence[tuple[int, int, float, float, str]]], Pairs]
) -> None:
    found = choose_candidates(shop, make_pairs([(1, 2, 1.0, 1.0, "train")]), 100, MIX, seed=1)
    assert found.mix()["ambiguous"] == 1
    assert found.mix()["random"] == 10
    assert len(found) == 100


def test_weakest_and_most_even_pairs_come_first(
    shop: pa.Table, make_pairs: Callable[[Sequence[tuple[int, int, float, float, str]]], Pairs]
) -> None:
    pairs = make_pairs(
        [
            (1, 2, 1.0, 0.2, "train"),
            (1, 3, 0.6, 0.6, "train"),
            (1, 4, 1.5, 0.0, "train"),
            (1, 5, 0.5, 0.0, "train"),
        ]
    )
    only = {"similar": 0.0, "transfer": 0.0, "random": 0.0}
    assert as_set(choose_candidates(shop, pairs, 1, CandidateMix(ambiguous=1, weak=0, **only), seed=1)) == {(1, 3)}
    assert as_set(choose_candidates(shop, pairs, 1, CandidateMix(ambiguous=0, weak=1, **only), seed=1)) == {(1, 5)}


def test_cold_and_tail_items_come_first(shop: pa.Table, behaviour: Pairs) -> None:
    found = choose_candidates(shop, behaviour, 200, MIX, seed=1)
    unseen = np.isin(found.strategy, ["similar", "transfer"])
    ends = np.concatenate([found.a[unseen], found.b[unseen]])
    cold = np.flatnonzero(np.asarray(shop["split"].to_pylist()) != "warm")
    assert np.isin(cold, ends).all()


def test_similar_pairs_are_alike_and_transferred_ones_were_bought_with_the_like(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    titles = ["red phone", "blue phone", "phone case", "garden hose", "garden rake"]
    items = make_items([{"title": title} for title in titles])
    pairs = make_pairs([(0, 3, 0.0, 1.0, "train")])
    similar = CandidateMix(ambiguous=0, weak=0, similar=1, transfer=0, random=0)
    transfer = CandidateMix(ambiguous=0, weak=0, similar=0, transfer=1, random=0)
    assert as_set(choose_candidates(items, pairs, 9, similar, seed=1)) == {(0, 1), (0, 2), (1, 2), (3, 4)}
    assert as_set(choose_candidates(items, pairs, 9, transfer, seed=1)) == {(1, 3), (2, 3), (0, 4)}


def test_items_without_text_and_tiny_catalogues(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    nothing = make_pairs([])
    assert len(choose_candidates(make_items([{}]), nothing, 10, MIX, seed=1)) == 0
    found = choose_candidates(make_items([{}, {}, {}]), nothing, 30, MIX, seed=1)
    assert as_set(found) <= {(0, 1), (0, 2), (1, 2)}
    assert found.mix()["random"] == len(found) == 3
