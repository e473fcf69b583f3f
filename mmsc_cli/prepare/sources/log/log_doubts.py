"""What a person should know of a log before training: types nobody named, times nobody can read, returns."""

from __future__ import annotations

import logging
import re

from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.aliases import ORDER_COLUMNS, alike
from mmsc_cli.prepare.sources.log.event_log import OpenLog
from mmsc_cli.prepare.sources.log.log_part import LogPart
from mmsc_cli.prepare.sources.log.times import is_time

_LOG = logging.getLogger(__name__)
TIMES = "seconds since 1970, or as 2024-05-01T12:00:00Z"
WORDS = "SELECT word, sum(events)::BIGINT FROM tally GROUP BY word ORDER BY 2 DESC, 1 LIMIT 20"
_SAMPLED, _MOST_WORDS = 2_000, 12
_CANCELLED = re.compile("cancel|storn|annul|refund|return|retour|rembours|reembols|devuel|failed|void")
# Returns are rare, so that more rows are looked at for them.
_SAMPLED_FOR_RETURNS = 50_000
# Amounts have two decimals at most, coordinates more; most orders are no returns.
_RETURNS = """
SELECT count(*) FILTER (number < 0), count(*) FROM (
    SELECT try_cast(replace(trim(({column})::VARCHAR), ',', '.') AS DOUBLE) AS number FROM {scan} LIMIT {rows}
) WHERE number IS NOT NULL
HAVING count(*) FILTER (number <> round(number, 2)) = 0 AND count(*) FILTER (number < 0) BETWEEN 1 AND count(*) / 2
"""


def report_log(engine: Engine, log: OpenLog, delivery: Delivery) -> None:
    """Note what was decided of a log, and warn of what looks wrong.

    Args:
        engine: has the table `tally`.
        log: the log.
        delivery: told; its counts are those of the events.
    """
    counts = delivery.counts
    for part in log.parts:
        name = part.shards[0].path.name
        renamed = {ours: theirs for ours, theirs in part.columns.items() if theirs != ours}
        if renamed:
            delivery.notes.setdefault("columns", {})[name] = renamed
        if part.export is not None:
            delivery.notes.setdefault("formats", {})[name] = part.export.name
        if "type" not in part.columns:
            _LOG.info("%s: no column of types: all events are %ss", name, part.rows)
            if part.rows == "purchase":
                delivery.notes["all_purchases"] = True
            _doubt_rows(engine, part, delivery)
        _doubt_times(engine, part, delivery)
        _doubt_returns(engine, part, delivery)
    # Of a known export, most events are of other types by nature.
    if log.types_are_a_guess and counts["events_of_other_type"] * 2 > counts["events"]:
        delivery.warnings.append(
            f"{counts['events_of_other_type']:,} of {counts['events']:,} events are of types that the recipe does not "
            f'name{seen_words(engine, log)}; name them, for example [source.types] view = ["click"]'
        )
    ((timed, unread, *examples),) = engine.run(
        "SELECT coalesce(sum(timed), 0)::BIGINT, coalesce(sum(unreadable), 0)::BIGINT, min(unread), max(also_unread) "
        "FROM tally"
    )
    counts["times_unreadable"] += unread
    doubts = [f"{part.shards[0].path.name}: {doubt}" for part in log.parts if (doubt := part.time_form.doubt)]
    delivery.warnings += doubts
    if unread * 2 > timed and not doubts:
        seen = ", ".join(map(repr, dict.fromkeys(examples)))
        delivery.warnings.append(f"{unread:,} of {timed:,} times are unreadable (seen: {seen}): write {TIMES}")


def _unused(part: LogPart) -> dict[str, tuple[str, str]]:
    """The columns of a log that stand for none of ours, in SQL and with their types."""
    shard = part.shards[0]
    return {name: column for name, column in shard.columns.items() if name not in part.columns.values()}


def _doubt_times(engine: Engine, part: LogPart, delivery: Delivery) -> None:
    """Warn where a column with a name of times is not used."""
    if "time" in part.columns or part.export is not None:
        return
    shard, unused = part.shards[0], _unused(part)
    if (name := alike("time", list(unused))) is None:
        return
    sql, _ = unused[name]
    seen = engine.run(
        f"SELECT DISTINCT w FROM (SELECT trim(({sql})::VARCHAR) AS w FROM {shard.scan} LIMIT {_SAMPLED}) "
        "WHERE w <> '' ORDER BY w LIMIT 3"
    )
    cells = f"seen: {', '.join(repr(word) for (word,) in seen)}" if seen else "its cells are empty"
    delivery.warnings.append(
        f'{shard.path.name}: the column "{name}" looks like time and is not used ({cells}); '
        f'if it is, write time = "{name}" under {part.mapping}'
    )


def _doubt_returns(engine: Engine, part: LogPart, delivery: Delivery) -> None:
    """Warn where numbers below zero may say that a purchase was returned."""
    if "quantity" in part.columns or part.export is not None:
        return
    shard = part.shards[0]
    for name, (sql, _) in _unused(part).items():
        for below, numbers in engine.run(_RETURNS.format(column=sql, scan=shard.scan, rows=_SAMPLED_FOR_RETURNS)):
            delivery.warnings.append(
                f'{shard.path.name}: "{name}" is below 0 in {below:,} of {numbers:,} rows, which count as any other; '
                f'if these are returns, write quantity = "{name}" under {part.mapping}'
            )


def _doubt_rows(engine: Engine, part: LogPart, delivery: Delivery) -> None:
    """Warn where a column of few words may say what the events are, or that a purchase was cancelled."""
    if part.export is not None:
        return
    shard = part.shards[0]
    instead = " in place of rows" if part.own else ""
    is_of_orders = any(word in part.columns["session"].lower() for word in ORDER_COLUMNS)
    for name in _unused(part):
        words = _few_words(engine, part, name)
        cancelled = [word for word in words if part.rows == "purchase" and _CANCELLED.search(word.lower())]
        if cancelled and len(cancelled) < len(words):
            others = ", ".join(f'"{word}"' for word in words if word not in cancelled)
            delivery.warnings.append(
                f'{shard.path.name}: rows whose "{name}" is {", ".join(map(repr, cancelled))} count as purchases; to '
                f'leave them out, write type = "{name}" under {part.mapping}{instead} and purchase = [{others}] under '
                "[source.types]"
            )
        elif not is_of_orders and len(words) > 1:
            seen = ", ".join(map(repr, words[:5]))
            delivery.warnings.append(
                f"{shard.path.name}: all events are taken for {part.rows}s, as no column is known to say what they "
                f'are; if "{name}" does (seen: {seen}), write type = "{name}" under {part.mapping}{instead} and the '
                "words under [source.types]"
            )


def _few_words(engine: Engine, part: LogPart, name: str) -> list[str]:
    """The words of a text column that has few of them and no numbers or times, the most frequent first; else none."""
    shard = part.shards[0]
    sql, kind = shard.columns[name]
    if kind != "VARCHAR":
        return []
    words = [
        word
        for (word,) in engine.run(
            f"SELECT w FROM (SELECT trim({sql}) AS w FROM {shard.scan} LIMIT {_SAMPLED_FOR_RETURNS}) WHERE w <> '' "
            f"GROUP BY w ORDER BY count(*) DESC, w LIMIT {_MOST_WORDS + 1}"
        )
    ]
    is_words = not any(word.replace(".", "").isdecimal() or is_time(word) for word in words)
    return words if len(words) <= _MOST_WORDS and is_words else []


def seen_words(engine: Engine, log: OpenLog) -> str:
    """The types that the log has, with the number of their events, as the end of a sentence."""
    if not log.has("type"):
        return ""
    words = engine.run(WORDS)[:5]
    return f" (seen: {', '.join(f'{word!r} {count:,}' for word, count in words)})" if words else ""
