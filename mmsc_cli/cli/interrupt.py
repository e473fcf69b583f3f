"""The message of an interrupted command; imports next to nothing, as it may be needed before anything else is."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

INTERRUPTED = 130
STDOUT = "stdout"  # what errors of writing there call it


def typed_command(arguments: Sequence[str]) -> str:
    """What the user typed, for messages."""
    return shlex.join(["mmsc", *arguments])


def in_folder(command: str, folder: Path) -> str:
    """A typed command with another workspace."""
    words: list[str] = []
    value_follows = False
    for word in shlex.split(command):
        if value_follows:
            value_follows = False
        elif word in ("-w", "--workspace"):
            value_follows = True
        elif not word.startswith(("-w", "--workspace=")):
            words.append(word)
    return shlex.join([*words, "-w", str(folder)])


def interruption(command: str) -> list[str]:
    """Two lines; `command` is what the user typed."""
    return ["mmsc: interrupted; finished stages are kept", f"  the same command continues: {command}"]


def take_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt where it is neither lost nor does harm; elsewhere it does so a moment later.

    In the code of the import system it may leave the lock of all imports held, for which other threads then wait
    without end. In what Python calls by itself (`__del__`, the end of a weak reference) it is dropped.
    """
    default = signal.default_int_handler
    # asyncio takes Ctrl-C over from the handler of this name alone.
    signal.default_int_handler = _interrupt  # type: ignore[assignment]
    if signal.getsignal(signal.SIGINT) is default:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _keep_interrupt


def _interrupt(_: int, frame: FrameType | None) -> None:
    if _imports(frame):
        _interrupt_later()
    else:
        raise KeyboardInterrupt


def _interrupt_again(_: int, frame: FrameType | None) -> None:
    if _imports(frame):
        _interrupt_later()
    else:
        signal.raise_signal(signal.SIGINT)


def _interrupt_later() -> None:
    signal.signal(signal.SIGALRM, _interrupt_again)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _imports(frame: FrameType | None) -> bool:
    """Whether a frame is the import system's own, not that of a module that is being imported."""
    interrupted = frame
    while frame is not None:
        if frame.f_code.co_filename == __file__:  # another Ctrl-C came while one was dealt with
            interrupted = frame.f_back
        frame = frame.f_back
    return interrupted is not None and interrupted.f_code.co_filename.startswith("<frozen importlib")


def _keep_interrupt(dropped: Any) -> None:
    if dropped.exc_type is KeyboardInterrupt:
        _interrupt_later()
    else:
        sys.__unraisablehook__(dropped)
