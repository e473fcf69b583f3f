"""Writing that a crash or a power cut leaves whole: a reader sees the old file or the new one."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mmsc_cli.runtime.weak_disk import tolerate

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A disk takes several requests at once.
_SYNCING = 8
_EXCHANGE, _AT_CWD = 2, -100  # of Linux's renameat2


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success sync it and put it in place of `path`.

    The file gets the permissions of the umask.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, _CREATE, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (named in the contract)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: it is not JSON."""
    with atomic_write(path) as file:
        file.write(encode_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)) + b"\n")


def encode_json(text: str) -> bytes:
    """Return JSON as UTF-8; what is none, as the bytes of a file name in another encoding, as escapes of JSON."""
    return text.encode(errors="backslashreplace")


def sync_directory(path: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with tolerate("fsync", path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a folder, and those above it that are not there, so that they survive a power cut."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        sync_directory(folder.parent)


def settle(path: Path) -> None:
    """Sync a file, or a folder with all that is in it, and give each file the permissions of the umask.

    Libraries write without syncing, and some make files that only their owner can read.
    """
    if not path.is_dir():
        _settle_file(path)
        return
    folders, files = [], []
    for folder, _, names in os.walk(path):
        folders.append(Path(folder))
        files += [Path(folder, name) for name in names]
    with ThreadPoolExecutor(_SYNCING) as pool:
        for done in (pool.map(_settle_file, files), pool.map(sync_directory, folders)):
            list(done)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths swap what they name in one step; return False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    ends = (_AT_CWD, os.fsencode(first), _AT_CWD, os.fsencode(second))
    return swap is not None and swap(*ends, _EXCHANGE) == 0


def _settle_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
    if mode != (wanted := 0o666 & ~_umask()):
        with tolerate("chmod", path):
            path.chmod(wanted)


def _umask() -> int:
    try:
        # Asking for the umask by setting it would change it for other threads meanwhile.
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration, ValueError):
        mask = os.umask(0o022)
        os.umask(mask)
        return mask
