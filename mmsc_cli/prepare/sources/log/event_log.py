"""Read an event log larger than memory: every event is kept, or counted under the reason why it is not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, get_args

import duckdb

from mmsc_cli.errors import InputError
from mmsc_cli.files.item_fields import NULL_WORDS
from mmsc_cli.files.separated import undecodable_place
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.settings import EventColumn, EventsSource, EventType, LogSettings
from mmsc_cli.prepare.sources.aliases import LOG_FORMATS, Format, alike, known_format
from mmsc_cli.prepare.sources.columns import missing_columns
from mmsc_cli.prepare.sources.log.headerless import check_kinds
from mmsc_cli.prepare.sources.log.log_shard import (
    UNPACKING_ERRORS,
    LogShard,
    is_empty,
    open_log_file,
    open_shard,
    plain_line_ends,
    with_partitions,
)
from mmsc_cli.prepare.sources.log.times import TimeForm, decide_form, seconds_sql

VIEW, PURCHASE = 0, 1
_MAPPING, _OWN_MAPPING = "[source.columns]", "[source.logs.columns]"

# Strings with an offset are turned into UTC, others are taken as UTC.
_TIME_ZONE = "SET TimeZone = 'UTC'"
_BLANKS = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)))
_BLANKS += "\u202f\u205f\u3000"
# What becomes of an event, whenever it was: null where it is of use in its time.
_OF_FILE = """
SELECT *, CASE
    WHEN kind IS NULL THEN 'events_of_other_type'
    WHEN coalesce(session, '') = '' OR coalesce(item, '') = '' THEN 'events_without_id'
    WHEN cancelled THEN 'events_cancelled'
END AS fate
FROM ({shard})
"""
_TIME_FATE = """CASE
    WHEN {asks} AND (seconds IS NULL OR NOT isfinite(seconds)) THEN 'events_without_time'
    WHEN seconds < {since} OR seconds >= {until} THEN 'events_outside_period'
END"""
_SHARD = """
SELECT {session} AS session, {item} AS item, {seconds} AS seconds, {kind}::UTINYINT AS kind,
    {word} AS word, {cancelled} AS cancelled, {written} AS written
FROM {scan} AS t {unnest}
"""
_UNNEST = "LEFT JOIN LATERAL (SELECT unnest(json_extract({}, '$[*]')) AS element) AS u ON true"
# Where the engine says which file it could not read: CSV, then JSON.
_FILE_OF_ERROR = re.compile(r"(?:^  file = |in file \")(.+?)(?=\"|$)", re.MULTILINE)
FATES = (
    "events_without_id",
    "events_of_other_type",
    "events_without_time",
    "events_outside_period",
    "events_cancelled",
)


@dataclass(frozen=True)
class LogPart:
    """Files of a log that are read alike: as a known export, by one of `source.logs`, or by the recipe's columns.

    Attributes:
        shards: the files.
        export: the known export that they are.
        columns: our columns to the files'; without `type` all events are what `rows` says.
        types: our event types to the files' words.
        time_form: how the times are written.
        rows: what all events are, where no column says it.
        own: read by one of `source.logs`.
    """

    shards: list[LogShard]
    export: Format | None
    columns: dict[str, str]
    types: Mapping[str, Sequence[str]]
    time_form: TimeForm = field(default_factory=TimeForm)
    rows: EventType = "purchase"
    own: bool = False

    @property
    def mapping(self) -> str:
        """The table of the recipe that maps its columns."""
        return _OWN_MAPPING if self.own else _MAPPING


@dataclass(frozen=True)
class OpenLog:
    """A log that can be read.

    Attributes:
        parts: its files, by what they are.
        selects: each file, and the statement that yields its events: session, item (text), kind (VIEW or PURCHASE),
            seconds, word (its type), written (what the log holds for a time), and fate: one of FATES for an event that
            is of no use at any time, else null (see `time_fate`).
    """

    parts: list[LogPart]
    selects: list[tuple[LogShard, str]] = field(default_factory=list)

    @property
    def shards(self) -> list[LogShard]:
        """Its files."""
        return [shard for part in self.parts for shard in part.shards]

    @property
    def events(self) -> str:
        """SQL for the events of all files."""
        return " UNION ALL ".join(select for _, select in self.selects)

    @property
    def types_are_a_guess(self) -> bool:
        """Whether the words for the types are the recipe's, not those of a known export."""
        return any(
            part.export is None
            or {name: list(words) for name, words in part.export.types.items()}
            != {name: list(words) for name, words in part.types.items()}
            for part in self.parts
            if "type" in part.columns
        )

    def has(self, column: str) -> bool:
        """Whether some of its files have one of our columns."""
        return any(column in part.columns for part in self.parts)


def open_log(
    engine: Engine, paths: Sequence[Path], settings: EventsSource, folder: Path, base: Path | None = None
) -> OpenLog:
    """Look at the files of a log, and say how they are read.

    Nothing is read yet but the heads of the files, and the times where it takes all of them to tell days from months.

    Args:
        engine: reads them.
        paths: the files, each read by its own header and types.
        settings: the recipe's `[source]`.
        folder: for copies and links, until the log has been read.
        base: see `mmsc_cli.prepare.inputs.log_base`; None: there are no partitions.

    Raises:
        InputError: there is no such file, or it lacks a column.
        duckdb.Error: a column is of a type that makes no sense there; see `describe_unreadable`.
    """
    if not paths:
        raise InputError(f"no file at {settings.events}", hint="paths in [source] are relative to the recipe file")
    named = [_settings_of(path, settings) for path in paths]
    for own in settings.logs:
        if own not in named:
            raise InputError(
                f"source.logs: no file of the log is {own.files}", hint="name files that source.events names too"
            )
    shards: list[LogShard] = []
    # A day without events may have left an empty file.
    read = [path for path in paths if len(paths) == 1 or not is_empty(path)]
    if not read:
        raise InputError(f"{paths[0]}: empty, as are all files of the log", hint="give a file with events")
    for number, path in enumerate(read):
        first = shards[0] if shards else None
        shard = open_shard(engine, path, folder, number, first, _wanted(path, settings))
        shards.append(shard if base is None else with_partitions(shard, base))
    return _understand(engine, shards, settings)


def reopen_with_plain_line_ends(engine: Engine, log: OpenLog, settings: EventsSource, folder: Path) -> OpenLog | None:
    """Open a log again whose lines end in several ways, which the engine cannot read; None: they do not."""
    copies = [plain_line_ends(shard, folder, number) for number, shard in enumerate(log.shards)]
    if not any(copies):
        return None
    shards: list[LogShard] = []
    for number, (copy, shard) in enumerate(zip(copies, log.shards, strict=True)):
        if copy is not None:
            first = shards[0] if shards else None
            plain = open_shard(engine, copy, folder, len(copies) + number, first, _wanted(shard.path, settings))
            shard = replace(plain, path=shard.path, partitions=shard.partitions)
        shards.append(shard)
    return _understand(engine, shards, settings)


def is_named(path: Path, names: str | Sequence[str]) -> bool:
    """Whether a path, or its end, is one of some names, or matches one that is a pattern."""
    if not isinstance(names, str):
        return any(is_named(path, name) for name in names)
    parts = Path(names).parts
    return path.parts[-len(parts) :] == parts or (bool(parts) and path.match(names))


def _settings_of(path: Path, settings: EventsSource) -> LogSettings | None:
    """The first of `source.logs` that names a file."""
    return next((log for log in settings.logs if is_named(path, log.files)), None)


def _wanted(path: Path, settings: EventsSource) -> list[str]:
    own = _settings_of(path, settings)
    return list((own or settings).columns.values())


def _understand(engine: Engine, shards: list[LogShard], settings: EventsSource) -> OpenLog:
    alike_shards: dict[tuple[int, str], list[LogShard]] = {}
    for shard in shards:
        own = _settings_of(shard.path, settings)
        export = None if own else known_format(LOG_FORMATS, shard.names)
        key = (settings.logs.index(own) if own else -1, export.name if export else "")
        alike_shards.setdefault(key, []).append(shard)
    log = OpenLog([_part(of_part, settings, several=len(alike_shards) > 1) for of_part in alike_shards.values()])
    for part in log.parts:
        _check_id_types(engine, part)
        check_kinds(part.shards, part.columns, part.types)
    engine.run(_TIME_ZONE)
    parts = [replace(part, time_form=_time_form(engine, part, settings)) for part in log.parts]
    selects = [(shard, _OF_FILE.format(shard=_select(shard, part))) for part in parts for shard in part.shards]
    return OpenLog(parts, selects)


def time_fate(settings: EventsSource, newest: float | None) -> str:
    """SQL for the fate of an event by its `seconds`, null where it is in the period of the recipe.

    Args:
        settings: the recipe's `[source]`.
        newest: the time of the newest event, from which days are counted back; None: no event has a time.
    """
    since = settings.since
    if isinstance(since, str):
        days = int(since.removesuffix("d"))
        first = "'-infinity'::DOUBLE" if newest is None else repr(newest - 86_400 * days)
    else:
        first = _bound(since, "'-infinity'::DOUBLE")
    asks = str(_asks_for_time(settings)).lower()
    return _TIME_FATE.format(asks=asks, since=first, until=period_end(settings))


def period_end(settings: EventsSource) -> str:
    """SQL for the time from which on events are left out."""
    return _bound(settings.until, "'infinity'::DOUBLE")


def _part(shards: list[LogShard], settings: EventsSource, *, several: bool) -> LogPart:
    asks_for_time = _asks_for_time(settings)
    if (own := _settings_of(shards[0].path, settings)) is not None:
        given = {str(name): theirs for name, theirs in own.columns.items()}
        columns = _columns(shards, given, None, asks_for_time=asks_for_time, own=own)
        types = {str(name): words for name, words in settings.types.items()}
        return LogPart(shards, None, columns, types, rows=own.rows or "purchase", own=True)
    export = known_format(LOG_FORMATS, shards[0].names)
    types = {str(name): words for name, words in settings.types.items()}
    if export is not None and export.types and "types" not in settings.model_fields_set:
        types = {name: list(words) for name, words in export.types.items()}
    given = {str(name): theirs for name, theirs in settings.columns.items()}
    if several and export is not None:  # what the recipe maps may be the columns of the other files
        given = {name: theirs for name, theirs in given.items() if shards[0].expression(theirs) is not None}
    return LogPart(shards, export, _columns(shards, given, export, asks_for_time=asks_for_time), types)


def event_words(engine: Engine, paths: Sequence[Path], settings: EventsSource, folder: Path) -> dict[str, int]:
    """The types of a log's events to how many of each are of an item, the most frequent first; see `open_log`."""
    log = open_log(engine, paths, settings, folder)
    counted = "SELECT word, count(*) FROM ({}) WHERE word <> '' AND item <> '' GROUP BY 1 ORDER BY 2 DESC, 1"
    try:
        return dict(engine.run(counted.format(log.events)))
    except duckdb.Error:
        plain = reopen_with_plain_line_ends(engine, log, settings, folder)
        if plain is None:
            raise
        return dict(engine.run(counted.format(plain.events)))


def _check_id_types(engine: Engine, log: LogPart) -> None:
    """Refuse shards that hold `00123` as text beside others that hold it as the number 123."""
    kinds = [expression[1] for shard in log.shards if (expression := shard.expression(log.columns["item"]))]
    numbers = [shard for shard, kind in zip(log.shards, kinds, strict=True) if kind != "VARCHAR"]
    for shard, kind in zip(log.shards, kinds, strict=True):
        expression = shard.expression(log.columns["item"])
        if numbers and kind == "VARCHAR" and expression and shard.list_column(log.columns["item"]) is None:
            zeros = f"SELECT 1 FROM {shard.scan} WHERE regexp_matches({expression[0]}, '^0[0-9]') LIMIT 1"
            if engine.run(zeros):
                raise InputError(
                    f"{shard.path}: ids such as 00123 are text here, and numbers in {numbers[0].path}",
                    hint="write the ids as text in all files of the log",
                )


def _columns(
    shards: Sequence[LogShard],
    mapping: Mapping[str, str],
    export: Format | None,
    *,
    asks_for_time: bool,
    own: LogSettings | None = None,
) -> dict[str, str]:
    """What each shard calls our columns; every shard must have all that the first has."""
    columns: dict[str, str] = {}
    for name in (*get_args(EventColumn), "cancelled"):
        given = mapping.get(name)
        wanted = (given,) if given else ((export.columns.get(name, ()) if export else ()) or (name,))
        theirs = next((want for want in wanted if shards[0].expression(want) is not None), None)
        if theirs is not None:
            columns[name] = theirs
    says_rows = own is not None and own.rows is not None
    if says_rows:
        columns.pop("type", None)
    names = shards[0].names
    missing = [name for name in ("session", "item") if name not in columns]
    missing += [name for name in mapping if name in get_args(EventColumn) and name not in columns]
    if "time" not in columns and asks_for_time:
        missing.append("time")
    if (
        "type" not in columns
        and not says_rows
        and (export is None or "type" in export.columns)
        and alike("type", names)
    ):
        missing.append("type")
    for shard in shards:
        gone = dict.fromkeys(name for name, theirs in columns.items() if shard.expression(theirs) is None)
        if missing or gone:
            lacking = dict.fromkeys((*missing, *gone))
            theirs_of = {**columns, **mapping}
            sought = {name: theirs_of.get(name, name) for name in lacking}
            table = _OWN_MAPPING if own else _MAPPING
            raise missing_columns(shard.path, sought, shard.names, "events", table)
    return columns


def _time_form(engine: Engine, log: LogPart, settings: EventsSource) -> TimeForm:
    columns = [
        (shard.scan, _trimmed(expression[0]), expression[1])
        for shard in log.shards
        if "time" in log.columns and (expression := shard.expression(log.columns["time"]))
    ]
    return decide_form(engine, columns, settings.day_first) if columns else TimeForm()


def _select(shard: LogShard, log: LogPart) -> str:
    sql = {name: shard.expression(theirs) for name, theirs in log.columns.items()}
    session, item = (_text(*expression) for expression in (sql["session"], sql["item"]) if expression)
    if log.own:
        # A visit 17 and an order 17 of different files are two sessions.
        name = literal(f"{log.columns['session']} ")
        session = f"CASE WHEN ({session}) <> '' THEN {name} || ({session}) END"
    seconds, written, cancelled = "NULL::DOUBLE", "NULL::VARCHAR", "false"
    if expression := sql.get("time"):
        written = f"nullif({_trimmed(expression[0])}, '')"
        seconds = seconds_sql(written, *expression, log.time_form)
    if expression := sql.get("quantity"):
        cancelled = f"coalesce(try_cast(replace({_trimmed(expression[0])}, ',', '.') AS DOUBLE) < 0, false)"
    if expression := sql.get("cancelled"):
        # Only the first row of an order says when it was made and cancelled.
        of_order = f"OVER (PARTITION BY {session})"
        cancelled = f"({cancelled} OR bool_or(coalesce({_trimmed(expression[0])}, '') <> '') {of_order})"
        seconds = f"coalesce({seconds}, min({seconds}) {of_order})"
    word = "NULL::VARCHAR"
    if expression := sql.get("type"):
        word = _trimmed(expression[0])
        kind = (
            f"CASE WHEN {word} IN ({_literals(log.types.get('view', []))}) THEN {VIEW}"
            f" WHEN {word} IN ({_literals(log.types.get('purchase', []))}) THEN {PURCHASE} END"
        )
    else:
        kind = str(VIEW if log.rows == "view" else PURCHASE)
    list_column = shard.list_column(log.columns["item"])
    return _SHARD.format(
        session=session,
        item=item,
        seconds=seconds,
        written=written,
        kind=kind,
        word=word,
        cancelled=cancelled,
        scan=shard.scan,
        unnest=_UNNEST.format(list_column) if list_column else "",
    )


def describe_unreadable(error: duckdb.Error, paths: Sequence[Path]) -> InputError:
    """What to tell the user of a log that the engine could not read to its end.

    Args:
        error: the engine's; where it names one of the files, only that one is named.
        paths: the files that may be meant.
    """
    named = set(_FILE_OF_ERROR.findall(str(error)))
    paths = [path for path in paths if {str(path), str(path.absolute())} & named] or paths
    reason = str(error).removeprefix("Invalid Input Error: ").splitlines()
    first = " ".join(reason[:1])
    if "unicode" in str(error).lower() or "utf8" in str(error).lower():
        for path in paths:
            with suppress(*UNPACKING_ERRORS), open_log_file(path) as file:
                if place := undecodable_place(file):
                    return InputError(f"{path}: {place}", hint="save it as UTF-8")
    detail = next((line for line in reason[1:] if not line.startswith(("Original Line", " ")) and line.strip()), "")
    names = ", ".join(map(str, paths))
    return InputError(f"{names}: not readable: {first} {detail}".rstrip(), hint="check separator and quotes")


def _asks_for_time(settings: EventsSource) -> bool:
    return any(value is not None for value in (settings.window_minutes, settings.since, settings.until))


def _trimmed(column: str) -> str:
    return f"trim(({column})::VARCHAR, {literal(_BLANKS)})"


def _text(column: str, kind: str) -> str:
    """An id as text, null where it is missing. 7.0 is 7: whole numbers with gaps are often stored as floats."""
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{column} = floor({column}) AND abs({column}) < 1e18"
        column = f"CASE WHEN {whole} THEN {column}::BIGINT::VARCHAR WHEN NOT isnan({column}) THEN {column}::VARCHAR END"
    text = _trimmed(column)
    return f"CASE WHEN {text} NOT IN ({_literals(sorted(NULL_WORDS))}) THEN {text} END"


def _bound(moment: date | datetime | None, missing: str) -> str:
    if moment is None:
        return missing
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return repr((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _literals(texts: Sequence[Any]) -> str:
    return ", ".join(map(literal, texts)) or "NULL"
