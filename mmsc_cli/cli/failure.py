"""From an exception to what the person at the terminal reads, and the exit code."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import typer

from mmsc_cli import errors
from mmsc_cli.cli.interrupt import INTERRUPTED, interruption
from mmsc_cli.cli.output import plain
from mmsc_cli.redaction import redact

OK, GATE, USAGE, UNKNOWN_ITEM, UNREACHABLE, BUG = 0, 1, 2, 3, 4, 70

_CODES: tuple[tuple[type[errors.MmscError], int], ...] = (
    (errors.GateError, GATE),
    (errors.UnknownItemError, UNKNOWN_ITEM),
    (errors.UnreachableError, UNREACHABLE),
    (errors.MmscError, USAGE),
)


# How Rust, and so safetensors, tells an error of the operating system, whatever its exception's type.
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)(?: at path \"(?P<path>[^\"]*)\")?")


def exit_code(error: BaseException) -> int:
    """The exit code of the contract for an exception."""
    error = _as_os_error(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, OSError | MemoryError | typer.TyperException):
        return USAGE
    return BUG


def describe(error: BaseException, command: str = "mmsc") -> list[str]:
    """One or two lines: what and where, and the way out. `command` is what the user typed."""
    return [plain(redact(line)) for line in _describe(error, command)]


def _describe(error: BaseException, command: str) -> list[str]:
    error = _as_os_error(error)
    if isinstance(error, errors.MmscError):
        lines = [f"mmsc: {line}" for line in error.message.splitlines()]
        return lines + ([f"  {error.hint}"] if error.hint else [])
    if isinstance(error, KeyboardInterrupt):
        return interruption(command)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "mmsc"
        message = error.format_message().rstrip(".")
        return [f"{where}: {message[:1].lower()}{message[1:]}", f"  see `{where} --help`"]
    if isinstance(error, MemoryError):
        return [
            "mmsc: out of memory",
            "  try --set train.dim=64, or use a machine with more memory",
        ]
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return [
        f"mmsc: a bug of ours: {type(error).__name__}: {error}",
        "  MMSC_DEBUG=1 shows the traceback; please report it",
    ]


def _as_os_error(error: BaseException) -> BaseException:
    found = _RUST_OS_ERROR.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1])), found["path"]) if found else error


def _describe_os_error(error: OSError) -> list[str]:
    where = error.filename or "a file"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return [
                f"mmsc: the disk is full, writing {where}",
                "  free some space, or use another folder with -w DIR",
            ]
        case errno.EACCES | errno.EPERM | errno.EROFS:
            if error.filename and not Path(error.filename).exists():
                where = str(Path(error.filename).parent)
            return [f"mmsc: no permission for {where}", "  use a folder you may write to, with -w DIR"]
        case _:
            return [f"mmsc: {where}: {error.strerror or error}", "  check the path and the disk"]


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("MMSC_DEBUG", "") not in ("", "0")
