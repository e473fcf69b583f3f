"""The message of an interrupted command; imports next to nothing, as it may be needed before anything else is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

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
