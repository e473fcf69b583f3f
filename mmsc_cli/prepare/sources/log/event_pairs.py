"""From an event log to pairs: what happens in one session more often than chance would have it.

Raw counts would relate everything to bestsellers. The strength of a pair is its association score instead, over the
sessions that hold an event of the type: shrunk normalised pointwise mutual information (`npmi`, in (0, 1]; Bouma, GSCL
2009, with the discount of Pantel & Lin, KDD 2002, for small counts) or the log-likelihood ratio (`llr`, from 0 on;
Dunning, Computational Linguistics 1993). Pairs that occur together less often than chance are left out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.files.id_column import read_ids
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.records import Delivery, Record, part_path, record_table
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.item_table import read_item_table
from mmsc_cli.prepare.sources.log.event_log import (
    OpenLog,
    describe_unreadable,
    open_log,
    reopen_with_plain_line_ends,
)
from mmsc_cli.prepare.sources.log.event_sql import PURCHASE, VIEW, period_end, time_fate
from mmsc_cli.prepare.sources.log.file_doubts import doubt_files, doubt_items, expect_items
from mmsc_cli.prepare.sources.log.kept_events import KeptEvents
from mmsc_cli.prepare.sources.log.log_doubts import TIMES, WORDS, report_log, seen_words
from mmsc_cli.prepare.sources.log.pair_counts import count_pairs
from mmsc_cli.prepare.sources.log.support import choose_support
from mmsc_cli.prepare.sources.meeting import Catalogue, check_ids_meet, matcher, read_catalogue
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT, Progress

_LOG = logging.getLogger(__name__)
# No shop has kept a log before, or will; a period beyond says that times are misread.
_EARLIEST_DAY, _LATEST_DAY = "1990", "2100"

_OF_FILES = "CREATE OR REPLACE VIEW of_files AS SELECT * FROM {events}"
_TALLY = "CREATE OR REPLACE VIEW tally AS SELECT * FROM {tally}"
_NEWEST = "SELECT max(seconds) FROM of_files WHERE isfinite(seconds) AND NOT coalesce(seconds >= {until}, false)"
_IN_PERIOD = "CREATE OR REPLACE VIEW usable AS SELECT * FROM of_files WHERE ({fate}) IS NULL"
_EVENTS = """
CREATE TABLE log AS
SELECT session, id, kind, seconds, times
FROM usable JOIN raw_items USING (item)
WHERE id IS NOT NULL
"""
_FIRST_SEEN = """
CREATE TABLE seen AS
SELECT session, kind, id AS item, min(seconds) AS seconds, sum(times) AS times
FROM log
GROUP BY session, kind, id
"""
# Variants of a product are also counted as one item, under kinds of their own.
_SEEN_GROUPS = """
INSERT INTO seen
SELECT session, kind + 2, unit, min(seconds), sum(times)
FROM seen JOIN units ON units.id = seen.item
GROUP BY session, kind, unit
"""
# Of a session with too many items the earliest stay; ids break ties, so that the order of the log does not matter.
_OVER_CAP = """
CREATE TABLE over_cap AS
SELECT session, kind, item, times
FROM seen SEMI JOIN (SELECT session, kind FROM seen GROUP BY session, kind HAVING count(*) > $cap) USING (session, kind)
QUALIFY row_number() OVER (PARTITION BY session, kind ORDER BY seconds, item) > $cap
"""
_WITHIN_CAP = "CREATE TABLE kept AS SELECT session, kind, item FROM seen ANTI JOIN over_cap USING (session, kind, item)"
_MARGINALS = "CREATE TABLE marginals AS SELECT kind, item, count(*) AS sessions FROM kept GROUP BY kind, item"
_SESSIONS = "CREATE TABLE totals AS SELECT kind, count(DISTINCT session) AS sessions FROM kept GROUP BY kind"
# An item seen in fewer sessions than a pair needs cannot be in one.
_FREQUENT = """
CREATE TABLE frequent AS
SELECT kept.* FROM kept
SEMI JOIN (
    SELECT marginals.kind, item FROM marginals JOIN support ON support.kind = marginals.kind % 2
    WHERE sessions >= least_sessions
) USING (kind, item)
"""
_FREQUENT_MOMENTS = """
CREATE TABLE frequent_moments AS
SELECT DISTINCT frequent.session, frequent.kind, frequent.item, log.seconds
FROM log JOIN units USING (id)
JOIN frequent ON frequent.session = log.session AND frequent.kind % 2 = log.kind
    AND frequent.item = CASE WHEN frequent.kind < 2 THEN log.id ELSE units.unit END
"""
_SCORES = {
    "npmi": """
        CASE WHEN together = n THEN 1 ELSE ln(together * n / (n_a * n_b)) / -ln(together / n) END
        * together / (together + 1) * least(n_a, n_b) / (least(n_a, n_b) + 1)
    """,
    "llr": """
        2 * (xlogx(together) + xlogx(n_a - together) + xlogx(n_b - together) + xlogx(n - n_a - n_b + together)
             + xlogx(n) - xlogx(n_a) - xlogx(n - n_a) - xlogx(n_b) - xlogx(n - n_b))
    """,
}
_SCORED = """
CREATE TABLE scored AS
SELECT kind, a, b, together, CASE WHEN together * n > n_a * n_b OR together = n THEN {score} ELSE 0 END AS score
FROM (
    SELECT pairs.kind, pairs.a, pairs.b, together::DOUBLE AS together,
        l.sessions::DOUBLE AS n_a, r.sessions::DOUBLE AS n_b, totals.sessions::DOUBLE AS n
    FROM pairs
    JOIN marginals l ON l.kind = pairs.kind AND l.item = pairs.a
    JOIN marginals r ON r.kind = pairs.kind AND r.item = pairs.b
    JOIN totals ON totals.kind = pairs.kind
)
"""
_HINTS = {
    "events_of_other_type": 'say what your log calls them, for example [source.types] view = ["click"] and '
    'purchase = ["order"]',
    "events_without_id": "map the columns session and item under [source.columns]",
    "events_without_time": f"write times as {TIMES}",
    "events_outside_period": "change source.since and source.until",
    "events_cancelled": "map the column quantity to that of the ordered pieces under [source.columns]",
}
_FATES = """
SELECT coalesce(fate, 'usable') AS fate, sum(n)::BIGINT AS events FROM (
    SELECT fate, sum(events) AS n FROM tally WHERE fate IS NOT NULL GROUP BY fate
    UNION ALL
    SELECT {fate} AS fate, sum(times) FROM of_files GROUP BY 1
) GROUP BY 1 ORDER BY 2 DESC, 1
"""
_PERIOD = """
SELECT strftime(make_timestamp((min(seconds) * 1e6)::BIGINT), '%Y-%m-%d'),
    strftime(make_timestamp((max(seconds) * 1e6)::BIGINT), '%Y-%m-%d')
FROM usable WHERE isfinite(seconds)
"""
_XLOGX = "CREATE MACRO xlogx(x) AS CASE WHEN x > 0 THEN x * ln(x) ELSE 0 END"
# What happens together has no direction: the strength stands in both.
_WRITE = """
COPY (
    SELECT l.item AS source, r.item AS target,
        (CASE WHEN kind % 2 = {view} THEN score ELSE 0 END)::FLOAT AS view,
        (CASE WHEN kind % 2 = {purchase} THEN score ELSE 0 END)::FLOAT AS buy,
        (CASE WHEN kind % 2 = {view} THEN together END)::INTEGER AS views_together,
        (CASE WHEN kind % 2 = {purchase} THEN together END)::INTEGER AS purchases_together
    FROM (SELECT * FROM scored UNION ALL SELECT kind, b, a, together, score FROM scored)
    JOIN log_items l ON l.id = a
    JOIN log_items r ON r.id = b
    WHERE score > 0
) TO {path} (FORMAT parquet)
"""


def read_events(
    paths: Sequence[Path],
    items: Sequence[Path],
    settings: EventsSource,
    delivery: Delivery,
    progress: Progress = SILENT,
    *,
    base: Path | None = None,
    kept: KeptEvents | None = None,
) -> None:
    """Read an event log, and a table of items where there is one, into a delivery.

    Args:
        paths: the files of the log.
        items: tables of items; none: the items are the ids of the log.
        settings: the recipe's `[source]`.
        delivery: where records, relations and counts go.
        progress: told of the pairs that may be.
        base: the folder below which folders such as `type=view` are columns; None: there are none.
        kept: the events of files that were read before; None: every file is read.

    Raises:
        InputError: a file is missing or unreadable, or lacks a column; or no event of the log is of use.
    """
    with Engine(delivery.folder, settings.memory_gib) as engine:
        kept = kept or KeptEvents(delivery.folder, {}, delivery.folder)
        log = _read_log(engine, paths, settings, delivery, base, kept)
        kept.count_gone(engine, _count_fates(engine, log, settings, delivery))
        _note_log(engine, log, delivery)
        doubt_files(engine, paths, log, kept, delivery)
        kept.forget_others()
        catalogue = None
        for item_file in items:
            read_item_table(item_file, settings.columns, delivery, settings.category_separator, settings.keep)
        if items:
            catalogue = read_catalogue(delivery)
        _number_items(engine, catalogue, settings, items, delivery)
        expect_items(engine, log, kept, catalogue)
        doubt_items(engine, kept, catalogue, delivery)
        _count_events(engine, settings, delivery)
        if catalogue is None:
            _deliver_ids(engine, delivery)
        _count_pairs(engine, settings, delivery, progress)
        engine.run(_XLOGX)
        engine.run(_SCORED.format(score=_SCORES[settings.score]))
        ((related, by_chance),) = engine.run(
            "SELECT count(*) FILTER (score > 0), count(*) FILTER (NOT score > 0) FROM scored"
        )
        delivery.counts.update(event_pairs_by_chance=by_chance, event_pairs_kept=related, relations=2 * related)
        if not related:
            raise _no_pairs(log, delivery)
        part = literal(str(part_path(delivery.folder, "relations", 0)))
        engine.run(_WRITE.format(view=VIEW, purchase=PURCHASE, path=part))


def _no_pairs(log: OpenLog, delivery: Delivery) -> InputError:
    counts = delivery.counts
    support = ", ".join(f"{name} {sessions}" for name, sessions in delivery.notes["min_support"].items())
    return InputError(
        f"{log.shards[0].path}: no pair of items is left: of {counted(counts['event_pairs'], 'pair')}, "
        f"{counts['event_pairs_below_support']:,} are rarer than min_support ({support}), "
        f"and {counts['event_pairs_by_chance']:,} are no more often together than chance would have it",
        hint="give a longer log" + (", or set source.min_support = 1" if counts["event_pairs_below_support"] else ""),
    )


def _read_log(
    engine: Engine,
    paths: Sequence[Path],
    settings: EventsSource,
    delivery: Delivery,
    base: Path | None,
    kept: KeptEvents,
) -> OpenLog:
    """Read the files of a log that were not read before; make the views `of_files` (events) and `tally` of all."""
    try:
        log = open_log(engine, paths, settings, delivery.folder, base)
        try:
            _take(engine, log, kept)
        except duckdb.Error:
            plain = reopen_with_plain_line_ends(engine, log, settings, delivery.folder)
            if plain is None:
                raise
            log = plain
            kept.start_over()
            _take(engine, log, kept)
    except duckdb.Error as error:
        raise describe_unreadable(error, [kept.reading] if kept.reading else paths) from error
    engine.run(_OF_FILES.format(events=kept.tables("events")))
    engine.run(_TALLY.format(tally=kept.tables("tally")))
    return log


def _take(engine: Engine, log: OpenLog, kept: KeptEvents) -> None:
    for shard, select in log.selects:
        kept.take(engine, shard, select)


def _count_fates(engine: Engine, log: OpenLog, settings: EventsSource, delivery: Delivery) -> str:
    """Make the view `usable` of the events in the period, and count what becomes of all; return SQL for that fate."""
    ((newest,),) = engine.run(_NEWEST.format(until=period_end(settings)))
    fate = time_fate(settings, newest)
    engine.run(_IN_PERIOD.format(fate=fate))
    fates = dict(engine.run(_FATES.format(fate=fate)))
    usable = fates.pop("usable", 0)
    delivery.counts.update(fates, events=usable + sum(fates.values()), usable=usable)
    report_log(engine, log, delivery)
    if not usable:
        reasons = ", ".join(f"{name} {count:,}" for name, count in fates.items()) or "it is empty"
        hint = _HINTS.get(max(fates, key=fates.__getitem__, default=""), _HINTS["events_of_other_type"])
        seen = " ".join(delivery.warnings) if "events_without_time" in fates else ""
        raise InputError(
            f"{log.shards[0].path}: no event in it is of use: {reasons}{seen_words(engine, log)}{seen and f'; {seen}'}",
            hint=hint,
        )
    return fate


def _note_log(engine: Engine, log: OpenLog, delivery: Delivery) -> None:
    """Note the period of the log and how many events it has of each type."""
    ((first, last),) = engine.run(_PERIOD)
    types = dict(engine.run(WORDS)) if log.has("type") else {}
    delivery.notes["log"] = {"first_day": first, "last_day": last, "types": types}
    if first and not (first >= _EARLIEST_DAY and last < _LATEST_DAY):
        delivery.warnings.append(
            f"the times of the log run from {first} to {last}: look at how it writes them; best are {TIMES}"
        )
    period = f" from {first} to {last}" if first else ""
    words = "".join(f", {word or 'without a type'} {count:,}" for word, count in types.items())
    _LOG.info("log: %s%s%s", counted(delivery.counts["events"], "event"), period, words)


def _number_items(
    engine: Engine, catalogue: Catalogue | None, settings: EventsSource, item_files: Sequence[Path], delivery: Delivery
) -> None:
    """Make `raw_items` (as the log writes them, to a number), `log_items` (ids by number) and `units` (of variants)."""
    raw = engine.columns("SELECT DISTINCT item FROM usable")["item"].tolist()
    mended: Counter[str] = Counter()
    ids = read_ids(raw, mended)
    if catalogue is not None:
        matched = matcher(catalogue, settings.match_ids)
        written, ids = ids, [matched(item_id) if item_id else item_id for item_id in ids]
        mended["ids_matched"] = sum(before != after for before, after in zip(written, ids, strict=True))
    delivery.counts.update(mended)
    units = {item_id: catalogue.unit(item_id) if catalogue else item_id for item_id in ids if item_id}
    if catalogue is not None:
        check_ids_meet(set(units), catalogue, delivery, item_files)
    numbers = {item_id: number for number, item_id in enumerate(sorted({*units, *units.values()}))}
    raw_ids = [numbers.get(item_id) for item_id in ids]
    engine.add_table("raw_items", pa.table({"item": pa.array(raw, pa.string()), "id": pa.array(raw_ids, pa.int32())}))
    engine.add_table("log_items", pa.table({"item": list(numbers), "id": pa.array(numbers.values(), pa.int32())}))
    unit_ids = pa.array([numbers[units.get(item_id, item_id)] for item_id in numbers], pa.int32())
    engine.add_table("units", pa.table({"id": pa.array(numbers.values(), pa.int32()), "unit": unit_ids}))


def _count_events(engine: Engine, settings: EventsSource, delivery: Delivery) -> None:
    """Fill `kept`: each item once per session and type, within the cap; every other event is counted."""
    usable = delivery.counts.pop("usable")
    engine.run(_EVENTS)
    ((known,),) = engine.run("SELECT coalesce(sum(times), 0)::BIGINT FROM log")
    engine.run(_FIRST_SEEN)
    if engine.run("SELECT 1 FROM units WHERE id <> unit LIMIT 1"):
        engine.run(_SEEN_GROUPS)
    engine.run(_OVER_CAP, cap=settings.session_items)
    engine.run(_WITHIN_CAP)
    ((over_cap,),) = engine.run("SELECT coalesce(sum(times), 0)::BIGINT FROM over_cap WHERE kind < 2")
    ((kept,),) = engine.run("SELECT count(*) FROM kept WHERE kind < 2")
    delivery.counts.update(
        events_over_cap=over_cap,
        events_repeated=known - over_cap - kept,
        events_kept=kept,
        events_without_id=usable - known,
    )
    delivery.notes["log"]["sessions"] = engine.run("SELECT count(DISTINCT session) FROM kept WHERE kind < 2")[0][0]
    engine.run("DROP TABLE seen")
    engine.run("DROP TABLE over_cap")


def _deliver_ids(engine: Engine, delivery: Delivery) -> None:
    ids = engine.columns("SELECT item FROM log_items ORDER BY id")["item"]
    delivery.add("records", record_table([Record(number, item_id) for number, item_id in enumerate(ids)]))
    delivery.counts["records"] += len(ids)


def _count_pairs(engine: Engine, settings: EventsSource, delivery: Delivery, progress: Progress) -> None:
    """Fill `pairs` with all that occur in enough sessions."""
    engine.run(_MARGINALS)
    engine.run(_SESSIONS)
    support = delivery.notes["min_support"] = choose_support(engine, settings)
    kinds = {"view": VIEW, "purchase": PURCHASE}
    engine.add_table(
        "support",
        pa.table({"kind": [kinds[name] for name in support], "least_sessions": list(support.values())}),
    )
    engine.run(_FREQUENT)
    events = "frequent"
    if settings.window_minutes is not None:
        events = "frequent_moments"
        engine.run(_FREQUENT_MOMENTS)
    engine.run("DROP TABLE log")
    engine.run("DROP TABLE kept")
    rare = count_pairs(engine, events, delivery.folder, settings.window_minutes, progress)
    delivery.counts["event_pairs_below_support"] += rare
    delivery.counts["event_pairs"] += rare + engine.run("SELECT count(*) FROM pairs")[0][0]
