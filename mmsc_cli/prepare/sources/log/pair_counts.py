"""Pairs of items that occur together, counted a share of the sessions at a time: from files to files.

Sessions are dealt into shares by their hash. Each share counts the pairs of its own sessions, and deals them by a hash
of the pair; then the counts of equal pairs are added up, a deal at a time. So time is linear in the log, whatever its
size, and memory is that of a share.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mmsc_cli.prepare.duckdb import Engine, literal
from mmsc_cli.prepare.sources.log.kept_events import table_function
from mmsc_cli.runtime.progress import SILENT, Progress

# Pairs that a share counts: what bounds memory, together with the engine's own limit.
PAIRS_AT_A_TIME = 10_000_000

_EXPECTED = """
SELECT coalesce(sum(n * (n - 1) / 2), 0)::BIGINT FROM (SELECT count(*) AS n FROM {events} GROUP BY session, kind)
"""
_DEAL = "COPY ({rows}) TO {folder} (FORMAT parquet, COMPRESSION lz4, PARTITION_BY (deal))"
_SESSIONS = "SELECT *, session % {shares} AS deal FROM {events}"
_TOGETHER = """
SELECT l.kind, l.item AS a, r.item AS b, count({counted}) AS together, hash(a, b) % {shares} AS deal
FROM {events} l JOIN {events} r ON l.session = r.session AND l.kind = r.kind AND l.item < r.item {near}
GROUP BY l.kind, a, b
"""
_SUMS = """
CREATE OR REPLACE TABLE sums AS
SELECT kind, a, b, sum(together)::BIGINT AS together FROM {counts} GROUP BY kind, a, b
"""
_PAIRS = "CREATE TABLE pairs (kind UTINYINT, a INTEGER, b INTEGER, together BIGINT)"
_KEEP = """
INSERT INTO pairs SELECT sums.* FROM sums JOIN support ON support.kind = sums.kind % 2 WHERE together >= least_sessions
"""
_RARE = "SELECT count(*) FROM sums JOIN support ON support.kind = sums.kind % 2 WHERE together < least_sessions"


def count_pairs(
    engine: Engine, events: str, folder: Path, window_minutes: float | None, progress: Progress = SILENT
) -> int:
    """Fill the new table `pairs` (kind, a < b, together) with all that occur in enough sessions.

    Args:
        engine: has the table `support` (kind, least_sessions).
        events: a table: session (hash), kind, item, and with a window seconds; it is dropped when it has been dealt.
        folder: takes the shares for as long as they are needed.
        window_minutes: how far apart two events of a pair may be; None: anywhere in the session.
        progress: told of the shares.

    Returns:
        How many pairs occur in fewer sessions.
    """
    ((expected,),) = engine.run(_EXPECTED.format(events=events))
    shares = 1 + int(expected) // PAIRS_AT_A_TIME
    near = "" if window_minutes is None else f"AND abs(l.seconds - r.seconds) <= {60 * window_minutes!r}"
    counted = "*" if window_minutes is None else "DISTINCT l.session"
    rare = 0
    engine.run(_PAIRS)
    with TemporaryDirectory(dir=folder) as name, progress.task("Counting pairs", 2 * shares) as task:
        sessions, pairs = Path(name) / "sessions", [Path(name) / f"pairs-{share}" for share in range(shares)]
        _deal(engine, _SESSIONS.format(shares=shares, events=events), sessions)
        engine.run(f"DROP TABLE {events}")
        for share in range(shares):
            if files := _dealt([sessions], share):
                together = _TOGETHER.format(counted=counted, events=files, near=near, shares=shares)
                _deal(engine, together, pairs[share])
            task.advance()
        for deal in range(shares):
            if files := _dealt(pairs, deal):
                engine.run(_SUMS.format(counts=files))
                engine.run(_KEEP)
                rare += engine.run(_RARE)[0][0]
                engine.run("DROP TABLE sums")
            task.advance()
    return rare


def _deal(engine: Engine, rows: str, folder: Path) -> None:
    """Write rows with a column `deal` into a folder for each of its values."""
    engine.run(_DEAL.format(rows=rows, folder=literal(str(folder))))


def _dealt(folders: list[Path], deal: int) -> str | None:
    """What was dealt so, as a table function; None: nothing was."""
    files = [file for folder in folders for file in sorted((folder / f"deal={deal}").glob("*.parquet"))]
    return table_function(files) if files else None
