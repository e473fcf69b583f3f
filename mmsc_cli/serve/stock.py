"""Which items are in stock: told by one request to one process, and known to all of them by a file that they share."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import orjson

from mmsc_cli.runtime.atomic import atomic_write


class Stock:
    """The ids in stock. They last until the server ends."""

    def __init__(self, shared: Path | None) -> None:
        """Keep them in a folder, or, of a single process, in its memory."""
        self._path = None if shared is None else shared / "stock.json"
        self._seen: tuple[int, ...] = ()
        self._held: tuple[frozenset[str], str] | None = None

    def put(self, ids: list[str]) -> int:
        """Replace the ids; return how many there are."""
        wanted = sorted(set(ids))
        content = orjson.dumps(wanted)
        if self._path is None:
            self._held = frozenset(wanted), _digest(content)
        else:
            with atomic_write(self._path) as file:
                file.write(content)
        return len(wanted)

    def get(self) -> tuple[frozenset[str], str] | None:
        """The ids and their digest; None before any were put."""
        if self._path is None:
            return self._held
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        seen = status.st_ino, status.st_mtime_ns, status.st_size
        if seen != self._seen:
            content = self._path.read_bytes()
            self._held = frozenset(orjson.loads(content)), _digest(content)
            self._seen = seen
        return self._held


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
