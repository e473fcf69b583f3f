"""One seed for all: every random stream is derived from it by name, so adding one changes no other."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, purpose: str) -> int:
    """Return a 63-bit seed that depends on `seed` and `purpose` alone."""
    digest = blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the numpy stream for `purpose`."""
    return np.random.default_rng(derive_seed(seed, purpose))


def torch_generator(seed: int, purpose: str) -> torch.Generator:
    """Return the torch stream (on the CPU) for `purpose`."""
    import torch  # noqa: PLC0415  torch is slow to import

    return torch.Generator().manual_seed(derive_seed(seed, purpose))
