"""The events of each file of a log, kept so that a file is read once, however many nights it is part of the log.

Of a file, two tables are kept: its events that are of use in their time (EVENTS), and what became of all (TALLY). They
are found again by the sha256 of the file and by the statement that reads it, which settings, columns and the form of
the times make up. So a file that changed is read again, and every file is if the way of reading changed; one that was
moved is not.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path

import duckdb

from mmsc_cli.errors import MmscError
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.sources.log.event_sql import FATES, LAST_SECOND
from mmsc_cli.prepare.sources.log.log_shard import LogShard
from mmsc_cli.runtime.atomic import settle, sync_directory, write_json
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.workspace.kept_digests import glance
from mmsc_cli.workspace.regular_file import open_regular

_LOG = logging.getLogger(__name__)
# To be raised where the tables change: what is kept in another form is not used.
_VERSION = 1
_NAME = re.compile(r"[0-9a-f]{32}\.(events\.parquet|tally\.parquet|json)(\.new)?")

# Two sessions that share a hash would become one: among ten million the chance of that is three in a million.
_PARSED = """
CREATE OR REPLACE TABLE parsed AS
SELECT hash(session) AS session, CASE WHEN fate IS NULL THEN item END AS item, kind, seconds,
    coalesce(word, '') AS word, fate, written IS NOT NULL AS timed, CASE WHEN seconds IS NULL THEN written END AS unread
FROM ({select})
"""
_EVENTS = """
SELECT session, item, kind, seconds, count(*) AS times FROM parsed WHERE fate IS NULL
GROUP BY session, item, kind, seconds ORDER BY session, kind, item, seconds
"""
_TALLY = """
SELECT fate, word, count(*) AS events, count(*) FILTER (timed) AS timed, count(unread) AS unreadable,
    min(unread) AS unread, max(unread) AS also_unread
FROM parsed GROUP BY fate, word ORDER BY fate, word
"""
_TABLES = {"events": _EVENTS, "tally": _TALLY}
_COLUMNS = {
    "events": {"session": "UBIGINT", "item": "VARCHAR", "kind": "UTINYINT", "seconds": "DOUBLE", "times": "BIGINT"},
    "tally": {"fate": "VARCHAR", "word": "VARCHAR"}
    | dict.fromkeys(("events", "timed", "unreadable"), "BIGINT")
    | dict.fromkeys(("unread", "also_unread"), "VARCHAR"),
}
# Of tables that a stranger kept: whether some row is none that we write, or all are more than any file holds. The
# lengths are there for their texts to be read, as only that finds one that is not UTF-8.
_IMPOSSIBLE = {
    "events": """
        SELECT coalesce(bool_or(session IS NULL OR coalesce(item, '') = '' OR coalesce(kind > 1, true)
            OR coalesce(times < 1, true) OR NOT coalesce(abs(seconds), 0) < {last}), false)
            OR coalesce(sum(times), 0) > {most}, max(length(item)) FROM {table}
    """,
    "tally": """
        SELECT coalesce(bool_or(word IS NULL OR coalesce(NOT events >= greatest(timed, unreadable, 1), true)
            OR coalesce(least(timed, unreadable) < 0, true) OR fate NOT IN ({fates})), false)
            OR coalesce(sum(events), 0) > {most},
            max(length(word)), max(length(unread)), max(length(also_unread)) FROM {table}
    """,
}
_MOST = 2**48


class KeptEvents:
    """What is kept of the files of a log, in a folder of the workspace."""

    def __init__(self, folder: Path, digests: Mapping[Path, str | None], work: Path) -> None:
        """Take the folders.

        Args:
            folder: where the tables are kept.
            digests: the sha256 of files; the tables of other files go to `work`.
            work: of this run; it exists.
        """
        self._folder = folder
        self._digests = digests if _is_utf_8(folder) else {}  # the engine writes to no other name
        self._work = work
        self._taken: list[tuple[Path, Path]] = []  # a file, and its tables less their endings
        self._read = 0
        self._known = self._known_files()
        self.reading: Path | None = None  # the file that was begun last
        self.gone: dict[str, int] = {}  # see `count_gone`

    def take(self, engine: Engine, shard: LogShard, select: str) -> None:
        """Read a file, unless its tables are kept.

        Raises:
            duckdb.Error: the file cannot be read to its end.
        """
        self.reading = shard.path
        before = glance(shard.path)
        digest = self._digests.get(shard.path)
        key = None if digest is None else _key(digest, shard, select)
        if key is not None and self._is_kept(engine, key):
            self._taken.append((shard.path, self._folder / key))
            return
        folder = self._work if key is None else self._folder
        name = f"file-{self._read}" if key is None else key
        self._read += 1
        folder.mkdir(exist_ok=True)
        engine.run(_PARSED.format(select=select))
        found = {
            kind: _copy(engine, statement, folder / f"{name}.{kind}.parquet") for kind, statement in _TABLES.items()
        }
        engine.run("DROP TABLE parsed")
        if key is None or before != glance(shard.path):  # it grew meanwhile: what was read is not what the digest says
            self._taken.append((shard.path, self._work_tables(folder, name)))
            return
        sync_directory(folder)
        write_json(folder / f"{key}.json", {"file": digest, **found})
        self._taken.append((shard.path, folder / key))

    def tables(self, kind: str) -> str:
        """The tables of all files that were taken, as a table function; `kind`: `events` or `tally`.

        A file that is there twice counts twice.
        """
        return table_function([path for _, path in self.files(kind)])

    def files(self, kind: str) -> list[tuple[Path, Path]]:
        """Each file of the log, and its table of a kind."""
        return [(file, tables.with_name(f"{tables.name}.{kind}.parquet")) for file, tables in self._taken]

    def count_gone(self, engine: Engine, fate: str) -> None:
        """Let `gone` be the sha256 of files that are no longer part of the log, to how many events of use they had.

        Args:
            engine: reads the tables.
            fate: SQL that is null for events in the period.
        """
        wanted = set(self._digests.values())
        for key, digest in self._known.items():
            path = self._folder / f"{key}.events.parquet"
            if digest in wanted or digest in self.gone:
                continue
            with suppress(OSError, MmscError, duckdb.Error), open_regular(path):
                count = f"SELECT coalesce(sum(times), 0)::BIGINT FROM {table_function([path])} WHERE ({fate}) IS NULL"
                self.gone[digest] = engine.run(count)[0][0]

    def start_over(self) -> None:
        """Forget what was taken so far, though not what is kept."""
        self._taken.clear()

    def forget_others(self) -> None:
        """Remove what is kept of files that are no longer part of the log, and report what was read."""
        wanted, used = set(self._digests.values()), {tables.name for _, tables in self._taken}
        other_way = sum(file in wanted and key not in used for key, file in self._known.items())
        gone = sum(file not in wanted for file in self._known.values())
        if other_way:
            _LOG.info("log: the settings or the columns changed: read again %s", counted(other_way, "file"))
        if self._known:
            kept, now = len(used & self._known.keys()), counted(self._read, "file")
            lost = f"; since the last run, {counted(gone, 'file')} changed or disappeared" if gone else ""
            _LOG.info("log: %s read, %s unchanged and not read again%s", now, counted(kept, "file"), lost)
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if _NAME.fullmatch(path.name) and path.name.partition(".")[0] not in used:
                with suppress(OSError):
                    path.unlink()

    def _work_tables(self, folder: Path, name: str) -> Path:
        """Let tables that are not to be kept be of this run alone; where they are then, less their endings."""
        if folder == self._work:
            return folder / name
        tables = self._work / f"file-{self._read}-{name}"
        for kind in _TABLES:
            target = tables.with_name(f"{tables.name}.{kind}.parquet")
            os.replace(folder / f"{name}.{kind}.parquet", target)  # noqa: PTH105  as in atomic.py
        return tables

    def _known_files(self) -> dict[str, str]:
        """The keys of what is kept, and the sha256 of its file."""
        known = {}
        for path in self._folder.glob("*.json") if self._folder.is_dir() else ():
            about = _read_about(path)
            if _NAME.fullmatch(path.name) and about is not None:
                known[path.stem] = about["file"]
        return known

    def _is_kept(self, engine: Engine, key: str) -> bool:
        """Whether the tables are there, are what was written, and could be of a log: a stranger may have made them."""
        about = _read_about(self._folder / f"{key}.json")
        if about is None:
            return False
        try:
            for kind in _TABLES:
                path = self._folder / f"{key}.{kind}.parquet"
                with open_regular(path) as file:
                    wrong = None if file_digest(file, "sha256").hexdigest() == about.get(kind) else "damaged"
                if wrong is None and not _is_possible(engine, kind, path):
                    wrong = "not of a log"
                if wrong is not None:
                    _LOG.warning("%s is %s: its file is read again", path, wrong)
                    return False
        except (OSError, MmscError):
            return False
        return True


def _is_possible(engine: Engine, kind: str, path: Path) -> bool:
    """Whether a table of a kind has its columns, and rows that can be."""
    table = table_function([path])
    fates = ", ".join(map(literal, FATES))
    try:
        if {name: type_ for name, type_, *_ in engine.run(f"DESCRIBE SELECT * FROM {table}")} != _COLUMNS[kind]:
            return False
        return not engine.run(_IMPOSSIBLE[kind].format(table=table, most=_MOST, fates=fates, last=LAST_SECOND))[0][0]
    except duckdb.Error:
        return False


def table_function(paths: Sequence[Path], *, filename: bool = False) -> str:
    """Several tables as one; with `filename`, a column of that name says which one a row is of."""
    names = ", ".join(literal(str(path)) for path in paths)
    return f"read_parquet([{names}], hive_partitioning=false, filename={str(filename).lower()})"


def _key(digest: str, shard: LogShard, select: str) -> str:
    """What tells the tables of a file from any others."""
    neutral = select.replace(literal(str(shard.place)), "the file")
    return sha256(json.dumps([_VERSION, duckdb.__version__, digest, neutral]).encode()).hexdigest()[:32]


def _copy(engine: Engine, statement: str, path: Path) -> str:
    """Write a table, and return its sha256."""
    new = path.with_name(f"{path.name}.new")
    engine.run(f"COPY ({statement}) TO {literal(str(new))} (FORMAT parquet, COMPRESSION zstd)")
    settle(new)
    with new.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    new.replace(path)
    return found


def _read_about(path: Path) -> dict[str, str] | None:
    try:
        with open_regular(path) as file:
            about = json.loads(file.read())
    except (OSError, ValueError, RecursionError, MmscError):
        return None
    return about if isinstance(about, dict) and isinstance(about.get("file"), str) else None


def _is_utf_8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
