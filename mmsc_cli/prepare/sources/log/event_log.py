"""Read an event log larger than memory: every event is kept, or counted under the reason why it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from mmsc_cli.errors import InputError
from mmsc_cli.files.separated import undecodable_place
from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.aliases import LOG_FORMATS, known_format
from mmsc_cli.prepare.sources.log.event_sql import events_of, trimmed
from mmsc_cli.prepare.sources.log.headerless import check_kinds
from mmsc_cli.prepare.sources.log.log_part import LogPart, part_of, settings_of
from mmsc_cli.prepare.sources.log.log_shard import (
    UNPACKING_ERRORS,
    LogShard,
    is_empty,
    open_log_file,
    open_shard,
    plain_line_ends,
    with_partitions,
)
from mmsc_cli.prepare.sources.log.times import TimeForm, decide_form

# Strings with an offset are turned into UTC, others are taken as UTC.
_TIME_ZONE = "SET TimeZone = 'UTC'"
# Where the engine says which file it could not read: CSV, then JSON.
_FILE_OF_ERROR = re.compile(r"(?:^  file = |in file \")(.+?)(?=\"|$)", re.MULTILINE)


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
    named = [settings_of(path, settings) for path in paths]
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


def _wanted(path: Path, settings: EventsSource) -> list[str]:
    own = settings_of(path, settings)
    return list((own or settings).columns.values())


def _understand(engine: Engine, shards: list[LogShard], settings: EventsSource) -> OpenLog:
    alike_shards: dict[tuple[int, str], list[LogShard]] = {}
    for shard in shards:
        own = settings_of(shard.path, settings)
        export = None if own else known_format(LOG_FORMATS, shard.names)
        key = (settings.logs.index(own) if own else -1, export.name if export else "")
        alike_shards.setdefault(key, []).append(shard)
    log = OpenLog([part_of(of_part, settings, several=len(alike_shards) > 1) for of_part in alike_shards.values()])
    for part in log.parts:
        _check_id_types(engine, part)
        check_kinds(part.shards, part.columns, part.types)
    engine.run(_TIME_ZONE)
    parts = [replace(part, time_form=_time_form(engine, part, settings)) for part in log.parts]
    selects = [(shard, events_of(shard, part)) for part in parts for shard in part.shards]
    return OpenLog(parts, selects)


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


def _time_form(engine: Engine, log: LogPart, settings: EventsSource) -> TimeForm:
    columns = [
        (shard.scan, trimmed(expression[0]), expression[1])
        for shard in log.shards
        if "time" in log.columns and (expression := shard.expression(log.columns["time"]))
    ]
    return decide_form(engine, columns, settings.day_first) if columns else TimeForm()


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
