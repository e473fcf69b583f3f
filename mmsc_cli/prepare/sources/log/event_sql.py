"""SQL for the events of a log's files: their columns in our terms, and why an event is of no use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from mmsc_cli.files.item_fields import NULL_WORDS
from mmsc_cli.prepare.duckdb import literal
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log.log_part import LogPart, needs_times
from mmsc_cli.prepare.sources.log.log_shard import LogShard
from mmsc_cli.prepare.sources.log.times import seconds_sql

VIEW, PURCHASE = 0, 1

_BLANKS = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)))
_BLANKS += "\u202f\u205f\u3000"
# No time is beyond the year 5138, whatever number or date a file holds: those of more have no day.
LAST_SECOND = 1e11
# What becomes of an event, whenever it was: null where it is of use in its time.
_OF_FILE = """
SELECT * REPLACE (CASE WHEN abs(seconds) < {last} THEN seconds END AS seconds), CASE
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
FATES = (
    "events_without_id",
    "events_of_other_type",
    "events_without_time",
    "events_outside_period",
    "events_cancelled",
)


def events_of(shard: LogShard, part: LogPart) -> str:
    """SQL for the events of a file; see `OpenLog.selects`."""
    return _OF_FILE.format(shard=_select(shard, part), last=LAST_SECOND)


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
    asks = str(needs_times(settings)).lower()
    return _TIME_FATE.format(asks=asks, since=first, until=period_end(settings))


def period_end(settings: EventsSource) -> str:
    """SQL for the time from which on events are left out."""
    return _bound(settings.until, "'infinity'::DOUBLE")


def trimmed(column: str) -> str:
    """SQL for a column as text, without blanks around it."""
    return f"trim(({column})::VARCHAR, {literal(_BLANKS)})"


def _select(shard: LogShard, log: LogPart) -> str:
    sql = {name: shard.expression(theirs) for name, theirs in log.columns.items()}
    session, item = (_text(*expression) for expression in (sql["session"], sql["item"]) if expression)
    if log.own:
        # A visit 17 and an order 17 of different files are two sessions.
        name = literal(f"{log.columns['session']} ")
        session = f"CASE WHEN ({session}) <> '' THEN {name} || ({session}) END"
    seconds, written, cancelled = "NULL::DOUBLE", "NULL::VARCHAR", "false"
    if expression := sql.get("time"):
        written = f"nullif({trimmed(expression[0])}, '')"
        seconds = seconds_sql(written, *expression, log.time_form)
    if expression := sql.get("quantity"):
        cancelled = f"coalesce(try_cast(replace({trimmed(expression[0])}, ',', '.') AS DOUBLE) < 0, false)"
    if expression := sql.get("cancelled"):
        # Only the first row of an order says when it was made and cancelled.
        of_order = f"OVER (PARTITION BY {session})"
        cancelled = f"({cancelled} OR bool_or(coalesce({trimmed(expression[0])}, '') <> '') {of_order})"
        seconds = f"coalesce({seconds}, min({seconds}) {of_order})"
    word = "NULL::VARCHAR"
    if expression := sql.get("type"):
        word = trimmed(expression[0])
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


def _text(column: str, kind: str) -> str:
    """An id as text, null where it is missing. 7.0 is 7: whole numbers with gaps are often stored as floats."""
    if kind in ("DOUBLE", "FLOAT"):
        whole = f"{column} = floor({column}) AND abs({column}) < 1e18"
        column = f"CASE WHEN {whole} THEN {column}::BIGINT::VARCHAR WHEN NOT isnan({column}) THEN {column}::VARCHAR END"
    text = trimmed(column)
    return f"CASE WHEN {text} NOT IN ({_literals(sorted(NULL_WORDS))}) THEN {text} END"


def _bound(moment: date | datetime | None, missing: str) -> str:
    if moment is None:
        return missing
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return repr((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _literals(texts: Sequence[Any]) -> str:
    return ", ".join(map(literal, texts)) or "NULL"
