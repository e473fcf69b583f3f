"""Where vLLM is installed, how it is started, and what it can compute on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.label.vllm import probe as vllm_probe

PYTHON_VARIABLE = "MMSC_VLLM_PYTHON"
PROBE_SECONDS = 300
WAYS_OUT = (
    f"on a machine with a GPU `pip install 'mmsc-cli[vllm]'` (or set {PYTHON_VARIABLE} to the Python of an environment "
    "with vLLM, also a CPU build of it), name a running server with `--endpoint URL`, or use `--model rules`, which "
    "needs none (with `mmsc run`: --set label.model=rules, or --no-label)"
)


# What a script that failed, and so printed something else, gives when it is read.
_NOT_THE_FORM = (IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Gpu:
    """A GPU as vLLM sees it; memory in bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before it is loaded; None: not known.

    `context` is in tokens, `heads` the number of attention heads, `weights` their bytes on disk.
    """

    context: int | None = None
    heads: int | None = None
    weights: int | None = None
    chat_template: bool | None = None


@dataclass(frozen=True)
class Machine:
    """What vLLM can compute on: `device` is cuda, cpu, rocm, …, or empty where it finds nothing it was built for.

    `dtypes` are those it supports there, the best first; `free_memory` is the main memory free, in bytes.
    """

    device: str
    dtypes: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    free_memory: int
    model: ModelFacts
    distribution: bool = True


@dataclass(frozen=True)
class Vllm:
    """An installation of vLLM: its Python, and its command, where each is known.

    `guessed` says that the Python was read from the command, and may be another one's.
    """

    python: str | None
    executable: str | None
    guessed: bool = False

    def command(self, machine: Machine | None) -> list[str]:
        """The words that start the server; the model comes next.

        A CPU build may not know the name it is installed under: then its `vllm` command fails, and its module works.
        """
        works = machine.distribution if machine else self.python is None or self.guessed
        if self.executable is not None and works:
            return [self.executable, "serve"]
        assert self.python is not None, "one of the two is known"
        return [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model"]

    def examine(self, model: str) -> Machine | None:
        """Look at device and model with vLLM's own eyes; takes seconds. None where vLLM cannot be looked into."""
        if self.python is None:
            return None
        with Path(vllm_probe.__file__).open("rb") as script, suppress(subprocess.TimeoutExpired, *_NOT_THE_FORM):
            # From standard input: as a file it would put this folder in front of the packages that it imports.
            ran = subprocess.run(
                [self.python, "-", model],
                stdin=script,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_SECONDS,
                check=False,
            )
            found = json.loads(ran.stdout.splitlines()[-1])
            return Machine(
                device=found["device"],
                dtypes=tuple(found["dtypes"]),
                gpus=tuple(Gpu(**gpu) for gpu in found["gpus"]),
                free_memory=found["free_memory"],
                model=ModelFacts(**found["model"]),
                distribution=found["distribution"],
            )
        return None


def find_vllm() -> Vllm:
    """Find vLLM: by MMSC_VLLM_PYTHON, else in this Python's environment, else a `vllm` command on PATH.

    Raises:
        InputError: MMSC_VLLM_PYTHON names no program.
        UnreachableError: vLLM is not installed; the hint names the three ways out.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        python = shutil.which(named)
        if python is None:
            raise InputError(
                f"{PYTHON_VARIABLE}={named}: no such program",
                hint="set it to the Python of the environment that vLLM is installed in, for example .vllm/bin/python",
            )
        return Vllm(python, shutil.which("vllm", path=str(Path(python).parent)))
    executable = shutil.which("vllm") or shutil.which("vllm", path=str(Path(sys.executable).parent))
    if find_spec("vllm"):
        return Vllm(sys.executable, executable)
    if executable is None:
        raise no_server("vLLM is not installed")
    return Vllm(_interpreter(Path(executable)), executable, guessed=True)


def _interpreter(executable: Path) -> str | None:
    """The Python that a command installed by pip is run by, from its first line."""
    with executable.open("rb") as file:
        first = file.readline(500).decode(errors="replace").strip()
    return shutil.which(first.removeprefix("#!")) if first.startswith("#!") else None


def no_server(reason: str, details: Sequence[str] = ()) -> UnreachableError:
    """The error of a machine that can serve no model, with the three ways out."""
    said = f"no language model to ask: {reason}, and no endpoint is given"
    return UnreachableError("\n".join([said, *details]), hint=WAYS_OUT)
