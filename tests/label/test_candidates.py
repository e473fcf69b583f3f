from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mmsc_cli.label import similarity as neighbours
from mmsc_cli.label.candidates import PairsToAsk, choose_candidates
from mmsc_cli.label.settings import CandidateMix
from mmsc_cli.tables.pairs import Pairs

MIX = CandidateMix()
NONE = dict.fromkeys(CandidateMix.model_fields, 0.0)


def as_set(candidates: PairsToAsk) -> set[tuple[int, int]]:
    return set(zip(candidates.a.tolist(), candidates.b.tolist(), strict=True))


def assert_same(one: PairsToAsk, other: PairsToAsk) -> None:
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
    mix = CandidateMix(ambiguous=0.3, weak=0.2, far=0, similar=0.25, look_alike=0, transfer=0.15, random=0.1)
    found = choose_candidates(shop, behaviour, 100, mix, seed=1)
    assert found.mix() == {
        "ambiguous": 30,
        "weak": 20,
        "far": 0,
        "similar": 25,
        "look_alike": 0,
        "transfer": 15,
        "random": 10,
    }
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
    only = NONE
    assert as_set(choose_candidates(shop, pairs, 1, CandidateMix(**only | {"ambiguous": 1}), seed=1)) == {(1, 3)}
    assert as_set(choose_candidates(shop, pairs, 1, CandidateMix(**only | {"weak": 1}), seed=1)) == {(1, 5)}


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
    similar = CandidateMix(**NONE | {"similar": 1})
    transfer = CandidateMix(**NONE | {"transfer": 1})
    assert as_set(choose_candidates(items, pairs, 9, similar, seed=1)) == {(0, 1), (0, 2), (1, 2), (3, 4)}
    assert as_set(choose_candidates(items, pairs, 9, transfer, seed=1)) == {(1, 3), (2, 3), (0, 4)}


def test_behaviour_that_the_texts_speak_against_is_asked_about(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    titles = ["red phone", "blue phone", "phone case", "garden hose", ""]
    items = make_items([{"title": title} for title in titles])
    pairs = make_pairs([(0, 1, 1.0, 0.0, "train"), (0, 3, 1.0, 1.0, "train"), (0, 4, 1.0, 0.0, "train")])
    far = CandidateMix(**NONE | {"far": 1})
    assert as_set(choose_candidates(items, pairs, 9, far, seed=1)) == {(0, 3)}


def test_look_alikes_need_images_and_have_no_behaviour(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    items = make_items([{}] * 5)
    pairs = make_pairs([(0, 1, 1.0, 0.0, "train")])
    images = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 0], [-1, 0]], np.float16)
    mix = CandidateMix(**NONE | {"look_alike": 1})
    assert len(choose_candidates(items, pairs, 9, mix, seed=1)) == 0
    assert as_set(choose_candidates(items, pairs, 9, mix, seed=1, images=images)) == {(0, 2), (1, 2)}


def test_the_most_alike_are_found_in_a_catalogue_of_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ITEMS_PER_BLOCK", 7)
    monkeypatch.setattr(neighbours, "QUERIES_PER_BLOCK", 4)
    vectors = np.random.default_rng(3).random((50, 8)).astype(np.float16)
    queries = np.arange(0, 50, 3)
    found = neighbours.similar_images(vectors, queries, 5).toarray()
    whole = vectors[queries].astype(np.float32) @ vectors.astype(np.float32).T
    whole[np.arange(len(queries)), queries] = 0
    expected = np.sort(whole, axis=1)[:, -5:]
    assert_allclose(np.sort(found, axis=1)[:, -5:], expected, rtol=1e-5)
    assert ((found > 0).sum(axis=1) <= 6).all()


def test_items_without_text_and_tiny_catalogues(
    make_items: Callable[..., pa.Table], make_pairs: Callable[..., Pairs]
) -> None:
    nothing = make_pairs([])
    assert len(choose_candidates(make_items([{}]), nothing, 10, MIX, seed=1)) == 0
    found = choose_candidates(make_items([{}, {}, {}]), nothing, 30, MIX, seed=1)
    assert as_set(found) <= {(0, 1), (0, 2), (1, 2)}
    assert found.mix()["random"] == len(found) == 3
