from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmsc_cli.runtime.seeds import derive_seed, numpy_generator, torch_generator


@given(st.integers(0, 2**63), st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_seed_fits_numpy_and_torch(seed: int, purpose: str) -> None:
    assert 0 <= derive_seed(seed, purpose) < 2**63


def test_streams_differ_by_seed_and_by_purpose_and_repeat() -> None:
    def draw(seed: int, purpose: str) -> list[float]:
        return list(numpy_generator(seed, purpose).random(5))

    assert draw(1, "mask") == draw(1, "mask")
    assert draw(1, "mask") != draw(2, "mask")
    assert draw(1, "mask") != draw(1, "dropout")
    assert derive_seed(1, "1/x") != derive_seed(11, "x")


def test_a_purpose_gives_the_same_seed_in_every_process() -> None:
    code = "from mmsc_cli.runtime.seeds import derive_seed; import sys; sys.stdout.write(str(derive_seed(7, 'mask')))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert found == {str(derive_seed(7, "mask"))}


def test_torch_streams_repeat() -> None:
    import torch

    first, again, other = (torch.rand(5, generator=torch_generator(seed, "mask")) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not np.allclose(first.numpy(), numpy_generator(1, "mask").random(5))
