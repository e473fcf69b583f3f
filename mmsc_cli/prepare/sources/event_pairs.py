"""From an event log to pairs: what happens in one session more often than chance would have it.

Raw counts would relate everything to bestsellers. The strength of a pair is its association score instead, over the
sessions that hold an event of the type: shrunk normalised pointwise mutual information (`npmi`, in (0, 1]; Bouma, GSCL
2009, with the discount of Pantel & Lin, KDD 2002, for small counts) or the log-likelihood ratio (`llr`, from 0 on;
Dunning, Computational Linguistics 1993). Pairs that occur together less often than chance are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.records import RECORD_SCHEMA, Delivery, part_path
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.event_log import PURCHASE, VIEW, describe_unreadable, open_log
from mmsc_cli.prepare.sources.shop_tables import read_item_table
from mmsc_cli.runtime.progress import SILENT, Progress

# Pairs that are counted at a time: what bounds memory, together with the engine's own limit.
PAIRS_AT_A_TIME = 10_000_000

# Two sessions that share a hash would become one: among ten million the chance of that is three in a million.
_LOG = """
CREATE TABLE log AS SELECT hash(session) AS session, item, kind, seconds FROM normalised WHERE fate IS NULL
"""
_ITEMS = """
CREATE TABLE log_items AS
SELECT item, (row_number() OVER (ORDER BY item) - 1)::INTEGER AS id FROM (SELECT DISTINCT item FROM log)
"""
_FIRST_SEEN = """
CREATE TABLE seen AS
SELECT session, kind, id AS item, min(seconds) AS seconds, count(*) AS times
FROM log JOIN log_items USING (item)
GROUP BY session, kind, id
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
SEMI JOIN (SELECT kind, item FROM marginals WHERE sessions >= $support) USING (kind, item)
"""
_FREQUENT_MOMENTS = """
CREATE TABLE frequent_moments AS
SELECT DISTINCT frequent.session, frequent.kind, frequent.item, log.seconds
FROM log JOIN log_items USING (item)
JOIN frequent ON frequent.session = log.session AND frequent.kind = log.kind AND frequent.item = log_items.id
"""
_EXPECTED = """
SELECT coalesce(sum(n * (n - 1) / 2), 0)::BIGINT FROM (SELECT count(*) AS n FROM frequent GROUP BY session, kind)
"""
_PAIRS = "CREATE TABLE pairs (kind UTINYINT, a INTEGER, b INTEGER, together BIGINT)"
_PART = """
CREATE OR REPLACE TABLE part AS
SELECT l.kind, l.item AS a, r.item AS b, count({counted}) AS together
FROM {events} l JOIN {events} r
ON l.session = r.session AND l.kind = r.kind AND l.item < r.item {near}
WHERE l.item % $parts = $part
GROUP BY l.kind, l.item, r.item
"""
_KEEP_PART = "INSERT INTO pairs SELECT * FROM part WHERE together >= $support"
_RARE = "SELECT count(*) FROM part WHERE together < $support"
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
SELECT kind, a, b, CASE WHEN together * n > n_a * n_b OR together = n THEN {score} ELSE 0 END AS score
FROM (
    SELECT pairs.kind, pairs.a, pairs.b, together::DOUBLE AS together,
        l.sessions::DOUBLE AS n_a, r.sessions::DOUBLE AS n_b, totals.sessions::DOUBLE AS n
    FROM pairs
    JOIN marginals l ON l.kind = pairs.kind AND l.item = pairs.a
    JOIN marginals r ON r.kind = pairs.kind AND r.item = pairs.b
    JOIN totals ON totals.kind = pairs.kind
)
"""
_XLOGX = "CREATE MACRO xlogx(x) AS CASE WHEN x > 0 THEN x * ln(x) ELSE 0 END"
# What happens together has no direction: the strength stands in both.
_WRITE = """
COPY (
    SELECT l.item AS source, r.item AS target,
        (CASE WHEN kind = {view} THEN score ELSE 0 END)::FLOAT AS view,
        (CASE WHEN kind = {purchase} THEN score ELSE 0 END)::FLOAT AS buy
    FROM (SELECT kind, a, b, score FROM scored UNION ALL SELECT kind, b, a, score FROM scored)
    JOIN log_items l ON l.id = a
    JOIN log_items r ON r.id = b
    WHERE score > 0
) TO {path} (FORMAT parquet)
"""


def read_events(
    paths: Sequence[Path],
    items: Path | None,
    settings: EventsSource,
    delivery: Delivery,
    progress: Progress = SILENT,
) -> None:
    """Read an event log, and a table of items where there is one, into a delivery.

    Args:
        paths: the files of the log, all of one format.
        items: a table of items; None: the items are the ids of the log.
        settings: the recipe's `[source]`.
        delivery: where records, relations and counts go.
        progress: told of the pairs that may be.

    Raises:
        InputError: a file is missing or unreadable, or lacks a column; or no event of the log is of use.
    """
    with Engine(delivery.folder, settings.memory_gib) as engine:
        try:
            open_log(engine, paths, settings)
            _count_events(engine, paths, settings, delivery)
        except duckdb.Error as error:
            raise describe_unreadable(error, paths) from error
        if items is None:
            _deliver_ids(engine, delivery)
        else:
            read_item_table(items, settings.columns, delivery)
        _count_pairs(engine, settings, delivery, progress)
        engine.run(_XLOGX)
        engine.run(_SCORED.format(score=_SCORES[settings.score]))
        ((kept, by_chance),) = engine.run(
            "SELECT count(*) FILTER (score > 0), count(*) FILTER (NOT score > 0) FROM scored"
        )
        part = literal(str(part_path(delivery.folder, "relations", 0)))
        engine.run(_WRITE.format(view=VIEW, purchase=PURCHASE, path=part))
    delivery.counts.update(event_pairs_by_chance=by_chance, event_pairs_kept=kept, relations=2 * kept)


def _count_events(engine: Engine, paths: Sequence[Path], settings: EventsSource, delivery: Delivery) -> None:
    """Fill `kept`: each item once per session and type, within the cap; every other event is counted."""
    fates = dict(engine.run("SELECT coalesce(fate, 'usable'), count(*) FROM normalised GROUP BY fate"))
    usable = fates.pop("usable", 0)
    delivery.counts.update(fates, events=usable + sum(fates.values()))
    if not usable:
        raise InputError(
            f"{paths[0]}: no event in it is of use: {', '.join(f'{name} {count:,}' for name, count in fates.items())}",
            hint='say what your log calls them, for example [source.types] view = ["click"]',
        )
    engine.run(_LOG)
    engine.run(_ITEMS)
    engine.run(_FIRST_SEEN)
    engine.run(_OVER_CAP, cap=settings.session_items)
    engine.run(_WITHIN_CAP)
    ((over_cap,),) = engine.run("SELECT coalesce(sum(times), 0)::BIGINT FROM over_cap")
    ((kept,),) = engine.run("SELECT count(*) FROM kept")
    delivery.counts.update(events_over_cap=over_cap, events_repeated=usable - over_cap - kept, events_kept=kept)
    engine.run("DROP TABLE seen")
    engine.run("DROP TABLE over_cap")


def _deliver_ids(engine: Engine, delivery: Delivery) -> None:
    ids = engine.columns("SELECT item FROM log_items ORDER BY id")["item"]
    blank: dict[str, Any] = {
        "title": "",
        "description": "",
        "brand": "",
        "category": [],
        "price": np.nan,
        "richness": 0,
    }
    blank |= {"views": [], "purchases": []}
    columns: dict[str, Any] = {name: [value] * len(ids) for name, value in blank.items()}
    columns |= {
        "record": np.arange(len(ids)),
        "item_id": ids,
        "image_url": pa.nulls(len(ids)),
        "image_path": pa.nulls(len(ids)),
    }
    records = pa.table({name: columns[name] for name in RECORD_SCHEMA.names}, schema=RECORD_SCHEMA)
    delivery.add("records", records)
    delivery.counts["records"] += len(ids)


def _count_pairs(engine: Engine, settings: EventsSource, delivery: Delivery, progress: Progress) -> None:
    """Fill `pairs` with all that occur in enough sessions, a part of the items at a time."""
    for statement in (_MARGINALS, _SESSIONS, _PAIRS):
        engine.run(statement)
    engine.run(_FREQUENT, support=settings.min_support)
    if settings.window_minutes is None:
        part = _PART.format(counted="*", events="frequent", near="")
    else:
        engine.run(_FREQUENT_MOMENTS)
        near = f"AND abs(l.seconds - r.seconds) <= {60 * settings.window_minutes!r}"
        part = _PART.format(counted="DISTINCT l.session", events="frequent_moments", near=near)
    engine.run("DROP TABLE log")
    ((expected,),) = engine.run(_EXPECTED)
    parts = 1 + int(expected) // PAIRS_AT_A_TIME
    below_support = 0
    with progress.task("Counting pairs", parts) as task:
        for number in range(parts):
            engine.run(part, parts=parts, part=number)
            engine.run(_KEEP_PART, support=settings.min_support)
            below_support += engine.run(_RARE, support=settings.min_support)[0][0]
            task.advance()
    engine.run("DROP TABLE part")
    delivery.counts["event_pairs_below_support"] += below_support
    delivery.counts["event_pairs"] += below_support + engine.run("SELECT count(*) FROM pairs")[0][0]
