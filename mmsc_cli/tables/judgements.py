"""The table of judgements, `judgements.parquet`: what people said of pairs, a row each time.

Unlike other tables it names items by their ids, so that it outlives another `prepare`, and is a file for `--gold`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.tables.table import ArtefactTable
from mmsc_cli.workspace.lock import alone

JUDGEMENT_SCHEMA = pa.schema(
    [
        pa.field("a", pa.string(), nullable=False),
        pa.field("b", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("who", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("s", "UTC"), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
_TABLE = ArtefactTable(JUDGEMENT_SCHEMA, "a table of judgements", "mmsc judge")
FILE = "judgements.parquet"


@dataclass(frozen=True)
class Votes:
    """Judgements by pair of item rows `a < b`, each once; `counts` (pairs, 3): how many people chose each class."""

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.a)

    def clear(self) -> Votes:
        """The pairs of which one class got the most votes."""
        first, second = np.sort(self.counts, axis=1)[:, :-3:-1].T
        is_clear = first > second
        return Votes(self.a[is_clear], self.b[is_clear], self.counts[is_clear])


def read_judgements(path: Path) -> pa.Table:
    """Read the table; empty where nobody has judged yet.

    Raises:
        WorkspaceError: the file is no such table.
    """
    return _TABLE.read(path) if os.path.lexists(path) else JUDGEMENT_SCHEMA.empty_table()


def append_judgement(path: Path, judgement: dict[str, object]) -> None:
    """Add a row, atomically; rows of others who judge at the same time stay."""
    row = pa.Table.from_pylist([judgement], schema=JUDGEMENT_SCHEMA)
    with alone(path.parent):
        _TABLE.write(path, pa.concat_tables([read_judgements(path), row]))


def votes_by_annotator(judgements: pa.Table, item_ids: Sequence[str]) -> dict[str, Votes]:
    """The votes of each person alone, by name."""
    who = np.array(judgements["who"].to_pylist(), dtype=np.str_)
    return {name: votes_of(judgements.filter(who == name), item_ids) for name in np.unique(who).tolist()}


def votes_of(judgements: pa.Table, item_ids: Sequence[str]) -> Votes:
    """Count judgements by pair; the last word of each person counts, and items that are gone are left out."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    last: dict[tuple[int, int, str], int] = {}
    # Without the times: one outside the years 1 to 9999, which a stranger may write, is none to Python.
    for judgement in judgements.select(["a", "b", "label", "who"]).to_pylist():
        rows = sorted(row_of[judgement[end]] for end in ("a", "b") if judgement[end] in row_of)
        if len(rows) == 2 and rows[0] < rows[1] and judgement["label"] in CLASSES:
            last[rows[0], rows[1], judgement["who"]] = CLASSES.index(judgement["label"])
    pairs = sorted({(a, b) for a, b, _ in last})
    counts = np.zeros((len(pairs), len(CLASSES)), np.int64)
    position = {pair: number for number, pair in enumerate(pairs)}
    for (a, b, _), chosen in last.items():
        counts[position[a, b], chosen] += 1
    ends = np.array(pairs, np.int32).reshape(-1, 2)
    return Votes(ends[:, 0], ends[:, 1], counts)
