"""The server: one process, or several that share a socket; SIGTERM and Ctrl-C let requests that are under way end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvicorn

from mmsc_cli.errors import InputError
from mmsc_cli.serve.current import Current
from mmsc_cli.serve.front.connections import GuardedProtocol, drop_slow, raise_file_limit
from mmsc_cli.serve.settings import ServeSettings

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE = 10  # seconds that an idle connection is kept
_BACKLOG = 2_048
_ENDING = (signal.SIGTERM, signal.SIGINT)
_TICKS = 10  # of uvicorn's, ten a second, between two looks at the connections


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        # uvicorn has its own way with them from here on; before, they would have been taken and lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections."""
        if counter % _TICKS == 0:
            drop_slow(self.server_state.connections)
        return await super().on_tick(counter)


def serve(settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Serve a workspace until SIGTERM or Ctrl-C.

    Args:
        settings: how.
        ready: called with the address once it answers.

    Raises:
        WorkspaceError: the workspace has no index, or a damaged one.
        InputError: the address cannot be listened on.
    """
    raise_file_limit()
    current = Current(settings.root, settings.rules)
    listener = _listen(settings)
    address = _address(listener)
    with listener:
        if settings.workers == 1:
            _run(settings, current, listener, lambda: ready(address))
            return
        del current  # each process opens its own
        with tempfile.TemporaryDirectory(prefix="mmsc-serve-") as shared:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            _supervise(replace(settings, shared=Path(shared)), listener, lambda: ready(address))


def _run(settings: ServeSettings, current: Current, listener: socket.socket, ready: Callable[[], None]) -> None:
    from mmsc_cli.serve.app import build_app  # noqa: PLC0415  prometheus-client reads the environment when imported

    # uvicorn raises the signal that ended it once more: by then the work is done.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    for number in _ENDING:
        signal.signal(number, _ignore)
    config = uvicorn.Config(
        build_app(settings, current),
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.limits.seconds),
    )
    server = _Server(config, ready)
    gc.freeze()  # what is there now stays: the garbage collector need not look through it again and again
    server.run([listener])


def _supervise(settings: ServeSettings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Keep the processes running; end them when this one is to end."""
    children: dict[int, float] = {}
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    def start() -> None:
        # A signal that comes just now is not lost: the parent passes it on, or the child ends.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        child = os.fork()
        if child:
            children[child] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            return
        code = 1
        try:
            for number in _ENDING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            _run(settings, Current(settings.root, settings.rules), listener, lambda: None)
            code = 0
        except Exception:
            _LOG.exception("a process of the server failed")
        finally:
            sys.stderr.flush()
            os._exit(code)

    for number in _ENDING:
        signal.signal(number, end)
    for _ in range(settings.workers):
        start()
    ready()
    while children:
        try:
            child, status = os.wait()
        except InterruptedError:
            continue
        lived = time.monotonic() - children.pop(child)
        if ending:
            continue
        _LOG.warning("a process of the server ended (%s) and is started again", os.waitstatus_to_exitcode(status))
        time.sleep(max(0.0, 1 - lived))  # one that fails at once must not fill the log
        start()


def _listen(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen on {settings.host} port {settings.port}: {reason}",
            hint="choose another --port (0 for any free one) or --host",
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _ignore(*_: object) -> None:
    """Take a signal that has already had its effect."""
