from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.machine.device import DeviceRequest, choose_device

Machine = tuple[bool, bool]
NOTHING: Machine = (False, False)
GPU: Machine = (True, False)
APPLE: Machine = (False, True)


def _pretend(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    cuda, mps = machine
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Some GPU {number}")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * 2**30))


@pytest.mark.parametrize(
    ("machine", "request_", "device", "reason"),
    [
        (NOTHING, "auto", "cpu", "no CUDA or Apple GPU found"),
        (GPU, "auto", "cuda", "Some GPU 0, 80 GiB, SM 9.0"),
        ((True, True), "auto", "cuda", "Some GPU"),
        (APPLE, "auto", "mps", "Apple GPU"),
        (GPU, "cuda", "cuda", "Some GPU"),
        (APPLE, "mps", "mps", "Apple GPU"),
        ((True, True), "mps", "mps", "Apple GPU"),
        (GPU, "cpu", "cpu", "asked for"),
    ],
)
def test_the_device_and_its_reason(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, request_: DeviceRequest, device: str, reason: str
) -> None:
    _pretend(monkeypatch, machine)
    choice = choose_device(request_)
    assert choice.device.type == device
    assert reason in choice.reason


@pytest.mark.parametrize(("machine", "request_"), [(NOTHING, "cuda"), (NOTHING, "mps"), (APPLE, "cuda"), (GPU, "mps")])
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, request_: DeviceRequest
) -> None:
    _pretend(monkeypatch, machine)
    with pytest.raises(InputError, match=f"--device {request_}: torch finds no") as caught:
        choose_device(request_)
    assert "--device auto" in str(caught.value.hint)


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu").device == torch.device("cpu")


def test_torchrun_gives_each_process_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, GPU)
    monkeypatch.setenv("LOCAL_RANK", "1")
    choice = choose_device("auto")
    assert choice.device == torch.device("cuda", 1)
    assert "Some GPU 1" in choice.reason
