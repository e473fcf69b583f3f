"""Reading an event log: CSV or Parquet, larger than memory, every event kept or counted under the reason it was not."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import IO, Any, cast, get_args

import duckdb

from mmsc_cli.errors import InputError
from mmsc_cli.files.table_file import sniff_separator, split_fields, undecodable_place
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.settings import EventColumn, EventsSource

VIEW, PURCHASE = 0, 1

# Strings with an offset are turned into UTC, others are taken as UTC.
_TIME_ZONE = "SET TimeZone = 'UTC'"
# Numbers are seconds, milli-, micro- or nanoseconds since 1970, told apart by size: 1e11 seconds are the year 5138.
_EPOCH = """
    CASE WHEN abs({0}) < 1e11 THEN {0} WHEN abs({0}) < 1e14 THEN {0} / 1e3 WHEN abs({0}) < 1e17 THEN {0} / 1e6
    ELSE {0} / 1e9 END
"""
_NORMALISED = """
CREATE VIEW normalised AS
SELECT *, CASE
    WHEN coalesce(session, '') = '' OR coalesce(item, '') = '' THEN 'events_without_id'
    WHEN kind IS NULL THEN 'events_of_other_type'
    WHEN seconds IS NULL OR NOT isfinite(seconds) THEN 'events_without_time'
    WHEN seconds < {since} OR seconds >= {until} THEN 'events_outside_period'
END AS fate
FROM (
    SELECT {session} AS session, {item} AS item, {seconds} AS seconds, CASE
        WHEN trim({type}::VARCHAR) IN ({views}) THEN {view_kind}
        WHEN trim({type}::VARCHAR) IN ({purchases}) THEN {purchase_kind}
    END::UTINYINT AS kind
    FROM {log}
)
"""
FATES = ("events_without_id", "events_of_other_type", "events_without_time", "events_outside_period")


def log_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a log that a recipe in `folder` names, in the order of their names.

    Raises:
        InputError: it is no pattern.
    """
    whole = folder / pattern
    try:
        # Through the anchor, so that an absolute pattern works too.
        found = sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"source.events: {pattern!r} is no pattern of file names: {error}", hint="for example log-2024-*.parquet"
        ) from error
    return found or [whole]


def open_log(engine: Engine, paths: Sequence[Path], settings: EventsSource) -> None:
    """Make the view `normalised` of a log: session, item (text), kind (VIEW or PURCHASE), seconds, and fate.

    `fate` is one of FATES for an event that is no use, else null. Nothing is read yet but the head of the file.

    Raises:
        InputError: there is no such file, or it lacks a column.
        duckdb.Error: a column is of a type that makes no sense there; see `describe_unreadable`.
    """
    if not paths:
        raise InputError(f"no file at {settings.events}", hint="paths in [source] are relative to the recipe file")
    for path in paths:
        if not path.is_file():
            raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    log, types = _log(engine, paths)
    ours = {name: settings.columns.get(name, name) for name in get_args(EventColumn)}
    for name, theirs in ours.items():
        # A log without times is fine as long as no question of time is asked.
        if theirs not in types and (name != "time" or "time" in settings.columns or _asks_for_time(settings)):
            raise InputError(
                f"{paths[0]}: no column {theirs!r} among {list(types)}",
                hint=f'map yours under [source.columns], for example {name} = "{name}_id"',
            )
    time_column = ours["time"]
    engine.run(_TIME_ZONE)
    engine.run(
        _NORMALISED.format(
            log=log,
            session=_text(ours["session"], types),
            item=_text(ours["item"], types),
            type=_name(ours["type"]),
            seconds=_seconds(_name(time_column), types[time_column]) if time_column in types else "0::DOUBLE",
            views=_literals(settings.types.get("view", [])),
            purchases=_literals(settings.types.get("purchase", [])),
            view_kind=VIEW,
            purchase_kind=PURCHASE,
            since=_bound(settings.since, "'-infinity'::DOUBLE"),
            until=_bound(settings.until, "'infinity'::DOUBLE"),
        )
    )


def describe_unreadable(error: duckdb.Error, paths: Sequence[Path]) -> InputError:
    """What to tell the user of a log that the engine could not read to its end."""
    reason = str(error).removeprefix("Invalid Input Error: ").splitlines()
    first = " ".join(reason[:1])
    if "unicode" in str(error).lower():
        for path in paths:
            with _open(path) as file:
                if place := undecodable_place(file):
                    return InputError(f"{path}: {place}", hint="save it as UTF-8")
    detail = next((line for line in reason[1:] if not line.startswith(("Original Line", " ")) and line.strip()), "")
    names = ", ".join(map(str, paths))
    return InputError(f"{names}: not readable: {first} {detail}".rstrip(), hint="check separator and quotes")


def _log(engine: Engine, paths: Sequence[Path]) -> tuple[str, dict[str, str]]:
    """The log as a table function of the engine, and its columns with their types."""
    files = f"[{_literals([str(path) for path in paths])}]"
    if paths[0].suffix.lower() == ".parquet":
        log = f"read_parquet({files})"
        try:
            return log, {name: kind for name, kind, *_ in engine.run(f"DESCRIBE SELECT * FROM {log}")}
        except duckdb.Error as error:
            raise describe_unreadable(error, paths) from error
    try:
        with _open(paths[0]) as file:
            head = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n")
    except (OSError, EOFError) as error:
        raise InputError(f"{paths[0]}: not readable: {error}", hint="write it again, as CSV or Parquet") from error
    separator = sniff_separator(head)
    names = [name.strip() for name in split_fields(head, separator)]
    if not names or len(set(names)) < len(names) or not all(names):
        raise InputError(f"{paths[0]}: not a header of distinct names: {head[:200]!r}", hint="name every column once")
    # Told what it will find, the engine refuses a row that is different; left to guess, it would skip rows.
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    options = f"auto_detect=false, header=true, delim={literal(separator)}, quote='\"', escape='\"'"
    return f"read_csv({files}, {options}, columns={{{columns}}})", dict.fromkeys(names, "VARCHAR")


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _asks_for_time(settings: EventsSource) -> bool:
    return any(value is not None for value in (settings.window_minutes, settings.since, settings.until))


def _text(name: str, types: dict[str, str]) -> str:
    """An id as text. 7.0 is 7: a column of whole numbers with gaps is often stored as floats."""
    column = _name(name)
    if types[name] in ("DOUBLE", "FLOAT"):
        whole = f"{column} = floor({column}) AND abs({column}) < 1e18"
        column = f"CASE WHEN {whole} THEN {column}::BIGINT::VARCHAR WHEN NOT isnan({column}) THEN {column}::VARCHAR END"
    return f"trim(({column})::VARCHAR)"


def _seconds(column: str, kind: str) -> str:
    if kind == "VARCHAR":
        number = _EPOCH.format(f"try_cast({column} AS DOUBLE)")
        return f"coalesce({number}, epoch(try_cast({column} AS TIMESTAMPTZ)))"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"epoch({column})::DOUBLE"
    return _EPOCH.format(f"{column}::DOUBLE")


def _bound(moment: date | datetime | None, missing: str) -> str:
    if moment is None:
        return missing
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return repr((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literals(texts: Sequence[Any]) -> str:
    return ", ".join(map(literal, texts)) or "NULL"
