"""`answers.parquet`: answers of the last two nights, which `evaluate` keeps so that it can say what changed.

A row is an answer, with the columns that `mmsc infer --all` writes; a row without a relation is an item of the
catalogue. What else is known of the two nights is JSON in the metadata of the file. The file says by itself what it is
about, so that a run that was killed while it put its results in place loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsc_cli.diff.answer_table import SCHEMA, AnswerTable, faults
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.table import ArtefactTable

FILE = "answers.parquet"
DEPTH = 10  # answers of an item
_TABLE = ArtefactTable(
    pa.schema([pa.field("night", pa.int8(), nullable=False), *SCHEMA]), "kept answers", "mmsc evaluate"
)
_ABOUT = b"mmsc nights"


@dataclass(frozen=True)
class KeptNight:
    """What is kept of a night: answers, the digest of the index that gave them, when it was made, and figures."""

    index: str
    trained: str
    figures: dict[str, float]
    table: AnswerTable


def read_kept(path: Path | None) -> list[KeptNight]:
    """The nights that were kept, the last one first; none where there is no such file, or one that is damaged."""
    if path is None or not path.is_file():
        return []
    try:
        rows = _TABLE.read(path)
        about: list[dict[str, Any]] = json.loads((pq.read_schema(path).metadata or {})[_ABOUT])
        nights = []
        for number, night in enumerate(about):
            index, trained = str(night["index"]), str(night["trained"])
            figures = {path: float(value) for path, value in night["figures"].items()}
            nights.append(KeptNight(index, trained, figures, _night(rows, number, trained)))
        return nights
    except (WorkspaceError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return []


def write_kept(path: Path, nights: Sequence[KeptNight]) -> None:
    """Write what is kept of the last nights, the last one first."""
    tables = []
    for number, night in enumerate(nights):
        catalogue = pa.table({"query": night.table.items}, pa.schema([SCHEMA.field("query")]))
        rows = pa.concat_tables([night.table.answers, catalogue], promote_options="default")
        tables.append(rows.add_column(0, _TABLE.schema.field("night"), pa.array([number] * len(rows), pa.int8())))
    about = [{"index": night.index, "trained": night.trained, "figures": night.figures} for night in nights]
    table = pa.concat_tables(tables).cast(_TABLE.schema).replace_schema_metadata({_ABOUT: json.dumps(about)})
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def _night(rows: pa.Table, number: int, name: str) -> AnswerTable:
    """The answers of a night; ValueError where they are none."""
    of_night = rows.filter(pc.equal(rows["night"], number)).select(SCHEMA.names)
    is_answer = pc.is_valid(of_night["relation"])
    answers = of_night.filter(is_answer)
    catalogue = of_night.filter(pc.invert(is_answer))["query"].combine_chunks()
    wrong = next(faults(answers), None) or (f"ranks over {DEPTH}" if pc.max(answers["rank"]).as_py() > DEPTH else None)
    if wrong or catalogue.null_count:
        raise ValueError(wrong or "items without ids")
    return AnswerTable(name, answers, catalogue)
