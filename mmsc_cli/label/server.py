"""A vLLM server of our own, on this machine and for this run only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import httpx

from mmsc_cli.errors import UnreachableError
from mmsc_cli.label import watchdog
from mmsc_cli.progress import SILENT, Progress

LOG_LINES = 12
WAYS_OUT = (
    "install it with `pip install 'mmsc-cli[vllm]'`, name a running server with `--endpoint URL`, "
    "or use `--model rules`, which needs none (with `mmsc run`: --set label.model=rules, or --no-label)"
)


def vllm_command() -> list[str]:
    """How to start vLLM here: its executable (on PATH, or beside this Python), else its module.

    Raises:
        UnreachableError: vLLM is not installed; the hint names the three ways out.
    """
    beside = str(Path(sys.executable).parent)
    executable = shutil.which("vllm") or shutil.which("vllm", path=beside)
    if executable:
        return [executable, "serve"]
    if find_spec("vllm"):
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    raise UnreachableError("no language model to ask: vLLM is not installed, and no endpoint is given", hint=WAYS_OUT)


@contextmanager
def serve(
    model: str, log: Path, *, start_timeout: float = 1_800, grace: float = 10, progress: Progress = SILENT
) -> Iterator[str]:
    """Start vLLM on a free loopback port, wait until it is healthy, yield its base URL, and always stop it.

    Args:
        model: a name on the model hub or a path.
        log: file for what the server prints.
        start_timeout: seconds it may take to load (it may have to download the model).
        grace: seconds between asking it to end and killing it.

    Raises:
        UnreachableError: vLLM is not there, ended before it was healthy, or took too long; with its last log
        lines.
    """
    command = vllm_command()
    port = _free_port()
    with log.open("wb") as output, _watchdog() as tell:
        process = subprocess.Popen(
            [*command, model, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which can be stopped as a whole
        )
        try:
            tell.write(str(process.pid).encode())
            tell.flush()
            _wait_until_healthy(process, f"http://127.0.0.1:{port}/health", model, log, start_timeout, progress)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _stop(process, grace)


@contextmanager
def _watchdog() -> Iterator[IO[bytes]]:
    """Have the process group whose id is written to the pipe killed if this process dies first."""
    guard = subprocess.Popen(
        [sys.executable, str(Path(watchdog.__file__))], stdin=subprocess.PIPE, start_new_session=True
    )
    assert guard.stdin is not None
    try:
        yield guard.stdin
    finally:
        guard.kill()
        guard.wait()
        guard.stdin.close()


def _wait_until_healthy(
    process: subprocess.Popen[bytes],
    url: str,
    model: str,
    log: Path,
    start_timeout: float,
    progress: Progress,
) -> None:
    started = time.monotonic()
    hint = f"the whole log: {log}; or use `--endpoint URL`, or `--model rules`"
    with (
        progress.task(f"starting vLLM with {model}") as task,
        httpx.Client(trust_env=False, timeout=5) as client,
    ):
        while True:
            seconds = time.monotonic() - started
            task.show(seconds=round(seconds))
            with suppress(httpx.TransportError):
                if client.get(url).is_success:
                    return
            status = process.poll()
            if status is not None:
                raise UnreachableError(f"vLLM ended with status {status} while starting{_tail(log)}", hint=hint)
            if seconds > start_timeout:
                raise UnreachableError(f"vLLM was not up after {start_timeout:.0f} s{_tail(log)}", hint=hint)
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)  # what is left of the group, such as its workers
        process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    printable = ("".join(char for char in line if char.isprintable()) for line in lines)
    return "".join(f"\n  {line}" for line in printable)
