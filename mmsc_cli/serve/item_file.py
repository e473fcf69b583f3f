"""The item table and the pictures that an index was opened with, whatever `prepare` puts in their place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.index.kept_columns import KeptColumns
from mmsc_cli.workspace.pins import Pins
from mmsc_cli.workspace.regular_file import open_regular

# What a browser shows, by the first bytes of the file.
_KINDS = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"))
_LARGEST_PICTURE = 20 * 2**20


class ItemFile:
    """`items.parquet` and `images/`, opened once."""

    def __init__(self, root: Path, kept: KeptColumns, n_items: int) -> None:
        """Open them; what is missing, or of another catalogue than the index, is shown as unknown."""
        self._n_items = n_items
        self._kept = kept
        self._pins = Pins(root, ("images",))
        self._lock = Lock()
        self._columns: dict[str, Any] = {}
        try:
            self._source: Any = open_regular(root / "items.parquet")
        except (OSError, WorkspaceError):
            self._source = None

    @cached_property
    def _file(self) -> Any:
        import pyarrow as pa  # noqa: PLC0415  slow to import, and answers do without it

        from mmsc_cli.files.unpacking import open_parquet  # noqa: PLC0415  brings pyarrow

        try:
            file = None if self._source is None else open_parquet(Path("items.parquet"), self._source)
        except (OSError, ValueError, InputError, pa.ArrowException):
            return None
        return file if file is not None and file.metadata.num_rows == self._n_items else None

    def item(self, row: int) -> dict[str, Any]:
        """All columns of an item; an unknown price is None. Nothing where there is no table."""
        from mmsc_cli.tables.items import read_item  # noqa: PLC0415  brings pyarrow

        with self._lock:
            own = {} if self._file is None else _known(read_item(self._file, row))
        try:
            more = {name: self._kept.column(name).of(row) for name in self._kept.names if name not in own}
        except WorkspaceError:  # of another catalogue than the index
            more = {}
        return own | more if own else {}

    def columns(self, names: Sequence[str], rows: Sequence[int]) -> list[dict[str, Any]]:
        """Some columns of some items.

        Raises:
            InputError: the item table has no such column.
            WorkspaceError: there is no item table, or it is of another catalogue.
        """
        own = () if self._file is None else self._file.schema_arrow.names
        kept = [name for name in names if name not in own and name in self._kept.names]
        taken = self._taken([name for name in names if name not in kept], rows)
        taken |= {name: [self._kept.column(name).of(row) for row in rows] for name in kept}
        return [_known({name: values[place] for name, values in taken.items()}) for place in range(len(rows))]

    def _taken(self, names: Sequence[str], rows: Sequence[int]) -> dict[str, list[Any]]:
        import pyarrow as pa  # noqa: PLC0415  slow to import, and answers do without it

        from mmsc_cli.tables.table import check_texts  # noqa: PLC0415  brings pyarrow

        taken = pa.table({name: self._column(name).take(rows) for name in names})
        check_texts(taken, "items.parquet")
        columns: dict[str, list[Any]] = taken.to_pydict()
        return columns

    def _column(self, name: str) -> Any:
        from mmsc_cli.infer.attributes import check_column  # noqa: PLC0415  brings pyarrow
        from mmsc_cli.tables.table import reading  # noqa: PLC0415  brings pyarrow

        with self._lock:
            if name not in self._columns:
                if self._file is None:
                    raise WorkspaceError("items.parquet is missing, or is not what the index was made from")
                check_column(name, [*self._file.schema_arrow.names, *self._kept.names])
                with reading("items.parquet"):
                    self._columns[name] = self._file.read(columns=[name])[name].combine_chunks()
            return self._columns[name]

    def picture(self, row: int) -> tuple[bytes, str] | None:
        """The picture of an item and its media type; None where the workspace has none."""
        name = self.item(row).get("image_path")
        folder, _, file_name = str(name or "").partition("/")
        if folder != "images" or not file_name or ".." in file_name.split("/"):
            return None
        try:
            with open_regular(self._pins.path("images") / file_name) as file:
                content = file.read(_LARGEST_PICTURE)
        except (OSError, WorkspaceError):
            return None
        kind = next((kind for start, kind in _KINDS if content.startswith(start)), None)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            kind = "image/webp"
        return (content, kind) if kind else None


def _known(record: dict[str, Any]) -> dict[str, Any]:
    """The record with None for a NaN, which stands for an unknown number, and only what JSON can say."""
    return {name: _plain(value) for name, value in record.items()}


def _plain(value: Any) -> Any:
    if value != value:
        return None
    try:
        orjson.dumps(value)
    except TypeError:
        return str(value)
    return value
