"""What a person should know of single files of a log: those without events, with unknown types, or with other ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.log.event_log import OpenLog
from mmsc_cli.prepare.sources.log.headerless import check_items
from mmsc_cli.prepare.sources.log.kept_events import KeptEvents, table_function
from mmsc_cli.prepare.sources.meeting import Catalogue, change_that_meets
from mmsc_cli.runtime.plain_words import counted

_NAMED = 3  # files that a warning names
# A file stands out if fewer of its events are of known items than _FEW, and of the other files' at least _MOST.
_FEW, _MOST = 0.5, 0.8
# Fewer events of unknown items are no sign of anything.
_LEAST_UNKNOWN = 5
_EXAMPLES = 1_000
_TALLIES = """
SELECT filename, sum(events)::BIGINT, (sum(events) FILTER (fate IS DISTINCT FROM 'events_of_other_type'))::BIGINT
FROM {tallies} GROUP BY filename
"""
_WORDS = "SELECT word, sum(events)::BIGINT FROM {tallies} GROUP BY word ORDER BY 2 DESC, 1 LIMIT 5"
_BY_FILE = """
CREATE OR REPLACE VIEW by_file AS SELECT filename, item, times FROM {tables} SEMI JOIN raw_items USING (item)
"""
_KNOWN_OF_CATALOGUE = """
CREATE TABLE known_raw AS
SELECT raw_items.item FROM raw_items JOIN log_items USING (id) SEMI JOIN catalogue_names ON name = log_items.item
"""
# Without a catalogue, an item is known that is in several files.
_KNOWN_OF_OTHERS = (
    "CREATE TABLE known_raw AS SELECT item FROM by_file GROUP BY item HAVING min(filename) <> max(filename)"
)
_SHARES = """
SELECT filename, sum(times)::BIGINT, (coalesce(sum(times) FILTER (known_raw.item IS NOT NULL), 0))::BIGINT
FROM by_file LEFT JOIN known_raw USING (item) GROUP BY filename
"""
_UNKNOWN = """
SELECT item FROM by_file ANTI JOIN known_raw USING (item)
WHERE list_contains($files, filename) GROUP BY item ORDER BY sum(times) DESC, item LIMIT {rows}
"""


def doubt_files(engine: Engine, paths: Sequence[Path], log: OpenLog, kept: KeptEvents, delivery: Delivery) -> None:
    """Warn of files that hold no event, or none of a type that is known.

    Args:
        engine: reads the tables.
        paths: all files of the log, those of no byte among them.
        log: the files that were read.
        kept: their tables.
        delivery: told.
    """
    tables = dict(kept.files("tally"))
    tallies = table_function(list(tables.values()), filename=True)
    of_table = {name: (events, known or 0) for name, events, known in engine.run(_TALLIES.format(tallies=tallies))}
    # Files of the same content have the same table.
    counts = {path: of_table[str(table)] for path, table in tables.items() if str(table) in of_table}
    empty = [path for path in dict.fromkeys(paths) if path not in counts]
    if empty:
        delivery.warnings.append(
            f"{names_of(empty, paths)} {'holds' if len(empty) == 1 else 'hold'} no event: "
            "if the shop had some in that time, they are lost"
        )
    # Folders such as type=cart are meant to hold one type.
    by_folder = {
        shard.path for part in log.parts for shard in part.shards if part.columns.get("type") in shard.partitions
    }
    strange = [path for path, (events, known) in counts.items() if events and not known and path not in by_folder]
    if strange and len(strange) < len(counts):
        words = engine.run(_WORDS.format(tallies=table_function([tables[path] for path in strange])))
        seen = ", ".join(f"{word!r} {count:,}" for word, count in words)
        delivery.warnings.append(
            f"{names_of(strange, paths)} {'holds' if len(strange) == 1 else 'hold'} no event of a type that is known "
            f"(seen: {seen}): name the types under [source.types]"
        )


def expect_items(engine: Engine, log: OpenLog, kept: KeptEvents, catalogue: Catalogue | None) -> None:
    """Refuse files without a header whose columns are in another order than the first file's.

    Args:
        engine: reads the tables.
        log: the files.
        kept: their tables.
        catalogue: the known items; None: those of the files with a header are.

    Raises:
        InputError: see `check_items`.
    """
    headless = {shard.path for shard in log.shards if shard.header_from}
    if not headless:
        return
    headed = table_function([table for path, table in kept.files("events") if path not in headless])
    known = f"SELECT DISTINCT item FROM {headed} WHERE list_contains($texts, item)"
    names = catalogue.names if catalogue else frozenset()

    def known_of(texts: Sequence[str]) -> set[str]:
        return {item for (item,) in engine.run(known, texts=list(texts))} | (names & set(texts))

    for part in log.parts:
        check_items(part.shards, part.columns, known_of)


def doubt_items(engine: Engine, kept: KeptEvents, catalogue: Catalogue | None, delivery: Delivery) -> None:
    """Warn of files whose items are unknown, while those of the other files are known.

    Args:
        engine: has the tables `raw_items` and `log_items`.
        kept: the tables of the files.
        catalogue: the known items; None: items that several files have are.
        delivery: told.
    """
    tables = dict(kept.files("events"))
    if len(tables) < 2:
        return
    engine.run(_BY_FILE.format(tables=table_function(list(tables.values()), filename=True)))
    if catalogue is None:
        engine.run(_KNOWN_OF_OTHERS)
    else:
        engine.add_table("catalogue_names", pa.table({"name": pa.array(sorted(catalogue.names), pa.string())}))
        engine.run(_KNOWN_OF_CATALOGUE)
    shares = {name: (events, known) for name, events, known in engine.run(_SHARES)}
    of_all = [sum(column) for column in zip(*shares.values(), strict=True)] or [0, 0]
    strange = [
        name
        for name, (events, known) in shares.items()
        if known < _FEW * events
        and events - known >= _LEAST_UNKNOWN
        and of_all[0] > events
        and of_all[1] - known >= _MOST * (of_all[0] - events)
    ]
    if strange:
        delivery.warnings.append(_of_unknown_items(engine, strange, shares, tables, catalogue))
    engine.run("DROP TABLE known_raw")


def _of_unknown_items(
    engine: Engine,
    strange: Sequence[str],
    shares: dict[str, tuple[int, int]],
    tables: dict[Path, Path],
    catalogue: Catalogue | None,
) -> str:
    paths = [path for path, table in tables.items() if str(table) in strange]
    events = sum(shares[name][0] for name in strange)
    unknown = events - sum(shares[name][1] for name in strange)
    items = [item for (item,) in engine.run(_UNKNOWN.format(rows=_EXAMPLES), files=list(strange))]
    known = catalogue.names if catalogue else {item for (item,) in engine.run("SELECT item FROM known_raw")}
    change = change_that_meets(set(items), known)
    where = "the catalogue" if catalogue else "the other files"
    mend = "look at how it writes them"
    if change is not None and catalogue is not None:
        mend = f'they would meet if {change[1]}: write match_ids = "{change[0]}" under [source]'
    elif change is not None:
        mend = f"they would meet if {change[1]}: write them as the other files do"
    return (
        f"{names_of(paths, list(tables))}: {unknown:,} of {counted(events, 'event')} are of items that {where} "
        f"{'lacks' if catalogue else 'lack'} (such as {', '.join(map(repr, items[:3]))}), while the other files' are "
        f"known; {mend}"
    )


def names_of(paths: Sequence[Path], among: Sequence[Path]) -> str:
    """The names of some files, with their folders where others have the same name."""
    names = [path.name for path in among]
    named = [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths[:_NAMED]]
    more = f" and {counted(len(paths) - _NAMED, 'other file')}" if len(paths) > _NAMED else ""
    return ", ".join(named) + more
