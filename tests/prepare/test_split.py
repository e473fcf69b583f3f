"""Properties of the hold-out, and that each leak known from published code would be caught by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.evaluate.protocol import check_split
from mmsc_cli.prepare.settings import SplitSettings
from mmsc_cli.prepare.split import split_items, split_pairs
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.known import Visible

SETTINGS = SplitSettings()
MANY = 4_000


def _ids(items: int) -> list[str]:
    return [f"item {number}" for number in range(items)]


def _random_pairs(items: int, pairs: int, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    generator = np.random.default_rng(seed)
    codes = np.unique(generator.integers(0, items * items, pairs))
    codes = codes[codes // items < codes % items]
    return (codes // items).astype(np.int32), (codes % items).astype(np.int32)


def _hold_out(items: int, pairs: int, seed: int) -> tuple[Pairs, NDArray[np.str_]]:
    """A random pair table, split; every second pair is in both relations."""
    a, b = _random_pairs(items, pairs, seed)
    item_splits = split_items(_ids(items), SETTINGS, seed)
    splits = split_pairs(_ids(items), item_splits, a, b, SETTINGS, seed)
    view = np.ones(len(a), np.float32)
    buy = (np.arange(len(a)) % 2).astype(np.float32)
    return Pairs(a, b, view, np.zeros_like(view), buy, np.zeros_like(buy), splits), item_splits


def _assert_no_leak(pairs: Pairs, item_splits: NDArray[np.str_]) -> None:
    """The properties, written plainly and apart from `check_split`."""
    split_of: dict[frozenset[int], str] = {}
    for a, b, split in zip(pairs.a.tolist(), pairs.b.tolist(), pairs.split.tolist(), strict=True):
        assert split_of.setdefault(frozenset((a, b)), split) == split, "an unordered pair is in two splits"
        ends = {str(item_splits[a]), str(item_splits[b])}
        if "cold_test" in ends:
            assert split == "test", "a pair with a cold_test end is not test"
        elif "cold_valid" in ends:
            assert split == "valid", "a pair with a cold_valid end is not valid"


@given(items=st.integers(2, 80), pairs=st.integers(1, 600), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_the_hold_out_never_leaks(items: int, pairs: int, seed: int) -> None:
    table, item_splits = _hold_out(items, pairs, seed)
    _assert_no_leak(table, item_splits)
    check_split(table, item_splits)


def test_shares_are_those_asked_for() -> None:
    table, item_splits = _hold_out(MANY, 40_000, seed=1)
    assert [(item_splits == name).sum() for name in ("warm", "cold_valid", "cold_test")] == [3_600, 200, 200]
    warm = (item_splits[table.a] == "warm") & (item_splits[table.b] == "warm")
    for split, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
        assert (table.split[warm] == split).sum() == pytest.approx(share * warm.sum(), abs=1)


@pytest.mark.parametrize("share", ["valid", "test", "cold_valid", "cold_test"])
def test_a_share_of_zero_holds_nothing_out(share: str) -> None:
    none = SplitSettings(**{"valid": 0, "test": 0, "cold_valid": 0, "cold_test": 0} | {share: 0.5})
    a, b = _random_pairs(200, 2_000, seed=1)
    item_splits = split_items(_ids(200), none, 1)
    splits = split_pairs(_ids(200), item_splits, a, b, none, 1)
    assert set(item_splits) == ({"warm", share} if share.startswith("cold") else {"warm"})
    assert set(splits) == {"train", share.removeprefix("cold_")}


def test_warm_pairs_are_held_out_alike_whatever_their_popularity() -> None:
    """Every item keeps about the same share of its pairs in training: the choice looks at nothing but a hash."""
    items, seed = 60, 5
    a, b = np.triu_indices(items, 1)
    item_splits = np.full(items, "warm")
    splits = split_pairs(_ids(items), item_splits, a.astype(np.int32), b.astype(np.int32), SETTINGS, seed)
    train = np.bincount(np.concatenate([a[splits == "train"], b[splits == "train"]]), minlength=items) / (items - 1)
    assert train.min() > 0.6


def test_same_seed_same_split_and_another_seed_another_split() -> None:
    (first, items), (again, items_again) = _hold_out(300, 3_000, 1), _hold_out(300, 3_000, 1)
    np.testing.assert_array_equal(first.split, again.split)
    np.testing.assert_array_equal(items, items_again)
    other_items = split_items(_ids(300), SETTINGS, 2)
    assert (items != other_items).any()
    warm = np.full(300, "warm")
    one, two = (split_pairs(_ids(300), warm, first.a, first.b, SETTINGS, seed) for seed in (1, 2))
    assert (one != two).any()


@given(order_seed=st.integers(0, 2**31), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_the_order_of_items_and_pairs_does_not_matter(order_seed: int, seed: int) -> None:
    table, item_splits = _hold_out(60, 400, seed)
    ids = _ids(60)
    expected = {
        frozenset((ids[a], ids[b])): split for a, b, split in zip(table.a, table.b, table.split.tolist(), strict=True)
    }
    shuffle = np.random.default_rng(order_seed)
    new_row = shuffle.permutation(60)
    shuffled_ids = [ids[old] for old in np.argsort(new_row)]
    rows = shuffle.permutation(len(table))
    ends = new_row[table.a[rows]].astype(np.int32), new_row[table.b[rows]].astype(np.int32)
    turned = shuffle.random(len(rows)) < 0.5
    a, b = np.where(turned, ends[1], ends[0]), np.where(turned, ends[0], ends[1])
    new_item_splits = split_items(shuffled_ids, SETTINGS, seed)
    assert dict(zip(shuffled_ids, new_item_splits, strict=True)) == dict(zip(ids, item_splits, strict=True))
    splits = split_pairs(shuffled_ids, new_item_splits, a, b, SETTINGS, seed).tolist()
    found = {frozenset((shuffled_ids[x], shuffled_ids[y])): split for x, y, split in zip(a, b, splits, strict=True)}
    assert found == expected


def _unordered(a: NDArray[Any], b: NDArray[Any]) -> set[frozenset[int]]:
    return {frozenset(ends) for ends in zip(a.tolist(), b.tolist(), strict=True)}


# The four leaks of published code, each built on purpose.


def _append(pairs: Pairs, mask: NDArray[np.bool_], *, turned: bool = False) -> Pairs:
    """The pairs, and those of `mask` once more as training pairs."""
    more = pairs.select(mask)
    ends = (more.b, more.a) if turned else (more.a, more.b)
    more = replace(more, a=ends[0], b=ends[1], split=np.full(len(more), "train"))
    names = ("a", "b", "view_ab", "view_ba", "buy_ab", "buy_ba", "split")
    return Pairs(*(np.concatenate([getattr(pairs, name), getattr(more, name)]) for name in names))


def test_leak_test_edges_that_stay_training_edges_is_caught() -> None:
    pairs, item_splits = _hold_out(200, 2_000, seed=1)
    _assert_leak(_append(pairs, pairs.split == "test"), item_splits)


def test_leak_one_direction_that_stays_in_training_is_caught() -> None:
    pairs, item_splits = _hold_out(200, 2_000, seed=1)
    _assert_leak(_append(pairs, pairs.split == "test", turned=True), item_splits)


def test_leak_the_other_relation_that_stays_in_training_is_caught() -> None:
    pairs, item_splits = _hold_out(200, 2_000, seed=1)
    none = np.zeros(len(pairs), np.float32)
    both = (pairs.split == "test") & pairs.ambiguous()
    assert both.any()
    # Split per relation: a pair's co-view row is held out, its co-purchase row is not.
    held_out = replace(pairs, buy_ab=np.where(both, 0, pairs.buy_ab))
    bought = replace(pairs, view_ab=none)
    more = _append(bought, both).select(np.arange(len(pairs) + both.sum()) >= len(pairs))
    names = ("a", "b", "view_ab", "view_ba", "buy_ab", "buy_ba", "split")
    leaky = Pairs(*(np.concatenate([getattr(held_out, name), getattr(more, name)]) for name in names))
    _assert_leak(leaky, item_splits)


def test_leak_held_out_pairs_in_the_propagation_graph_are_caught() -> None:
    """The pairs that training is handed, for its graphs as for its targets, hold no held-out pair."""
    pairs, item_splits = _hold_out(200, 2_000, seed=1)
    held_out = pairs.of("valid", "test")
    forbidden = _unordered(held_out.a, held_out.b)
    seen = Visible.training(pairs, None, item_splits).pairs
    assert not _unordered(seen.a, seen.b) & forbidden
    full = Visible.training(replace(pairs, split=np.full(len(pairs), "train")), None, np.full(200, "warm")).pairs
    assert _unordered(full.a, full.b) & forbidden, "the full graph, as published code uses it"


def test_a_cold_item_with_a_training_pair_is_caught() -> None:
    pairs, item_splits = _hold_out(200, 2_000, seed=1)
    for kind in ("cold_valid", "cold_test"):
        cold = (item_splits[pairs.a] == kind) | (item_splits[pairs.b] == kind)
        splits = pairs.split.copy()
        splits[np.flatnonzero(cold)[0]] = "train"
        _assert_leak(replace(pairs, split=splits), item_splits)


def _assert_leak(pairs: Pairs, item_splits: NDArray[np.str_]) -> None:
    with pytest.raises(AssertionError):
        _assert_no_leak(pairs, item_splits)
    with pytest.raises(WorkspaceError, match="the hold-out leaks"):
        check_split(pairs, item_splits)
