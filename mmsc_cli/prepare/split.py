"""The hold-out: which items are cold and which pairs are held out, as a pure function of ids, pairs and seed.

An unordered pair is held out of both relations at once, whatever its directions. A pair with a held-out item is never
in training. Every choice is by a hash of the item ids, so the order of the input does not matter. Variants of a product
are held out together: one would tell the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.id_hashes import hash_ids, mix
from mmsc_cli.prepare.settings import SplitSettings


def split_items(item_ids: Sequence[str], settings: SplitSettings, seed: int) -> NDArray[np.str_]:
    """Return `warm`, `cold_valid` or `cold_test` per item, shape (n_items,); items of one id are held out together.

    For the variants of a product, the id is that of one of them.
    """
    unique, inverse = np.unique(hash_ids(item_ids, f"{seed}/items"), return_inverse=True)
    test = round(settings.cold_test * len(unique))
    valid = round(settings.cold_valid * len(unique))
    splits = np.full(len(item_ids), "warm", dtype="<U10")
    splits[inverse < test] = "cold_test"
    splits[(inverse >= test) & (inverse < test + valid)] = "cold_valid"
    return splits


def split_pairs(
    item_ids: Sequence[str],
    item_splits: NDArray[np.str_],
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    settings: SplitSettings,
    seed: int,
) -> NDArray[np.str_]:
    """Return `train`, `valid` or `test` per unordered pair, shape (pairs,). Pairs must be unique.

    Pairs between variants of the same two products, which share their ids here, are held out together.
    """
    # One byte an end: at millions of pairs the names of the splits would be most of the memory.
    at_cold_valid, at_cold_test = (
        is_cold[a] | is_cold[b] for is_cold in (item_splits == "cold_valid", item_splits == "cold_test")
    )
    splits = np.full(len(a), "train", dtype="<U5")
    splits[at_cold_valid] = "valid"
    splits[at_cold_test] = "test"
    warm = np.flatnonzero(~(at_cold_valid | at_cold_test))
    keys = hash_ids(item_ids, f"{seed}/pairs")
    # Pairs of the same two groups have the same key: they are held out together.
    unique, inverse = np.unique(mix(keys[a[warm]], keys[b[warm]]), return_inverse=True)
    test, valid = round(settings.test * len(unique)), round(settings.valid * len(unique))
    splits[warm[inverse < test]] = "test"
    splits[warm[(inverse >= test) & (inverse < test + valid)]] = "valid"
    return splits
