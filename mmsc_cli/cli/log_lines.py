"""Lines on stderr for a log that a machine keeps: each with its time; imports next to nothing, as `interrupt` does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

LogFormat = Literal["text", "json"]
VARIABLE = "MMSC_LOG_FORMAT"
OPTION = "--log-format"
_OURS = "mmsc: "


def asked_format(arguments: Sequence[str]) -> LogFormat | None:
    """Return the form that a command line asks for, which may be one that cannot be read to its end."""
    asked = os.environ.get(VARIABLE)
    for position, argument in enumerate(arguments):
        if argument == OPTION and position + 1 < len(arguments):
            asked = arguments[position + 1]
        elif argument.startswith(f"{OPTION}="):
            asked = argument.partition("=")[2]
    return next((form for form in get_args(LogFormat) if form == asked), None)


def now() -> str:
    """Return the time of a line: ISO 8601, UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log_line(form: LogFormat, level: str, command: str, message: str, fields: Mapping[str, Any] | None = None) -> str:
    """Return a line, less its end: JSON in ASCII, as stderr has the encoding of the locale; or text, less `fields`."""
    if form == "text":
        return f"{now()} {level} {message}"
    known = {"time": now(), "level": level, "command": command, "message": message}
    # JSON leaves DEL as it is, which a terminal need not.
    return json.dumps({**known, **(fields or {})}, default=str).replace("\x7f", "\\u007f")


def write_failure(lines: Sequence[str], code: int, arguments: Sequence[str], traceback: str = "") -> None:
    """Write to stderr what `failures.describe` says of an error, in the form that the command line asks for."""
    form = asked_format(arguments)
    if form == "json":
        command = next((word for word in arguments if not word.startswith("-")), "")
        told = [line.removeprefix(_OURS) for line in lines if not line.startswith("  ")]
        hints = [line.strip() for line in lines if line.startswith("  ")]
        fields = {"exit_code": code, "hint": "; ".join(hints)} | ({"traceback": traceback} if traceback else {})
        lines = [log_line(form, "error", command, " ".join(told), fields)]
    else:
        lines = [*traceback.splitlines(), *lines]
        if form == "text":
            lines = [log_line(form, "error", "", line) for line in lines]
    sys.stderr.write("\n".join(lines) + "\n")
