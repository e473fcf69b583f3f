"""A vLLM server of our own, on this machine and for this run only."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from mmsc_cli.errors import UnreachableError
from mmsc_cli.label.vllm.command import server_command, server_environment
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.progress import SILENT, Progress

LOG_LINES = 20
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_LISTENING = "0A"  # in the tables of Linux
_ERROR = re.compile(r"\b\w+(Error|Exception): \S")  # the last line of a traceback
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """A server that is up: its base URL, the key it asks for, and its process and log, to see whether it still is."""

    url: str
    key: str
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
    model: str, log: Path, settings: ServerSettings, *, grace: float = 10, progress: Progress = SILENT
) -> Iterator[Server]:
    """Start vLLM on a free loopback port, wait until it is healthy, yield it, and always stop it.

    Args:
        model: a name on the model hub or a path, of `resolve_model`.
        log: file for what the server prints.
        settings: what vLLM is not to choose itself.
        grace: seconds between asking it to end and killing it.
        progress: where the waiting is shown.

    Raises:
        InputError: MMSC_VLLM_PYTHON names no program.
        UnreachableError: vLLM is not installed, ended before it was healthy, or took too long; with its last log lines.
    """
    port = _free_port()
    command, key = server_command(model, port, settings), secrets.token_urlsafe()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=server_environment(key, settings),
            process_group=0,  # not the terminal's: a Ctrl-C is ours to handle
            preexec_fn=_end_with_parent(),
        )
    server = Server(f"http://127.0.0.1:{port}/v1", key, process, log)
    try:
        _wait_until_healthy(server, model, settings.start_timeout, progress)
        yield server
    finally:
        _stop(process, grace)


def _end_with_parent() -> Callable[[], None] | None:
    """What the child runs first, so that our death, by SIGKILL too, asks it to end; Linux alone has that."""
    if sys.platform != "linux":
        return None
    # Looked up before the fork: another thread may hold the loader's lock at that moment.
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def set_death_signal() -> None:
        prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal


def _wait_until_healthy(server: Server, model: str, start_timeout: float, progress: Progress) -> None:
    started = time.monotonic()
    url = httpx.URL(server.url).copy_with(path="/health")
    hint = f"the whole log: {server.log}; or use `--endpoint URL`, or `--model rules`"
    with (
        progress.task(f"starting vLLM with {model}") as task,
        httpx.Client(trust_env=False, timeout=5) as client,
    ):
        while True:
            seconds = time.monotonic() - started
            task.show(seconds=round(seconds))
            with suppress(httpx.HTTPError):
                if client.get(url).is_success and _is_listener(server.process.pid, url.port):
                    _LOG.info("vLLM is up after %.0f s; its log: %s", seconds, server.log)
                    return
            status = server.process.poll()
            if status is not None:
                raise UnreachableError(f"vLLM ended with status {status} while starting{_tail(server.log)}", hint=hint)
            if seconds > start_timeout:
                raise UnreachableError(f"vLLM was not up after {start_timeout:.0f} s{_tail(server.log)}", hint=hint)
            time.sleep(0.2)


def _is_listener(group: int, port: int | None) -> bool:
    """Whether a process group holds every socket that listens on a port; another user may have been quicker.

    Where there is no /proc nobody can tell, and the answer is yes.
    """
    tables = [path for path in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")) if path.exists()]
    # Columns: number, local address:port, remote one, state, ..., inode as the tenth.
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port
    }
    held = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if os.getpgid(int(folder.name)) == group:
                held |= {str(descriptor.readlink()) for descriptor in (folder / "fd").iterdir()}
    return not tables or (bool(sockets) and sockets <= held)


def _stop(process: subprocess.Popen[bytes], grace: float) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of the group, such as its workers
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    """What a person reads of a log: the first error, which a process of vLLM's met, and the last lines."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    first_error = next((line for line in lines[:-LOG_LINES] if _ERROR.search(line)), None)
    shown = [line for line in (first_error, *lines[-LOG_LINES:]) if line is not None]
    printable = ("".join(char for char in line if char.isprintable()) for line in shown)
    return "".join(f"\n  {line}" for line in printable)
