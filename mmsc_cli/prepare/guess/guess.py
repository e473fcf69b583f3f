"""From files to the settings of a source: what each file is, which columns it has, what its events are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.guess.arguments import MEANT, Source, is_stray
from mmsc_cli.prepare.guess.event_types import types_of
from mmsc_cli.prepare.guess.head import read_head
from mmsc_cli.prepare.guess.own_logs import LogFile, OwnLog, own_logs, settle
from mmsc_cli.prepare.guess.roles import column_of, id_candidates, item_candidates, time_doubts
from mmsc_cli.prepare.guess.tables import Kind, Table, recognise
from mmsc_cli.prepare.settings import EventsSource, EventType, IdMatch
from mmsc_cli.prepare.sources.aliases import SHOPPER_COLUMNS
from mmsc_cli.prepare.sources.log.event_log import describe_unreadable, event_words
from mmsc_cli.prepare.sources.meeting import HARDLY, change_that_meets

_VISIT_MINUTES = 30
# So much better than the column with the likeliest name must another one fit.
_FAR_BETTER = 2
_NAMED = 8


@dataclass
class Guess:
    """What was decided.

    Attributes:
        sources: the files, folders or patterns of each kind of data.
        tables: a table of each layout, by kind.
        log_files: all files of events.
        amazon_files: those that a recipe of Amazon's metadata cannot name: they are given as --input.
        logs: the logs that have columns of their own in the recipe.
        columns: what the recipe maps for all other files: our columns to the files'.
        types: our types of events to the log's words.
        words: how many events of each type the log has.
        window_minutes: the longest time between two events of a pair, where sessions are shoppers.
        all_purchases: the log has no types of events, and is no log of views.
        match_ids: when an id of the log or of pairs is an item's.
        notes: what else a person should know.
        warnings: what a person should look at, as the data look wrong. `prepare` says it too.
        gaps: what nobody but the user knows, a sentence each: the recipe is no good until it is filled in.
    """

    sources: dict[Kind, list[str]]
    tables: dict[Kind, list[Table]]
    log_files: list[Path] = field(default_factory=list)
    amazon_files: list[Path] = field(default_factory=list)
    logs: list[OwnLog] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    types: dict[EventType, list[str]] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    window_minutes: int | None = None
    all_purchases: bool = False
    match_ids: IdMatch = "exact"
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def columns_of(self, table: Table) -> dict[str, str]:
        """Our columns to those of a table, as the recipe maps them."""
        return table.columns if any(log.table is table for log in self.logs) else self.columns

    def decisions(self) -> Iterator[str]:
        """Yield what was decided, a line each."""
        for kind, tables in self.tables.items():
            for table in tables:
                names = ", ".join(self.sources[kind])
                export = f" ({table.export.name} export)" if table.export else ""
                yield f"{kind}: {names if len(tables) == 1 else table.head.path}{export}"
                for ours, theirs in described_columns(table, self.columns_of(table)).items():
                    yield f"  {ours} ← {theirs}"
                if unused := unused_columns(table, self.columns_of(table)):
                    yield f"  not used: {shortened(unused)}"
        logs = self.tables.get("events", [])
        files = {id(log.table): ", ".join(log.files) for log in self.logs}
        for table in logs if len(logs) > 1 or self.logs else ():
            if type_column(table, self.columns_of(table)) is None:
                yield f"  {table.rows or 'purchase'} ← {files.get(id(table), table.head.path.name)} (all rows)"
        if self.words:
            columns = (type_column(table, self.columns_of(table)) for table in self.tables["events"])
            column = " or ".join(dict.fromkeys(filter(None, columns)))
            for name, words in self.types.items():
                for word in words:
                    yield f"  {name} ← {column} = {word} ({self.words[word]:,})"
            used = {word for words in self.types.values() for word in words}
            if left := [f"{word} ({count:,})" for word, count in self.words.items() if word not in used]:
                yield f"  left out: {column} = {', '.join(left)}"
        yield from self.notes


def described_columns(table: Table, mapping: Mapping[str, str]) -> dict[str, str]:
    """What a table calls our columns, for a person to read."""
    texts: dict[str, str] = {}
    for ours, theirs in table.export.columns.items() if table.export else ():
        names = [name for name in theirs if _first_step(name) in table.head.names]
        if names:
            texts[ours] = ", else ".join(f'"{name}"' for name in names)
    texts |= {ours: f'"{theirs}"' for ours, theirs in table.columns.items()}
    if table.kind in ("items", "events"):
        ours_of = "item_id" if table.kind == "items" else "item"
        texts |= {ours_of: f'"{mapping[ours_of]}"'} if ours_of in mapping else {}
    return texts


def unused_columns(table: Table, mapping: Mapping[str, str]) -> list[str]:
    """The columns of a table that are not read; none of a known export, which has many of them."""
    if table.export is not None:
        return []
    return [name for name in table.head.names if name not in mapping.values()]


def shortened(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f'"{name}"' for name in names[:_NAMED]) + more


def _first_step(name: str) -> str:
    """The column in which a path into nested columns begins."""
    return name.split(" + ")[0].split("[")[0].split(".")[0]


def type_column(table: Table, mapping: Mapping[str, str]) -> str | None:
    """The column of a log that says of which type an event is."""
    if table.export is not None:
        return next(iter(table.export.columns.get("type", ())), None)
    return mapping.get("type")


def guess(sources: Sequence[Source]) -> Guess:
    """Decide what files are and how they are read.

    Raises:
        InputError: it cannot be told what a file is, or the files make no source together.
    """
    decided = _sort(sources)
    if decided.tables.keys() == {"amazon"}:
        return decided
    _check_together(decided)
    for tables in decided.tables.values():
        for table in tables:
            if decided.columns_of(table) is not table.columns:
                decided.columns |= table.columns
    if "items" in decided.tables and "events" in decided.tables:
        for log in [log.table for log in decided.logs] or decided.tables["events"][:1]:
            _meet(decided, log)
    if "items" in decided.tables:
        _spell_alike(decided)
    for table in (table for tables in decided.tables.values() for table in tables):
        decided.gaps += [
            f"{table.head.path}: no column is known to be {name}"
            + (
                f"; it is one of {shortened(unused)}"
                if (unused := unused_columns(table, decided.columns_of(table)))
                else ""
            )
            for name in table.missing
            if name not in decided.columns_of(table)
        ]
    if "events" in decided.tables:
        decided.warnings += [
            f"{table.head.path}: {doubt}"
            for table in decided.tables["events"]
            if table.export is None and (doubt := time_doubts(table.head, decided.columns_of(table)))
        ]
        _read_types(decided)
    return decided


def _sort(sources: Sequence[Source]) -> Guess:
    decided = Guess({}, {})
    strays = [source for source in sources if is_stray(source)] if len(sources) > MEANT else []
    decided.notes += [f"not used: {source.text}: no data" for source in strays]
    logs: list[LogFile] = []
    for source in (source for source in sources if source not in strays):
        kinds: dict[Kind, list[Path]] = {}
        for file in source.files:
            try:
                table = recognise(read_head(file))
            except InputError as error:
                if len(source.files) == 1:
                    raise
                decided.notes.append(f"not used: {error.message}")
                continue
            if table.missing and len(source.files) > 1:
                decided.notes.append(f"not used: {file}: no column is known to be {', '.join(table.missing)}")
                continue
            kinds.setdefault(table.kind, []).append(file)
            known = decided.tables.setdefault(table.kind, [])
            if table.kind == "events":
                logs.append(LogFile(table, source))
            elif table.layout not in [other.layout for other in known]:
                known.append(table)
        if not kinds:
            raise InputError(
                f"{source.text}: no items, events or pairs in it", hint=decided.notes[0] if decided.notes else None
            )
        for kind, files in kinds.items():
            whole = len(kinds) == 1 and len(files) == len(source.files)
            decided.sources.setdefault(kind, []).extend([source.text] if whole else map(str, files))
            decided.log_files += files if kind == "events" else []
            decided.amazon_files += files if kind == "amazon" else []
    if logs:
        logs = settle(logs)
        decided.logs = own_logs(logs)
        by_layout: dict[object, Table] = {}
        for log in logs:
            by_layout.setdefault(log.table.layout, log.table)
        decided.tables["events"] = list(by_layout.values())
    return decided


def _check_together(decided: Guess) -> None:
    sources, tables = decided.sources, decided.tables
    if "amazon" in sources:
        raise InputError(
            f"{sources['amazon'][0]} is Amazon's metadata, which says itself what was viewed and bought",
            hint="give it without other files",
        )
    if "events" in sources and "pairs" in sources:
        raise InputError(
            f"{sources['events'][0]} holds events and {sources['pairs'][0]} holds pairs", hint="give one of the two"
        )
    if not sources.keys() & {"events", "pairs"}:
        raise InputError(
            f"{', '.join(sources['items'])}: items alone say nothing of what shoppers viewed or bought",
            hint="give a log of events, orders, or a file of pairs as well",
        )
    if "pairs" in sources and "items" not in sources:
        raise InputError(f"{sources['pairs'][0]}: pairs need items", hint="give the file of items as well")
    for kind in ("items", "pairs"):
        files = sources.get(kind, [])
        if len(tables.get(kind, [])) > 1:
            names = [f"{table.head.path} ({', '.join(table.head.names[:6])})" for table in tables[kind]]
            raise InputError(
                f"several files hold {kind}: {', '.join(names if len(names) > 1 else files)}",
                hint=f"give one file of {kind}, or files with the same columns",
            )


def _meet(decided: Guess, log: Table) -> None:
    """Choose the columns of ids by the ids that both files have, where those with the likeliest names hardly meet."""
    (items,), columns = decided.tables["items"], decided.columns_of(log)
    if "item" in log.missing:
        ids = set(items.head.texts(decided.columns.get("item_id") or _id_of_export(items)))
        if (theirs := column_of(log.head, ids, log.columns.values())) is not None:
            columns["item"] = theirs
        return
    item_ids = {name: set(items.head.texts(name)) for name in id_candidates(items.head)}
    chosen_item = decided.columns.get("item_id") or (items.export.columns["item_id"][0] if items.export else None)
    chosen_log = columns.get("item") or (log.export.columns["item"][0] if log.export else None)
    if chosen_item is None or chosen_log is None:
        return
    if decided.logs and log is not decided.logs[0].table:  # the first log has chosen the column of the items
        item_ids = {chosen_item: set(items.head.texts(chosen_item))}
    known = set(items.head.texts(chosen_item))
    if items.export and "group" in items.export.columns:
        known |= set(items.head.texts(items.export.columns["group"][0]))
    log_ids = {name: set(log.head.texts(name)) for name in (chosen_log, *item_candidates(log.head))}
    share = _share(log_ids[chosen_log], known)
    best = max(
        ((_share(ids, others), name, theirs) for name, ids in log_ids.items() for theirs, others in item_ids.items()),
        default=(0.0, "", ""),
    )
    if best[0] > _FAR_BETTER * share and best[0] > 0:
        if best[1] != chosen_log:
            columns["item"] = best[1]
        if best[2] != chosen_item:
            decided.columns["item_id"] = best[2]
        decided.notes.append(
            f'the ids of "{best[1]}" in {log.head.path.name} are those of "{best[2]}" in {items.head.path.name}'
        )


def _id_of_export(items: Table) -> str:
    return items.export.columns["item_id"][0] if items.export else ""


def _spell_alike(decided: Guess) -> None:
    """Find the change of spelling with which the ids of a log or of pairs are items, where hardly any is."""
    (items,) = decided.tables["items"]
    ids = set(items.head.texts(decided.columns.get("item_id") or _id_of_export(items)))
    other = next((table for kind in ("events", "pairs") for table in decided.tables.get(kind, ())), None)
    if other is None:
        return
    columns = decided.columns_of(other)
    ends = [columns[name] for name in ("item", "a", "b") if name in columns]
    ends += list(other.export.columns["item"][:1]) if other.export and not ends else []
    theirs = {text for name in ends for text in other.head.texts(name)}
    groups = items.export.columns.get("group", ()) if items.export else [decided.columns.get("group", "")]
    known = ids.union(*(items.head.texts(name) for name in groups if name))
    if _share(theirs, known) < HARDLY and (change := change_that_meets(theirs, ids)) is not None:
        decided.match_ids, text = change
        decided.notes.append(f'the ids of {other.head.path.name} are items if {text} (match_ids = "{change[0]}")')


def _share(ids: set[str], others: set[str]) -> float:
    return len(ids & others) / len(ids) if ids else 0.0


def _read_types(decided: Guess) -> None:
    """Count the types of events in the whole log, and say what they mean."""
    tables = decided.tables["events"]
    typed = [table for table in tables if type_column(table, decided.columns_of(table))]
    decided.all_purchases = not typed and not any(table.rows == "view" for table in tables)
    shoppers = [table for table in tables if _of_shoppers(table, decided.columns_of(table))]
    if shoppers and not all(_has_time(table, decided.columns_of(table)) for table in tables):
        decided.notes.append("  a session is a shopper, and there are no times: all that a shopper did makes pairs")
    elif shoppers:
        decided.window_minutes = _VISIT_MINUTES
        decided.notes.append(
            f"  a session is a shopper: only events within {_VISIT_MINUTES} minutes make a pair (window_minutes)"
        )
    if decided.all_purchases and not decided.logs:
        decided.notes.append("  no column of types: all events are purchases")
    if not typed:
        return
    if any(table.missing and not {"session", "item"} <= decided.columns_of(table).keys() for table in tables):
        own = [(table, type_column(table, decided.columns_of(table))) for table in typed if table.export is None]
        texts = [text for table, name in own if name for text in table.head.texts(name)]
        decided.words = dict(Counter(texts).most_common())
        decided.types = types_of(decided.words)
        return
    settings = log_settings(decided)
    with TemporaryDirectory() as folder, Engine(Path(folder)) as engine:
        try:
            decided.words = event_words(engine, decided.log_files, settings, Path(folder))
        except duckdb.Error as error:
            raise describe_unreadable(error, decided.log_files) from error
    decided.types = types_of(decided.words)
    if not decided.types and len(typed) == len(tables):
        words = ", ".join(f"{word!r} ({count:,})" for word, count in list(decided.words.items())[:8])
        decided.gaps.append(
            f"{typed[0].head.path}: no type of events is known to be a view or a purchase: {words}; name those that "
            'are under [source.types]: view = ["..."] and purchase = ["..."]'
        )
    orders = [table for table in tables if table not in typed and table.rows != "view"]
    if orders and decided.types.pop("purchase", []):
        decided.notes.append("  the orders say what was bought: the log's own purchases are left out")


def _of_shoppers(table: Table, columns: Mapping[str, str]) -> bool:
    session = columns.get("session", "")
    if table.export is not None:
        session = next(iter(table.export.columns["session"]), "")
        if " + " in session:
            return False
    return any(word in session.lower() for word in SHOPPER_COLUMNS) and "session" not in session.lower()


def _has_time(table: Table, columns: Mapping[str, str]) -> bool:
    return "time" in columns or (table.export is not None and "time" in table.export.columns)


def log_settings(decided: Guess) -> EventsSource:
    """The settings under which the log is read, as far as they are known."""
    names = ("session", "item", "type", "time", "quantity")
    columns: dict[str, Any] = {name: decided.columns[name] for name in names if name in decided.columns}
    logs: list[Any] = [
        {"files": log.files, "columns": log.table.columns} | ({"rows": log.table.rows} if log.table.rows else {})
        for log in decided.logs
    ]
    return EventsSource(kind="events", events=decided.sources["events"], columns=columns, types={}, logs=logs)
