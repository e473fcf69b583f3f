"""Columns of the item table, for answers that show more than the index holds."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.files.unpacking import open_parquet
from mmsc_cli.index.kept_columns import KeptColumns, NumberColumn
from mmsc_cli.tables.items import ITEM_SCHEMA, known_values
from mmsc_cli.tables.table import check_texts
from mmsc_cli.workspace.checksums import check_at_a_glance


def check_column(name: str, known: Sequence[str]) -> None:
    """Refuse a column that the item table lacks.

    Raises:
        InputError: it is not among the `known`; the hint names the nearest, else all.
    """
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"columns: {', '.join(known)}"
        raise InputError(f"the item table has no column {name!r}", hint=hint)


class ItemAttributes:
    """Some columns of `items.parquet`, and columns that the recipe keeps beside them, by item row."""

    def __init__(self, root: Path, columns: Sequence[str], kept: KeptColumns, n_items: int) -> None:
        """Read the columns.

        Raises:
            InputError: neither the item table nor the kept columns have such a column.
            WorkspaceError: the item table is missing, damaged, or of another size than the index.
        """
        path = root / "items.parquet"
        check_at_a_glance(root, "prepare", [path.name])
        try:
            file = open_parquet(path, memory_map=True)
            known = file.schema_arrow.names
            for column in columns:
                check_column(column, [*known, *kept.names])
            own = [column for column in columns if column in known]
            self._table = file.read(own)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise WorkspaceError(
                f"{path} cannot be read as an item table: {error}", hint="run `mmsc prepare SOURCE` again"
            ) from error
        if own and len(self._table) != n_items:
            raise WorkspaceError(
                f"{path} has {len(self._table):,} items, the index {n_items:,}", hint="run `mmsc train` again"
            )
        self._kept = {column: kept.column(column) for column in columns if column not in known}
        self._columns = columns

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        own = {field.name: field for field in self._table.schema}
        return pa.schema([own.get(name) or pa.field(name, self._type(name)) for name in self._columns])

    def _type(self, name: str) -> pa.DataType:
        return pa.float64() if isinstance(self._kept[name], NumberColumn) else pa.string()

    def first_rows(self, column: str) -> dict[str, int]:
        """The first row of each value of a column of texts."""
        check_texts(self._table.select([column]), "items.parquet")
        values = self._table[column].to_pylist()
        return {value: row for row, value in reversed(list(enumerate(values))) if value is not None}

    def of(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The columns of some items; a missing price is None."""
        taken = self._table.take(rows) if self._table.num_columns else None
        if taken is not None:
            check_texts(taken, "items.parquet", ITEM_SCHEMA)
        own: list[dict[str, Any]] = [{} for _ in rows] if taken is None else taken.to_pylist()
        known = [known_values(record) for record in own]
        return [
            {**record, **{name: column.of(row) for name, column in self._kept.items()}}
            for record, row in zip(known, rows, strict=True)
        ]
