"""One number for an unordered pair of items, and finding pairs by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pair_keys(a: NDArray[Any], b: NDArray[Any], n_items: int) -> NDArray[np.int64]:
    """Number unordered pairs of item rows: smaller row * n_items + larger row; shape (pairs,).

    `np.divmod(keys, n_items)` gives the smaller and the larger row back.
    """
    # int64 before the product: the square of the number of items does not fit int32.
    smaller = np.minimum(a, b).astype(np.int64)
    keys: NDArray[np.int64] = smaller * n_items + np.maximum(a, b)
    return keys


def find_keys(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each wanted key among unsorted known ones, -1 where it is not among them.

    Args:
        known: shape (known,).
        wanted: shape (wanted,).

    Returns:
        Shape (wanted,).
    """
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(known, kind="stable")
    in_order = known[order]
    # A key above all known ones would be searched beyond the end.
    position = np.minimum(np.searchsorted(in_order, wanted), len(known) - 1)
    return np.where(in_order[position] == wanted, order[position], -1)


def find_pairs(
    known_a: NDArray[Any], known_b: NDArray[Any], a: NDArray[Any], b: NDArray[Any], n_items: int
) -> NDArray[np.int64]:
    """Return the position of each unordered pair (a, b) of item rows among known pairs, -1 where it is not known.

    Args:
        known_a: one end of the known pairs, shape (known,).
        known_b: the other end, shape (known,).
        a: one end of the wanted pairs, shape (pairs,).
        b: the other end, shape (pairs,).
        n_items: size of the catalogue.

    Returns:
        Shape (pairs,).
    """
    return find_keys(pair_keys(known_a, known_b, n_items), pair_keys(a, b, n_items))
