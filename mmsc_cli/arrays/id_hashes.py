"""Hashes of ids, and of unordered pairs of them: numbers that do not depend on the order of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def hash_ids(ids: Iterable[str], salt: str) -> NDArray[np.uint64]:
    """64 bits per id; two of a million ids collide with a chance below one in ten million."""
    key = blake2b(salt.encode(), digest_size=32).digest()
    digests = b"".join(blake2b(item.encode(), digest_size=8, key=key).digest() for item in ids)
    return np.frombuffer(digests, dtype="<u8")


def mix(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash two keys in a way that does not depend on their order (finaliser of splitmix64, Vigna 2015)."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    mixed = low * np.uint64(0x9E3779B97F4A7C15) + high
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
