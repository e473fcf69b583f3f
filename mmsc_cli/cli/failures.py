"""Exceptions as one or two lines for the terminal, and as exit codes."""

from __future__ import annotations

import errno
import os
import re
from difflib import get_close_matches
from pathlib import Path

import typer

from mmsc_cli import errors
from mmsc_cli.cli.interrupt import INTERRUPTED, STDOUT, in_folder, interruption
from mmsc_cli.runtime.machine.memory import is_out_of_memory
from mmsc_cli.runtime.os_errors import system_error
from mmsc_cli.runtime.plain_words import in_plain_words
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.runtime.visible import shown

OK, GATE, USAGE, UNKNOWN_ITEM, UNREACHABLE, BUG = 0, 1, 2, 3, 4, 70

# How each command needs less memory.
_LESS_MEMORY = {
    "prepare": "prepare fewer files (--input); for events, set source.memory_gib with --set",
    "encode": "use --encoder classic, which needs no PyTorch; or --set encode.batch_size=8, encode.text_dim=128",
    "label": "label fewer pairs: --set label.budget=1000",
    "train": "use --set train.dim=32, or --set train.full_softmax_items=1",
    "evaluate": "use --baselines none, or fewer baselines: ease, als and networks need most",
    "infer": "ask for fewer items at a time; for --new, encode with --encoder classic",
    "run": "run the stages one by one; each reports how it needs less",
}
# Options that other tools have, and ours.
_KNOWN_AS = dict.fromkeys(("--top-k", "--topk", "--top", "--k", "--limit", "-n"), "-k")
_MAKES_WORKSPACE = frozenset(("prepare", "run"))
_NO_CHOICE = re.compile(r"'[^']*' is not one of .*")
_QUOTED = re.compile(r"'([^']*)'")
_DO_WITHOUT_TORCH = ("encode", "evaluate", "infer")

_CODES: tuple[tuple[type[errors.MmscError], int], ...] = (
    (errors.GateError, GATE),
    (errors.UnknownItemError, UNKNOWN_ITEM),
    (errors.UnreachableError, UNREACHABLE),
    (errors.MmscError, USAGE),
)


def exit_code(error: BaseException) -> int:
    """The exit code of the contract for an exception."""
    error = system_error(error) or error
    if is_out_of_memory(error):
        return USAGE
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, OSError | typer.TyperException):
        return USAGE
    return BUG


def describe(error: BaseException, command: str = "mmsc") -> list[str]:
    """One or two lines: what and where, and the way out. `command` is what the user typed."""
    return [shown(redact(line)) for line in _describe(error, command)]


def _describe(error: BaseException, command: str) -> list[str]:
    error = system_error(error) or error
    if is_out_of_memory(error) and not isinstance(error, errors.NotEnoughMemoryError):
        return _describe_out_of_memory(error, command)
    if isinstance(error, errors.MmscError):
        lines = [f"mmsc: {line}" for line in error.message.splitlines()]
        if isinstance(error, errors.NoWorkspaceError) and _MAKES_WORKSPACE.intersection(command.split()[1:2]):
            return [*lines, f"  use a new folder: `{in_folder(command, error.folder)}`"]
        return lines + ([f"  {error.hint}"] if error.hint else [])
    if isinstance(error, KeyboardInterrupt):
        return interruption(command)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "mmsc"
        message = in_plain_words(error.format_message().rstrip("."))
        known = _nearest_value(message)
        if other := _KNOWN_AS.get(getattr(error, "option_name", "")):
            message, known = message.partition(" (")[0], other
        meant = f"did you mean {known}? " if known else ""
        return [f"{where}: {message[:1].lower()}{message[1:]}", f"  {meant}see `{where} --help`"]
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return [
        f"mmsc: internal error: {type(error).__name__}: {error}",
        "  MMSC_DEBUG=1 shows the traceback; please report it",
    ]


def _nearest_value(message: str) -> str | None:
    """The allowed value that is nearest to the one that a message refuses."""
    refused = _NO_CHOICE.search(message)
    if refused is None:
        return None
    given, *allowed = _QUOTED.findall(refused[0])
    lower = given.lower()
    beginning = [value for value in allowed if lower and (value.startswith(lower) or lower.startswith(value))]
    return next(iter(beginning or get_close_matches(lower, allowed, n=1, cutoff=0.7)), None)


def _describe_out_of_memory(error: BaseException, command: str) -> list[str]:
    stage = next((word for word in command.split()[1:] if word in _LESS_MEMORY), None)
    option = f"{_LESS_MEMORY[stage]}; or " if stage else ""
    if isinstance(error, ImportError):  # its name says which library did not fit
        detail = f", loading {str(error).splitlines()[0]}"
        option = option if stage in _DO_WITHOUT_TORCH else ""
    else:
        detail = f": {str(error).splitlines()[0]}" if isinstance(error, MemoryError) and error.args else ""
    return [f"mmsc: out of memory{detail}", f"  {option}give it more memory"]


def _describe_os_error(error: OSError) -> list[str]:
    where = error.filename or "a file"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            elsewhere = "send stdout elsewhere" if where == STDOUT else "use another folder with -w DIR"
            return [f"mmsc: the disk is full, writing {where}", f"  free some space, or {elsewhere}"]
        case errno.EACCES | errno.EPERM | errno.EROFS:
            if error.filename and not Path(error.filename).exists():
                where = str(Path(error.filename).parent)
            return [f"mmsc: no permission for {where}", "  use a folder you may write to, with -w DIR"]
        case _:
            return [f"mmsc: {where}: {error.strerror or error}", "  check the path and the disk"]


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("MMSC_DEBUG", "") not in ("", "0")
