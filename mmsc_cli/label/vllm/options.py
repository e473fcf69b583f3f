"""How a model is served: number format, GPUs, share of memory, context length, each with the reason for it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmsc_cli.label.vllm.install import Machine
from mmsc_cli.label.vllm.settings import ServerSettings

GIB = 2**30
CPU_CACHE_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
CHAT_TEMPLATE = Path(__file__).with_name("plain_chat.jinja")
TEMPLATE_TOKENS = 256  # room for what a model's chat template adds
GREATEST_SHARE = 0.9
SET = "set in the recipe or with --set"


@dataclass
class Serving:
    """The choices: arguments and environment of the server, and lines that say what was chosen and why."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def _choose(self, name: str, option: str, value: object, reason: str) -> None:
        self.arguments += [option, str(value)]
        self.reasons.append(f"{name}: {value} ({reason})")


def choose_serving(machine: Machine | None, settings: ServerSettings, question_bytes: int) -> Serving:
    """Choose how to serve, for questions of at most so many bytes.

    A setting that is given wins. Of a machine that could not be looked at nothing is known, and the rest is vLLM's.
    """
    serving = Serving()
    _choose_dtype(serving, machine, settings)
    _choose_gpus(serving, machine, settings)
    _choose_memory(serving, machine, settings)
    _choose_context(serving, machine, settings, question_bytes)
    if machine and machine.device == "cpu":
        serving.arguments.append("--enforce-eager")
        serving.reasons.append("compilation: none (takes a minute on a CPU, and answers of one token gain little)")
    if machine and machine.model.chat_template is False:
        serving._choose("chat template", "--chat-template", CHAT_TEMPLATE, "the model has none: plain text")
    return serving


def _choose_dtype(serving: Serving, machine: Machine | None, settings: ServerSettings) -> None:
    if settings.dtype:
        serving._choose("dtype", "--dtype", settings.dtype, SET)
    elif machine and machine.dtypes:
        best = machine.dtypes[0]
        reason = f"the first that vLLM supports on this {machine.device}: {', '.join(machine.dtypes)}"
        serving._choose("dtype", "--dtype", best, reason)
    else:
        serving._choose("dtype", "--dtype", "auto", "left to vLLM")


def _choose_gpus(serving: Serving, machine: Machine | None, settings: ServerSettings) -> None:
    gpus, reason = 1, "left to one device"
    if settings.tensor_parallel:
        gpus, reason = settings.tensor_parallel, SET
    elif machine and not machine.gpus:
        reason = "no GPU to split it over"
    elif machine:
        gpus, reason = _fewest_gpus(machine)
    serving._choose("tensor-parallel size", "--tensor-parallel-size", gpus, reason)


def _fewest_gpus(machine: Machine) -> tuple[int, str]:
    """The fewest GPUs whose free memory holds the weights and a third of them again for all else."""
    there = len(machine.gpus)
    name = f"{there} x {machine.gpus[0].name}"
    weights, heads = machine.model.weights, machine.model.heads
    if weights is None:
        return 1, f"{name}; the size of the weights is not known, so it is tried on one"
    free = min(gpu.free for gpu in machine.gpus)
    for gpus in _powers_of_two(there):
        if (heads or gpus) % gpus == 0 and weights / gpus <= 0.75 * free:
            return gpus, f"{name}; {weights / GIB:.1f} GiB of weights, {free / GIB:.0f} GiB free on each"
    most = max(gpus for gpus in _powers_of_two(there) if (heads or gpus) % gpus == 0)
    return most, f"{name}; {weights / GIB:.1f} GiB of weights hardly fit, {free / GIB:.0f} GiB free on each"


def _powers_of_two(greatest: int) -> Iterable[int]:
    return (2**power for power in range(greatest.bit_length()))


def _choose_memory(serving: Serving, machine: Machine | None, settings: ServerSettings) -> None:
    if machine and machine.device == "cpu":
        _choose_cpu_cache(serving, machine)
        return
    share, reason = GREATEST_SHARE, "what a GPU of its own can give"
    if settings.memory_share:
        share, reason = settings.memory_share, SET
    elif machine and machine.gpus:
        fullest = min(machine.gpus, key=lambda gpu: gpu.free / gpu.total)
        share = max(0.1, min(GREATEST_SHARE, math.floor(100 * fullest.free / fullest.total - 3) / 100))
        reason = f"{fullest.free / GIB:.0f} of {fullest.total / GIB:.0f} GiB are free"
    serving._choose("memory share", "--gpu-memory-utilization", share, reason)


def _choose_cpu_cache(serving: Serving, machine: Machine) -> None:
    given = os.environ.get(CPU_CACHE_VARIABLE)
    gib = int(given) if given and given.isdigit() else max(1, min(16, machine.free_memory // GIB // 8))
    reason = f"{CPU_CACHE_VARIABLE} is set" if given else f"an eighth of {machine.free_memory / GIB:.0f} GiB free"
    serving.environment[CPU_CACHE_VARIABLE] = str(gib)
    serving.reasons.append(f"memory: {gib} GiB for the cache ({reason})")


def _choose_context(serving: Serving, machine: Machine | None, settings: ServerSettings, question_bytes: int) -> None:
    # A tokenizer makes at most one token of a byte, so that this is enough whatever the model.
    needed = 256 * math.ceil((question_bytes + TEMPLATE_TOKENS) / 256)
    most = machine.model.context if machine else None
    if settings.context:
        context, reason = settings.context, SET
    elif most and most < needed:
        context, reason = most, f"all that the model has; a longer question, of {question_bytes:,} bytes, is given up"
    else:
        context, reason = needed, f"the longest question has {question_bytes:,} bytes, and a token has one or more"
    serving._choose("context length", "--max-model-len", context, reason)
