"""Errors of the operating system behind those of libraries written in Rust, such as safetensors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How Rust tells one, whatever its exception's type; the second form is that of safetensors before 0.6.
_TOLD = re.compile(r"\(os error (?P<number>\d+)\)(?: at path \"(?P<path>[^\"]*)\")?|Os \{ code: (?P<old_number>\d+)")


def system_error(error: BaseException) -> OSError | None:
    """The system's error that an error of a Rust library tells of; None where it tells of none."""
    match = None if isinstance(error, OSError) else _TOLD.search(str(error))
    if match is None:
        return None
    number = int(match["number"] or match["old_number"])
    return OSError(number, os.strerror(number), match["path"])


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Let a library write a file whose name is then in the error, which before safetensors 0.8 it is not.

    Raises:
        OSError: the system refuses.
    """
    try:
        yield path
    except Exception as error:
        refused = system_error(error)
        if refused is None:
            raise
        raise OSError(refused.errno, refused.strerror, str(path)) from error
