"""What a fuzzing target is, and the one rule that all of them have in common: what came in must be accounted for."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# An input that takes longer counts as a hang.
LONGEST_SECONDS = 5.0


class LostError(AssertionError):
    """Something came in that was neither kept, nor skipped with a reason, nor refused."""


@dataclass(frozen=True)
class Tally:
    """What became of what one input held; `refused` where it was turned away whole, with a message for its owner."""

    came: int = 0
    kept: int = 0
    skipped: int = 0
    refused: bool = False

    def checked(self, what: str) -> Tally:
        """Return the tally.

        Raises:
            LostError: it does not add up.
        """
        if not self.refused and self.came != self.kept + self.skipped:
            raise LostError(f"{self.came} {what} came, {self.kept} were kept and {self.skipped} skipped")
        return self


REFUSED = Tally(refused=True)


class HangError(AssertionError):
    """An input took longer than it may."""


@dataclass(frozen=True)
class Target:
    """A reader of untrusted input.

    `check` takes any bytes and raises nothing unless the reader is at fault; `seeds` are sound inputs to begin from.
    """

    name: str
    check: Callable[[bytes], Tally]
    seeds: Callable[[], Sequence[bytes]]

    def timed(self, content: bytes) -> float:
        """Check an input, and return the seconds of processor time it took: the machine may be busy with other things.

        Raises:
            HangError: they were too many.
            Exception: the reader is at fault.
        """
        started = time.process_time()
        self.check(content)
        seconds = time.process_time() - started
        if seconds > LONGEST_SECONDS:
            raise HangError(f"{seconds:.1f} s for {len(content):,} bytes")
        return seconds


@cache
def scratch() -> Path:
    """A folder of this process, removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="mmsc-rubbish-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def scratch_file(name: str, content: bytes) -> Path:
    """Write a file into the folder of this process."""
    path = scratch() / name
    path.write_bytes(content)
    return path


def empty_folder(name: str) -> Path:
    """A folder in the folder of this process, without what was in it."""
    folder = scratch() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
