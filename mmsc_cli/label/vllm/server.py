"""A vLLM server of our own, on this machine and for this run only."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from mmsc_cli.errors import UnreachableError
from mmsc_cli.label.vllm import watchdog
from mmsc_cli.label.vllm.install import find_vllm, no_server
from mmsc_cli.label.vllm.options import choose_serving
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.progress import SILENT, Progress

LOG_LINES = 20
_LOG = logging.getLogger("mmsc_cli")


@dataclass(frozen=True)
class Server:
    """A server that is up: its base URL, and its process and log, to see whether it still is."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> UnreachableError | None:
        """The error of a server that is gone, with its last log lines; None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        return UnreachableError(
            f"vLLM ended with status {status}{_tail(self.log)}",
            hint=f"the whole log: {self.log}; run the command again",
        )


@contextmanager
def serve(
    model: str,
    log: Path,
    settings: ServerSettings,
    *,
    question_bytes: int,
    grace: float = 10,
    progress: Progress = SILENT,
) -> Iterator[Server]:
    """Start vLLM on a free loopback port, wait until it is healthy, yield it, and always stop it.

    Args:
        model: a name on the model hub or a path.
        log: file for what the server prints.
        settings: what not to choose.
        question_bytes: of the longest question that will be asked.
        grace: seconds between asking it to end and killing it.
        progress: where to say how long it takes.

    Raises:
        InputError: MMSC_VLLM_PYTHON names no program.
        UnreachableError: vLLM is not there, has nothing to compute on, ended before it was healthy, or took too long;
            with its last log lines.
    """
    vllm = find_vllm()
    with progress.task("looking at vLLM and its device"):
        machine = vllm.examine(model)
    if machine and (not machine.device or (machine.device == "cuda" and not machine.gpus)):
        raise no_server("vLLM finds no GPU here, and is not built for the CPU")
    serving = choose_serving(machine, settings, question_bytes)
    for reason in serving.reasons:
        _LOG.info("%s", reason)
    port = _free_port()
    address = ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output, _watchdog() as group:
        process = subprocess.Popen(
            [*vllm.command(machine), model, *address, *serving.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **serving.environment},
            process_group=group,  # which is not the terminal's: a Ctrl-C is ours to handle
        )
        try:
            server = Server(f"http://127.0.0.1:{port}/v1", process, log)
            _wait_until_healthy(server, model, settings.start_timeout, progress)
            yield server
        finally:
            _stop(process, group, grace)


@contextmanager
def _watchdog() -> Iterator[int]:
    """A process group that is killed if this process dies; yields its id."""
    guard = subprocess.Popen([sys.executable, str(Path(watchdog.__file__))], stdin=subprocess.PIPE, process_group=0)
    try:
        yield guard.pid
    finally:
        guard.kill()
        guard.wait()
        assert guard.stdin is not None
        guard.stdin.close()


def _wait_until_healthy(server: Server, model: str, start_timeout: float, progress: Progress) -> None:
    started = time.monotonic()
    url = server.url.replace("/v1", "/health")
    hint = f"the whole log: {server.log}; or use `--endpoint URL`, or `--model rules`"
    with (
        progress.task(f"starting vLLM with {model}") as task,
        httpx.Client(trust_env=False, timeout=5) as client,
    ):
        while True:
            seconds = time.monotonic() - started
            task.show(seconds=round(seconds))
            with suppress(httpx.TransportError):
                if client.get(url).is_success:
                    _LOG.info("vLLM is up after %.0f s; its log: %s", seconds, server.log)
                    return
            status = server.process.poll()
            if status is not None:
                raise UnreachableError(f"vLLM ended with status {status} while starting{_tail(server.log)}", hint=hint)
            if seconds > start_timeout:
                raise UnreachableError(f"vLLM was not up after {start_timeout:.0f} s{_tail(server.log)}", hint=hint)
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes], group: int, grace: float) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)  # what is left of the group, such as its workers
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    printable = ("".join(char for char in line if char.isprintable()) for line in lines)
    return "".join(f"\n  {line}" for line in printable)
