from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.model.features import Attributes, ItemFeatures
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.known import Catalogue, Known, Visible
from mmsc_cli.train.ranking.choose import keep_back
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.examples import make_folds
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def catalogue(prepared: Workspace) -> tuple[Pairs, ItemFeatures, np.ndarray]:
    items = read_items(prepared.path("items.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.sides, np.array(embeddings.mask))
    return Pairs.read(prepared.path("pairs.parquet")), features, item_splits(items) != "warm"


def outside_of(n_items: int, seed: int = 0) -> Outside:
    """Partners outside the catalogue, about three an item, shared by a few items each."""
    draw = np.random.default_rng(seed)
    rows = 3 * n_items
    return Outside(
        item=draw.integers(0, n_items, rows).astype(np.int32),
        outside=draw.integers(0, n_items // 2, rows).astype(np.int32),
        relation=draw.integers(0, 2, rows).astype(np.int8),
        outward=np.ones(rows, np.bool_),
        strength=draw.random(rows).astype(np.float32) + 0.1,
    )


def gathered(visible: Visible, features: ItemFeatures) -> Evidence:
    return Evidence(Known(Catalogue(features, visible.has_behaviour, 5), visible, keep=20))


def test_held_out_pairs_are_no_evidence(catalogue: tuple[Pairs, ItemFeatures, np.ndarray]) -> None:
    pairs, features, cold = catalogue
    queries, candidates = np.arange(10), np.random.default_rng(0).permutation(len(features))[:80].reshape(10, 8)
    outside = outside_of(len(features))
    whole = gathered(Visible.of(pairs.of("train"), outside, cold), features).of(queries, candidates)
    blind_pairs = pairs.select(pairs.split == "train")
    blind = gathered(Visible.of(blind_pairs, outside.of_items(~cold), cold), features).of(queries, candidates)
    np.testing.assert_array_equal(whole, blind)


@given(seed=st.integers(0, 1_000), hide=st.floats(0.05, 0.3), play_cold=st.floats(0.02, 0.3))
@settings(max_examples=5, deadline=None)
def test_no_hidden_pair_and_no_partner_of_a_cold_item_is_visible_in_any_fold(
    catalogue: tuple[Pairs, ItemFeatures, np.ndarray], seed: int, hide: float, play_cold: float
) -> None:
    pairs, features, cold = catalogue
    whole = Visible.of(pairs.of("train"), outside_of(len(features), seed), cold)
    assert whole.outside is not None
    assert not cold[whole.outside.item].any()
    for fold in make_folds(whole, np.arange(len(cold)), (hide, play_cold), [np.random.default_rng(seed)]):
        visible = fold.visible
        assert visible.outside is not None
        seen, hidden = (
            set(zip(side.a.tolist(), side.b.tolist(), strict=True)) for side in (visible.pairs, fold.hidden)
        )
        assert not seen & hidden
        assert seen | hidden == set(zip(whole.pairs.a.tolist(), whole.pairs.b.tolist(), strict=True))
        assert (visible.cold | ~cold).all()
        for touched in (visible.pairs.a, visible.pairs.b, visible.outside.item):
            assert not visible.cold[touched].any()
        # Nothing that is gathered from it knows a pair or a partner of a cold item either.
        known = Known(Catalogue(features, whole.has_behaviour, 5), visible, keep=20)
        for matrix in (*known.adjacency.values(), *known.lists.values(), *known.outside.values()):
            assert not np.diff(matrix.indptr)[visible.cold].any()
        for rows in (*known.linear.values(), *known.by_content.values()):
            assert not visible.cold[rows.columns[rows.columns >= 0]].any()


def test_pairs_of_the_variants_of_two_products_are_hidden_and_kept_back_together(
    catalogue: tuple[Pairs, ItemFeatures, np.ndarray],
) -> None:
    pairs, _, cold = catalogue
    first = np.arange(len(cold)) // 4 * 4
    products = np.sort(np.stack([first[pairs.a], first[pairs.b]]), axis=0)

    def products_of(rows: np.ndarray) -> set[tuple[int, ...]]:
        return set(map(tuple, products[:, rows].T.tolist()))

    whole = Visible.of(pairs, None, np.zeros(len(cold), np.bool_))
    (fold,) = make_folds(whole, first, (0.3, 0.1), [np.random.default_rng(1)])
    at_hidden = find_pairs(fold.hidden.a, fold.hidden.b, pairs.a, pairs.b, len(cold)) >= 0
    assert 0 < at_hidden.sum() < len(pairs)
    assert not products_of(at_hidden) & products_of(~at_hidden)
    kept_back = keep_back(pairs, first, seed=1)
    rest = (pairs.split == "valid") & ~kept_back
    assert kept_back.any()
    assert rest.any()
    assert not products_of(kept_back) & products_of(rest)


def test_partners_held_out_look_more_related_than_strangers(
    catalogue: tuple[Pairs, ItemFeatures, np.ndarray],
) -> None:
    pairs, features, cold = catalogue
    evidence = gathered(Visible.of(pairs.of("train"), None, cold), features)
    valid = pairs.of("valid").select(np.arange(int((pairs.split == "valid").sum())) < evidence.chunk)
    strangers = np.random.default_rng(0).integers(0, len(features), len(valid))
    both = evidence.of(valid.a.astype(np.int64), np.stack([valid.b.astype(np.int64), strangers], axis=1))
    assert np.isfinite(both).all()
    # The walks through shared neighbours, within and across relations, stand after the looked-up linear scores.
    walks = both[:, :, 8:12].mean(axis=0)
    assert (walks[0] > walks[1]).all()


def test_items_that_share_partners_outside_the_catalogue_look_related(
    catalogue: tuple[Pairs, ItemFeatures, np.ndarray],
) -> None:
    pairs, features, cold = catalogue
    first, second = np.flatnonzero(~cold)[:2]
    shared = outside_of(len(features)).of_items(np.isin(np.arange(len(features)), [first, second], invert=True))
    together = replace(
        shared,
        **{
            name: np.concatenate([getattr(shared, name), np.array(values, getattr(shared, name).dtype)])
            for name, values in {
                "item": [first, second],
                "outside": [10_000, 10_000],
                "relation": [1, 1],
                "outward": [True, True],
                "strength": [1.0, 1.0],
            }.items()
        },
    )
    query, candidate = np.array([first]), np.array([[second]])
    without, with_partner = (
        gathered(Visible.of(pairs.of("train"), outside, cold), features).of(query, candidate)
        for outside in (shared, together)
    )
    assert (with_partner > without).any()


def test_a_query_without_behaviour_has_no_neighbours_to_share(
    catalogue: tuple[Pairs, ItemFeatures, np.ndarray],
) -> None:
    pairs, features, cold = catalogue
    lonely = np.arange(len(features)) == 0
    visible = Visible.of(pairs.of("train"), None, cold | lonely)
    found = gathered(visible, features).of(np.array([0]), np.arange(1, 30)[None, :])
    assert not found[0, :, 8:12].any()
