"""The message of an interrupted command; imports next to nothing, as it may be needed before anything else is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

INTERRUPTED = 130


def typed_command(arguments: Sequence[str]) -> str:
    """What the user typed, for messages."""
    return shlex.join(["mmsc", *arguments])


def interruption(command: str) -> list[str]:
    """Two lines; `command` is what the user typed."""
    return ["mmsc: interrupted; finished stages are kept", f"  the same command continues: {command}"]
