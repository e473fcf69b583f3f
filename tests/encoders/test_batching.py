from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsc_cli.encoders.batching import LARGEST_BATCH, encode_in_batches, fitting_batch
from mmsc_cli.errors import NotEnoughMemoryError

CPU = torch.device("cpu")
INPUTS = torch.arange(50.0)[:, None].repeat(1, 3)


class Memory:
    """A device that holds `most` inputs, and how many it was given at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.given: list[int] = []

    def forward(self, part: slice) -> torch.Tensor:
        found = INPUTS[part]
        self.take(len(found))
        return found

    def take(self, size: int) -> None:
        if size > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.given.append(size)


def test_batches_are_halved_until_they_fit_and_nothing_is_lost() -> None:
    memory = Memory(10)
    vectors, size = encode_in_batches(50, 32, CPU, memory.forward)
    assert np.array_equal(vectors, INPUTS.numpy())
    assert size == 8
    assert memory.given == [8, 8, 8, 8, 8, 8, 2]


def test_one_input_that_does_not_fit_names_the_way_out() -> None:
    with pytest.raises(NotEnoughMemoryError, match="does not hold one input") as caught:
        encode_in_batches(50, 4, CPU, Memory(0).forward)
    assert "a smaller --encoder" in (caught.value.hint or "")


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def fail(_: slice) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        encode_in_batches(50, 4, CPU, fail)


@pytest.mark.parametrize(("most", "found"), [(300, 256), (10**6, LARGEST_BATCH), (1, 64)])
def test_on_a_gpu_the_batch_is_what_fits(monkeypatch: pytest.MonkeyPatch, most: int, found: int) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert fitting_batch(torch.device("cuda"), Memory(most).take) == found
    assert fitting_batch(CPU, Memory(most).take) == 64
