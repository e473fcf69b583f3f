"""How a vLLM server is started here: which program, with which options, in which environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.machine.gpus import visible_gpus
from mmsc_cli.runtime.redaction import API_KEY_VARIABLES

PYTHON_VARIABLE = "MMSC_VLLM_PYTHON"
CPU_CACHE_GIB = "2"  # read by a CPU build alone; 16,000 tokens of an 8B model
WAYS_OUT = (
    f"on a machine with a GPU `{extra_command('vllm')}` (or set {PYTHON_VARIABLE} to the Python of an environment "
    "with vLLM, also a CPU build of it), name a running server with `--endpoint URL`, or use `--model rules`, which "
    "needs none (with `mmsc run SOURCE`: `--set label.model=rules`, or `--no-label`)"
)
_HAS_DISTRIBUTION = "from importlib.metadata import version; version('vllm')"


def server_command(model: str, port: int, settings: ServerSettings) -> list[str]:
    """The words that start a server of `model` on a loopback port; what `settings` leaves open is vLLM's choice.

    vLLM is looked for by MMSC_VLLM_PYTHON, else in this Python's environment, else as a `vllm` command on PATH.

    Raises:
        InputError: MMSC_VLLM_PYTHON names no program.
        UnreachableError: vLLM is not installed; the hint names the three ways out.
    """
    options = ["--host", "127.0.0.1", "--port", str(port), *server_options(settings)]
    python = _find_python()
    if python is None:
        executable = shutil.which("vllm")
        if executable is None:
            raise UnreachableError(
                "no language model to ask: vLLM is not installed, and no endpoint is given", hint=WAYS_OUT
            )
        return [executable, "serve", *options, "--", model]
    if subprocess.run([python, "-P", "-c", _HAS_DISTRIBUTION], capture_output=True, check=False).returncode:
        # `vllm serve` asks for the distribution `vllm`; a CPU build may be installed under another name.
        return [python, "-P", "-m", "vllm.entrypoints.openai.api_server", *options, f"--model={model}"]
    return [python, "-P", "-m", "vllm.entrypoints.cli.main", "serve", *options, "--", model]


def server_options(settings: ServerSettings) -> list[str]:
    """The settings as options of vLLM."""
    given = {
        "--dtype": settings.dtype,
        "--tensor-parallel-size": settings.tensor_parallel,
        "--data-parallel-size": settings.data_parallel or _copies(settings.tensor_parallel or 1),
        "--gpu-memory-utilization": settings.memory_share,
        # All that the model has may need more memory than the GPU has left; with `auto` vLLM takes what fits.
        "--max-model-len": settings.context or "auto",
    }
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def _copies(gpus_a_copy: int) -> int | None:
    """How many copies of the model all GPUs of this machine hold; None for one, which is vLLM's default."""
    copies = visible_gpus() // gpus_a_copy
    return copies if copies > 1 else None


def server_environment(key: str, settings: ServerSettings) -> dict[str, str]:
    """The environment of a server that believes `key` alone: never the user's key, never Python files of the folder."""
    inherited = {name: value for name, value in os.environ.items() if name not in API_KEY_VARIABLES}
    if settings.memory_share is None:
        # On a CPU it would ask for 92 % of the machine's memory, and end where something else holds a tenth.
        inherited.setdefault("VLLM_CPU_KVCACHE_SPACE", CPU_CACHE_GIB)
    return inherited | {"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "PYTHONSAFEPATH": "1"}


def _find_python() -> str | None:
    """The Python that vLLM is installed for; None where a command on PATH is all there may be."""
    named = os.environ.get(PYTHON_VARIABLE)
    if not named:
        return sys.executable if find_spec("vllm") else None
    python = shutil.which(named)
    if python is None:
        raise InputError(
            f"{PYTHON_VARIABLE}={named}: no such program",
            hint="set it to the Python of the environment that vLLM is installed in, for example .vllm/bin/python",
        )
    return python
