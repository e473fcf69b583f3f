"""Databases through ADBC: connect without a password in the address, read a query by batches, understand errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.places.address import sqlite_path
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.progress import SILENT, Progress

_DRIVERS = {True: "adbc_driver_sqlite", False: "adbc_driver_postgresql"}
# So that a server that is away, or goes while it is asked, is noticed in seconds; what the address says wins.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "fallback_application_name": "mmsc",
}
_TRIES_LATER = ("08", "53", "55", "57P", "40")  # classes of SQLSTATE: connection, resources, locks, shutdown, conflicts
_REFUSED = re.compile(
    r"FATAL: |no password supplied|certificate|invalid (?:URI|connection|integer|port|sslmode)|failed to open"
)
_SOON_THERE = re.compile(r"starting up|shutting down|too many clients|terminating connection|recovery")
_PRIMARY = "PG_DIAG_MESSAGE_PRIMARY"
LOCK_SECONDS = 60  # so long a query waits for who changes its tables
_QUERY_IN_ERROR = re.compile(r"\s*\n?(?:Query was|query): .*", re.DOTALL)
_TEXTS = ("text", "varchar", "name", "_text", "_varchar")


@contextmanager
def connect(uri: str, where: str, folder: Path = Path()) -> Iterator[Any]:
    """Open a database, in a transaction that is rolled back unless it is committed.

    Args:
        uri: see `check_database`.
        where: what errors call it.
        folder: what the file of SQLite is relative to.

    Raises:
        InputError: the driver is not installed, or the database refuses.
        UnreachableError: the database is away, or goes.
    """
    file = sqlite_path(uri)
    driver = _DRIVERS[file is not None]
    if not (find_spec("adbc_driver_manager") and find_spec(driver)):
        raise InputError(f"{where}: databases need the extra sql, which is not installed", hint=extra_command("sql"))
    dbapi = import_module(f"{driver}.dbapi")
    if file is not None:
        if not (folder / file).is_file():
            raise InputError(
                f"{where}: no file at {folder / file}", hint="the path of SQLite is relative to the recipe"
            )
        uri = f"{(folder / file).absolute().as_uri()}?mode=ro"
    else:
        base, _, given = uri.partition("?")
        names = {parameter.partition("=")[0] for parameter in given.split("&")}
        patience = _PATIENCE | {"options": f"-c%20lock_timeout%3D{LOCK_SECONDS}s"}
        more = [f"{name}={value}" for name, value in patience.items() if name not in names]
        uri = f"{base}?{'&'.join(filter(None, [given, *more]))}"
    with understood(where), dbapi.connect(uri) as connection:
        yield connection


@contextmanager
def understood(where: str) -> Iterator[None]:
    """The errors of a driver as ours."""
    from adbc_driver_manager import Error  # noqa: PLC0415  an extra

    try:
        yield
    except Error as error:
        raise _described(where, error) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # While rows stream, an error of the query is the server's; otherwise the connection is gone.
        ended = isinstance(error, OSError) and "ERROR: " not in str(error)
        if ended or _SOON_THERE.search(str(error)):
            raise _unreachable(where, _first_line(str(error))) from error
        raise InputError(f"{where}: {_first_line(str(error))}") from error


def _described(where: str, error: Any) -> InputError | UnreachableError:
    state = error.sqlstate or ""
    details = {
        key if isinstance(key, str) else key.decode(errors="replace"): value for key, value in error.details or ()
    }
    told = details.get(_PRIMARY)
    text = told.decode(errors="replace") if isinstance(told, bytes) else told or _first_line(str(error))
    if state:
        later = state.startswith(_TRIES_LATER)
    else:
        whole = str(error)
        away = error.status_code.name == "IO" and not _REFUSED.search(whole)
        later = away or bool(_SOON_THERE.search(whole))
    if later:
        return _unreachable(where, text)
    return InputError(f"{where}: {text}", hint=_hint(state, text))


def _unreachable(where: str, text: str) -> UnreachableError:
    return UnreachableError(f"{where}: {text}", hint="look at the database, and run the same command again")


def _hint(state: str, text: str) -> str | None:
    if state == "42501" or "permission denied" in text:
        return "ask for the right, or connect as another user"
    if "password" in text or "authentication" in text:
        return "set PGPASSWORD in the environment, or write the password into ~/.pgpass"
    return None


def _first_line(text: str) -> str:
    """What a driver says, less its own words, the query and its traces: the last that a server said."""
    text = _QUERY_IN_ERROR.sub("", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    fatal = [line for line in lines if "FATAL: " in line]
    line = fatal[-1] if fatal else lines[0]
    return re.sub(r"^(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Execution error \[\w+\]: )?|FATAL:  ?|ERROR:  ?", "", line)


def save_query(uri: str, query: str, path: Path, where: str, folder: Path, progress: Progress = SILENT) -> None:
    """Write the rows of a query into a Parquet file, batch by batch; the query can change nothing.

    Args:
        uri: see `check_database`.
        query: a SELECT.
        path: of the file, which is whole or not there.
        where: what errors call the query.
        folder: what the file of SQLite is relative to.
        progress: told of the rows.

    Raises:
        InputError: the query fails, or has no rows.
        UnreachableError: the database is away, or goes.
        OSError: the disk is full.
    """
    lite = sqlite_path(uri) is not None
    with connect(uri, where, folder) as connection, connection.cursor() as cursor:
        if not lite:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SET LOCAL synchronize_seqscans TO off")  # the same rows in the same order every night
        inner = f"({query.strip().rstrip(';')}\n)"  # a comment may end the query
        cursor.execute(_of_sqlite(cursor, inner) if lite else _of_postgres(cursor, inner))
        reader = cursor.fetch_record_batch()
        with atomic_write(path) as file, pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
            rows = 0
            with progress.task(f"Reading {where}") as task:
                for batch in reader:
                    writer.write_batch(batch)
                    rows += batch.num_rows
                    task.advance(batch.num_rows)
            if not rows:
                raise InputError(f"{where}: the query has no rows", hint="run it by hand")


def _of_postgres(cursor: Any, inner: str) -> str:
    """A query whose columns are of types that have one meaning everywhere: others are text, as psql shows them."""
    schema = cursor.adbc_execute_schema(f"SELECT * FROM {inner} AS q")
    if len(set(schema.names)) < len(schema.names) or all(map(_is_plain, schema)):
        return f"SELECT * FROM {inner} AS q"
    columns = (
        f"q.{quoted(field.name)}"
        + (
            ""
            if _is_plain(field)
            else f"::text[] AS {quoted(field.name)}"
            if _is_list(field)
            else f"::text AS {quoted(field.name)}"
        )
        for field in schema
    )
    return f"SELECT {', '.join(columns)} FROM {inner} AS q"


def _is_list(field: pa.Field) -> bool:
    return bool(pa.types.is_list(field.type) or pa.types.is_large_list(field.type))


def _is_plain(field: pa.Field) -> bool:
    name = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    kind = field.type.value_type if _is_list(field) else field.type
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind):
        return name in _TEXTS
    if name in ("money", "oid"):
        return False
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return bool(is_number or types.is_timestamp(kind) or types.is_date(kind))


def _of_sqlite(cursor: Any, inner: str) -> str:
    """A query whose columns are text: each cell of SQLite has a type of its own, which Arrow does not know."""
    cursor.execute(f"SELECT * FROM {inner} LIMIT 0")
    names = cursor.fetch_arrow_table().schema.names
    return f"SELECT {', '.join(f'CAST({quoted(name)} AS TEXT) AS {quoted(name)}' for name in names)} FROM {inner}"


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'
