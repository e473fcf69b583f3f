"""Which device to compute on, and why."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmsc_cli.errors import InputError

if TYPE_CHECKING:
    import torch

DeviceChooser = Callable[[], "torch.device"]
DeviceRequest = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class DeviceChoice:
    """The device chosen and the reason, for the log and the manifest."""

    device: torch.device
    reason: str


def choose_device(request: DeviceRequest = "auto") -> DeviceChoice:
    """Choose cuda, then mps, then cpu; or check that the device asked for is there.

    Raises:
        InputError: the device asked for is not available on this machine.
    """
    import torch  # noqa: PLC0415  torch is slow to import

    if request == "cpu":
        return DeviceChoice(torch.device("cpu"), "asked for")
    if request in ("auto", "cuda") and torch.cuda.is_available():
        # torchrun starts a process for each GPU and numbers them.
        number = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        major, minor = torch.cuda.get_device_capability(number)
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        name = torch.cuda.get_device_name(number)
        device = torch.device("cuda", number) if number else torch.device("cuda")
        return DeviceChoice(device, f"{name}, {memory:.0f} GiB, SM {major}.{minor}")
    if request in ("auto", "mps") and torch.backends.mps.is_available():
        return DeviceChoice(torch.device("mps"), "Apple GPU found, no CUDA")
    if request != "auto":
        missing = {"cuda": "torch finds no CUDA GPU", "mps": "torch finds no Apple GPU"}[request]
        raise InputError(f"--device {request}: {missing}", hint="use --device auto, or see `mmsc doctor`")
    return DeviceChoice(torch.device("cpu"), f"no CUDA or Apple GPU found, {torch.get_num_threads()} threads")


def named_device(request: DeviceRequest) -> torch.device:
    """Return the device that `choose_device` chooses; a partial of this can be sent to other processes."""
    return choose_device(request).device
