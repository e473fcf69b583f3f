"""Local copies of what a source names elsewhere: readers then read files of this machine, whatever the place.

Copies of objects stay, below `downloads/` of the workspace in folders as in the bucket. A copy with size and time of
change of its object is that object, and is not fetched again. Results of queries last as long as the command.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from mmsc_cli.errors import InputError
from mmsc_cli.places.address import ObjectAddress, parse_object
from mmsc_cli.places.buckets import StoredObject, fetch_object, find_objects, is_meant
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.workspace.kept_digests import glance
from mmsc_cli.workspace.regular_file import refuse_link
from mmsc_cli.workspace.workspace import Workspace

_LOG = logging.getLogger(__name__)
# Stores tell times to the second: within it, an object may change again without its time of change telling.
_SETTLED_NS = 2_000_000_000


class Copies:
    """Copies of objects and of results of queries, each brought once in the life of this object."""

    def __init__(self, folder: Path, progress: Progress = SILENT) -> None:
        """Take a folder, which need not be there."""
        self.folder = folder.absolute()
        self.progress = progress
        self._files: dict[str, list[Path]] = {}
        self._tables: dict[str, Path] = {}
        self._results: TemporaryDirectory[str] | None = None

    @classmethod
    def of(cls, workspace: Workspace, progress: Progress = SILENT) -> Copies:
        """Those of a workspace.

        Raises:
            WorkspaceError: something in `downloads/` is not what we put there.
        """
        return cls(workspace.work_folder("downloads"), progress)

    def files(self, text: str, wanted: Callable[[str], bool] = bool) -> list[Path]:
        """Copies of the objects of an address, in the order of their keys; see `find_objects`.

        Args:
            text: an object, a folder that ends with a slash, or a pattern.
            wanted: of a folder, says by its key below the folder whether an object is data.

        Raises:
            InputError: there are none, or they may not be read.
            UnreachableError: the store does not answer.
        """
        if text not in self._files:
            address = parse_object(text)
            found = find_objects(address)
            if address.is_folder:
                found = [stored for stored in found if wanted(stored.address.key.removeprefix(address.key))]
            if not found:
                raise InputError(f"source: no data in the folder {text}", hint="name the objects, or a pattern")
            self._files[text] = self._bring(text, found)
            self._forget_gone(address, self._files[text])
        return self._files[text]

    def local(self, text: str) -> str:
        """Where the copies of an address lie; of a pattern, the same pattern of their paths."""
        return str(self._path(parse_object(text)))

    def table(self, name: str, make: Callable[[Path], None]) -> Path:
        """The file of a query's result, which `make` writes where there is none yet."""
        if name not in self._tables:
            if self._results is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._results = TemporaryDirectory(prefix="sql-", dir=self.folder)
            path = Path(self._results.name) / f"{name}.parquet"
            make(path)
            self._tables[name] = path
        return self._tables[name]

    def named(self, text: str) -> str:
        """A message about copies, with the addresses that they are copies of."""
        if self._results is not None:
            text = text.replace(f"{self._results.name}/", "result of the query: ")
        return re.sub(rf"{re.escape(str(self.folder))}/(s3|gs)/", r"\1://", text)

    def _bring(self, text: str, found: list[StoredObject]) -> list[Path]:
        paths, fetched = [], 0
        for stored in found:
            path = self._path(stored.address)
            paths.append(path)
            if path.is_file() and glance(path) == (stored.size, stored.mtime_ns):
                continue
            self._make_folder(path.parent)
            started = time.time_ns()
            fetch_object(stored, path, self.progress)
            fetched += 1
            if stored.mtime_ns > started - _SETTLED_NS:
                path.touch()  # the next command looks again
        _LOG.info("%s: %s, %s fetched", text, counted(len(found), "object"), f"{fetched:,}")
        return paths

    def _forget_gone(self, address: ObjectAddress, paths: list[Path]) -> None:
        """Remove copies of objects that the address meant once and that are no longer there."""
        bucket = self.folder / address.scheme / address.bucket
        for path in set(self._path(address.fixed).rglob("*")).difference(paths):
            if path.is_file() and is_meant(path.relative_to(bucket).as_posix(), address):
                path.unlink(missing_ok=True)

    def _path(self, address: ObjectAddress) -> Path:
        """Where the copy of an object lies: within our folder, whatever its key."""
        steps = address.key.removesuffix("/").split("/") if address.key else []
        if any(step in ("", ".", "..") or "\0" in step for step in (address.bucket, *steps)):
            raise InputError(f"{address}: no file can be called so", hint="give the object another key")
        return self.folder.joinpath(address.scheme, address.bucket, *steps)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder below ours; in a workspace of somebody else, a link would lead elsewhere."""
        for outer in (*reversed(folder.relative_to(self.folder).parents), folder.relative_to(self.folder)):
            refuse_link(self.folder / outer)
        folder.mkdir(parents=True, exist_ok=True)
