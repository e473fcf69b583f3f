"""One file of an event log, by its own header and types, as a table function of DuckDB."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote

import duckdb
import orjson
import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.files.no_text import refuse_no_text
from mmsc_cli.files.separated import Dialect, column_names, sniff_separator, split_fields
from mmsc_cli.files.table_file import find_name
from mmsc_cli.files.unpacking import GZIP_MARK, ZSTD_MARK, check_packing, open_unpacked
from mmsc_cli.prepare.duckdb import Engine, literal

_HEAD_BYTES = 1 << 20
_JSON = "json"  # the column of a shard of JSON lines
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, pa.ArrowException)
_HINT = "write it again, as CSV, JSON lines or Parquet"


@dataclass(frozen=True)
class LogShard:
    """A file of a log.

    Attributes:
        path: as the user knows it.
        scan: a table function that reads it.
        place: the file that it reads, the path itself or a copy or link.
        columns: what SQL calls each column, and its type; by the name in the file.
        repeated: names of several columns.
        json: it has the single column `json`.
        header: the names of separated values, for later shards without a header.
        partitions: the values of folders such as `type=view`, by name.
        header_from: the shard whose header it is read by, having none of its own.
    """

    path: Path
    scan: str
    place: Path
    columns: dict[str, tuple[str, str]]
    repeated: frozenset[str] = frozenset()
    json: bool = False
    header: tuple[str, ...] = ()
    partitions: dict[str, str] = field(default_factory=dict)
    header_from: LogShard | None = None

    @property
    def names(self) -> list[str]:
        """The names of the columns, partitions included."""
        return [*self.columns, *(name for name in self.partitions if name not in self.columns)]

    def expression(self, wanted: str) -> tuple[str, str] | None:
        """SQL for a column and its type; None: the shard lacks it.

        Args:
            wanted: a name, several with ` + ` between them (joined), or a path into nested columns such as
                `event_params.ga_session_id` or `items[].item_id`; see `list_column`.

        Raises:
            InputError: two columns have the name.
        """
        name = find_name(wanted, list(self.columns))
        if name in self.repeated:
            raise InputError(
                f"{self.path}: not a header of distinct names: {name!r} is there twice", hint="name every column once"
            )
        if name is not None:
            return self.columns[name]
        if (name := find_name(wanted, list(self.partitions))) is not None:
            return literal(self.partitions[name]), "VARCHAR"
        if " + " in wanted:
            ends = [self.expression(end) for end in wanted.split(" + ")]
            if any(end is None for end in ends):
                return None
            return f"nullif(concat_ws('|', {', '.join(f'({end[0]})::VARCHAR' for end in ends if end)}), '')", "VARCHAR"
        if self.list_column(wanted) is not None:
            return f"json_extract_string(element, {_json_path(wanted.partition('[].')[2])})", "VARCHAR"
        base, _, rest = wanted.partition(".")
        if rest and (json := self._as_json(base)) is not None:
            return f"coalesce(json_extract_string({json}, {_json_path(rest)}), {_of_key(json, rest)})", "VARCHAR"
        return None

    def list_column(self, wanted: str) -> str | None:
        """SQL for the list that `items[].item_id` leads into, as JSON; None: it leads into none of this shard."""
        base, mark, _ = wanted.partition("[].")
        return self._as_json(base) if mark else None

    def _as_json(self, base: str) -> str | None:
        name = find_name(base, list(self.columns))
        if name is None:
            return None
        return f"json_extract({_JSON}, {_json_path(name)})" if self.json else f"to_json({self.columns[name][0]})"


def _json_path(path: str) -> str:
    return literal("$" + "".join('."' + step.replace('"', "") + '"' for step in path.split(".")))


def _of_key(json: str, key: str) -> str:
    """The value under a key in a list of objects with `key` and `value`, as GA4 writes its parameters."""
    entry = f"list_filter(json_extract({json}, '$[*]'), lambda e: json_extract_string(e, '$.key') = {literal(key)})[1]"
    kinds = ("string_value", "int_value", "double_value", "float_value")
    values = ", ".join(f"json_extract_string({entry}, '$.value.{kind}')" for kind in kinds)
    return f"coalesce({values}, nullif(json_extract_string({entry}, '$.value'), 'null'))"


def identifier(column: str) -> str:
    """A name as it stands in a statement."""
    return '"' + column.replace('"', '""') + '"'


def open_shard(
    engine: Engine, path: Path, folder: Path, number: int, first: LogShard | None, wanted: Sequence[str]
) -> LogShard:
    """Look at the head of a file.

    Args:
        engine: describes Parquet.
        path: the file; a pipe is copied to `folder`.
        folder: for copies and links; it exists until the log has been read.
        number: of the shard, which names them.
        first: the log's first shard, whose header a later part without one follows.
        wanted: the columns that the log must have.

    Raises:
        InputError: there is no such file, or it is unreadable.
    """
    if not path.exists() or path.is_dir():
        raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    shard_path = _place(path, folder, number)
    try:
        with open_log_file(shard_path) as file:
            head = file.read(_HEAD_BYTES)
        with shard_path.open("rb") as packed:
            start = packed.read(8)
        check_packing(path, start)
        packing = "gzip" if start.startswith(GZIP_MARK) else "zstd" if start.startswith(ZSTD_MARK) else "none"
        if packing != "none":
            check_packing(path, head[:8], inside=True)
        if path.suffix.lower() == ".parquet" or head.startswith(b"PAR1"):
            if packing != "none":
                shard_path = folder / f"shard-{number}.parquet"
                with open_unpacked(path) as unpacked, shard_path.open("wb") as copy:
                    shutil.copyfileobj(unpacked, copy)
            return _parquet(engine, path, shard_path)
    except UNPACKING_ERRORS as error:
        raise InputError(f"{path}: not readable: {error}", hint=_HINT) from error
    refuse_no_text(path, head)
    content = head.removeprefix(b"\xef\xbb\xbf")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: not readable: it is UTF-16", hint="save it as UTF-8")
    if content.lstrip().startswith(b"{"):
        return _json_lines(path, shard_path, content, packing)
    return _separated(path, shard_path, content, packing, first, wanted)


@contextmanager
def open_log_file(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked where it is gzip or Zstandard, whatever its name."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(ZSTD_MARK):
        with pa.CompressedInputStream(pa.OSFile(os.fsencode(path)), "zstd") as stream:
            yield stream
        return
    with cast(IO[bytes], gzip.open(path)) if start.startswith(GZIP_MARK) else path.open("rb") as file:
        yield file


def is_empty(path: Path) -> bool:
    """Whether there is nothing in a file (a pipe is not looked at)."""
    if not path.is_file():
        return False
    with suppress(*UNPACKING_ERRORS), open_log_file(path) as file:
        return not file.read(1)
    return False


def _place(path: Path, folder: Path, number: int) -> Path:
    """Where DuckDB reads the file: a link where it takes the name for a pattern or cannot say it; a copy of a pipe."""
    name = str(path.absolute())
    if not path.is_file():
        copy = folder / f"shard-{number}"
        with path.open("rb") as pipe, copy.open("wb") as file:
            while piece := pipe.read(_HEAD_BYTES):
                file.write(piece)
        return copy
    if any(mark in name for mark in "*?[") or not name.isprintable() or not _is_utf_8(name):
        link = folder / f"shard-{number}"
        link.symlink_to(path.absolute())
        return link
    return path


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(engine: Engine, path: Path, shard_path: Path) -> LogShard:
    scan = f"read_parquet([{literal(str(shard_path))}], hive_partitioning=false)"
    try:
        types = {name: kind for name, kind, *_ in engine.run(f"DESCRIBE SELECT * FROM {scan}")}
    except duckdb.Error as error:
        raise InputError(f"{path}: not readable: {str(error).splitlines()[0]}", hint=_HINT) from error
    columns = {}
    for name, kind in types.items():
        # Text is UTF-8, whatever the writer called it.
        sql = f"decode({identifier(name)})" if kind == "BLOB" else identifier(name)
        columns[name.strip()] = sql, "VARCHAR" if kind == "BLOB" else kind
    return LogShard(path, scan, shard_path, columns)


def _json_lines(path: Path, shard_path: Path, head: bytes, packing: str) -> LogShard:
    names: dict[str, None] = {}
    lines = head.splitlines()
    for line in lines[: max(len(lines) - 1, 1)]:
        try:
            record = orjson.loads(line)
        except ValueError:
            continue
        names |= dict.fromkeys(record if isinstance(record, dict) else ())
    scan = f"read_ndjson_objects([{literal(str(shard_path))}], compression={literal(packing)})"
    columns = {
        name.strip(): (f"json_extract_string({_JSON}, {literal(_json_name(name))})", "VARCHAR") for name in names
    }
    return LogShard(path, scan, shard_path, columns, json=True)


def _json_name(name: str) -> str:
    return '$."' + name.replace('"', "") + '"'


def _separated(
    path: Path, shard_path: Path, content: bytes, packing: str, first: LogShard | None, wanted: Sequence[str]
) -> LogShard:
    text = content.decode("utf-8", errors="replace")
    line_end = "\\r" if "\n" not in text and "\r" in text else ""
    lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
    separator = sniff_separator(lines[0] if lines else "")
    header = tuple(column_names(split_fields(lines[0], separator))) if lines else ()
    has_header = True
    if first is not None and first.header and len(header) == len(first.header):
        known = [name for name in (*wanted, *first.header) if find_name(name, header) is not None]
        if not known:
            header, has_header = first.header, False
    if not any(header):
        raise InputError(
            f"{path}: not a header of distinct names: {text[:200]!r}",
            hint="give a table whose first line names its columns",
        )
    inner = [f"c{position}" for position in range(len(header))]
    columns: dict[str, tuple[str, str]] = {}
    for name, sql in zip(header, inner, strict=True):
        if name:
            columns.setdefault(name, (sql, "VARCHAR"))
    options: dict[str, Any] = {
        "auto_detect": "false",
        "header": str(has_header).lower(),
        "delim": literal(separator),
        "quote": "'\"'",
        "escape": literal("\\" if _has_backslashes(lines, separator, len(header)) else '"'),
        "compression": literal(packing),
        "hive_partitioning": "false",
    }
    if line_end:
        options["new_line"] = literal(line_end)
    # Told what it will find, the engine refuses a row that is different; left to guess, it would skip rows.
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in inner)
    written = ", ".join(f"{name}={value}" for name, value in options.items())
    scan = f"read_csv([{literal(str(shard_path))}], {written}, columns={{{types}}})"
    repeated = frozenset(name for name in header if name and header.count(name) > 1)
    return LogShard(path, scan, shard_path, columns, repeated, header=header, header_from=None if has_header else first)


def _has_backslashes(lines: Sequence[str], separator: str, width: int) -> bool:
    """Whether quotes within quotes are written with a backslash: only so do the first rows fit the header."""
    sample = [line + "\n" for line in lines[: max(len(lines) - 1, 2)]]
    if not any('\\"' in line for line in sample):
        return False

    def fits(dialect: Dialect) -> bool:
        try:
            return all(len(row) == width for _, row in dialect.read(sample))
        except ValueError:
            return False

    return not fits(Dialect(separator)) and fits(Dialect(separator, backslash=True))


def with_partitions(shard: LogShard, base: Path) -> LogShard:
    """The shard with the values of folders such as `type=view` between `base` and the file."""
    folders = shard.path.parent.relative_to(base).parts if shard.path.is_relative_to(base) else ()
    values = dict(folder.split("=", 1) for folder in folders if "=" in folder)
    return replace(shard, partitions={name: unquote(value) for name, value in values.items()})


def plain_line_ends(shard: LogShard, folder: Path, number: int) -> Path | None:
    """A copy of separated values whose lines all end with a line feed; None where they all do, or all end otherwise.

    A carriage return that ends no line is a blank.
    """
    if not shard.header:
        return None
    copy = folder / f"plain-{number}.csv"
    mixed = False
    with suppress(*UNPACKING_ERRORS), open_log_file(shard.path) as file, copy.open("wb") as target:
        for line in file:
            plain = line.replace(b"\r\n", b"\n").replace(b"\r", b" ")
            mixed |= plain != line
            target.write(plain)
        return copy if mixed else None
    return None  # it breaks off: the engine has said so
