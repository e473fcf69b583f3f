"""Files of an event log that are read alike, and which of their columns is which of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from mmsc_cli.prepare.settings import EventColumn, EventsSource, EventType, LogSettings
from mmsc_cli.prepare.sources.aliases import LOG_FORMATS, Format, alike, known_format
from mmsc_cli.prepare.sources.columns import missing_columns
from mmsc_cli.prepare.sources.log.log_shard import LogShard
from mmsc_cli.prepare.sources.log.times import TimeForm

_MAPPING, _OWN_MAPPING = "[source.columns]", "[source.logs.columns]"


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


def part_of(shards: list[LogShard], settings: EventsSource, *, several: bool) -> LogPart:
    """Say how some files are read by their own export, by one of `source.logs`, or by the recipe's columns.

    Args:
        shards: the files, all alike.
        settings: the recipe's `[source]`.
        several: the log has files of other kinds too.

    Raises:
        InputError: a file lacks a column.
    """
    asks_for_time = needs_times(settings)
    if (own := settings_of(shards[0].path, settings)) is not None:
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


def is_named(path: Path, names: str | Sequence[str]) -> bool:
    """Whether a path, or its end, is one of some names, or matches one that is a pattern."""
    if not isinstance(names, str):
        return any(is_named(path, name) for name in names)
    parts = Path(names).parts
    return path.parts[-len(parts) :] == parts or (bool(parts) and path.match(names))


def settings_of(path: Path, settings: EventsSource) -> LogSettings | None:
    """The first of `source.logs` that names a file."""
    return next((log for log in settings.logs if is_named(path, log.files)), None)


def needs_times(settings: EventsSource) -> bool:
    """Whether something of the recipe needs the times of events."""
    return any(value is not None for value in (settings.window_minutes, settings.since, settings.until))


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
