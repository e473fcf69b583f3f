"""A Parquet table of the workspace, on the disk and, for tables of pairs, in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.files.unpacking import open_parquet
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.workspace.regular_file import refuse_irregular

# Of a table of pairs: the item rows of both ends.
ENDS = [pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.int32(), nullable=False)]


class ArtefactTable(NamedTuple):
    """A Parquet table of the workspace.

    Attributes:
        schema: its columns and their types.
        name: in messages, with its article: `an item table`.
        made_by: the command that makes it.
        added_later: columns that are null where a file lacks them.
    """

    schema: pa.Schema
    name: str
    made_by: str
    added_later: frozenset[str] = frozenset()

    def read(self, path: Path, columns: list[str] | None = None) -> pa.Table:
        """Read the table, or some of its columns; columns that the schema lacks are left out.

        Raises:
            WorkspaceError: the file is missing or is no such table.
        """
        wanted = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        try:
            # Without the check, pyarrow would fill columns that are not there with nulls.
            with _file(path) as file:
                missing = set(wanted.names) - set(open_parquet(path, file).schema_arrow.names) - self.added_later
            if missing:
                raise pa.ArrowInvalid(f"no column {min(missing)!r}")
            with _file(path) as file:
                table = pq.read_table(file, schema=wanted)
            table.validate(full=True)  # texts are not checked when they are read
            for field in wanted:
                if not field.nullable and table[field.name].null_count:
                    raise pa.ArrowInvalid(f"column {field.name!r} has empty cells")
            return table
        except (OSError, ValueError, InputError, pa.ArrowException) as error:
            raise self._unreadable(path, error) from error

    def open(self, path: Path) -> pq.ParquetFile:
        """Open the file, to be read in batches.

        Raises:
            WorkspaceError: the file is missing or is no table.
        """
        try:
            return open_parquet(path, _file(path), buffer_size=2**20, pre_buffer=False)
        except (OSError, ValueError, InputError, pa.ArrowException) as error:
            raise self._unreadable(path, error) from error

    def write(self, path: Path, table: pa.Table) -> None:
        """Write a table that has the columns of the schema, in any order, atomically."""
        with atomic_write(path) as file:
            pq.write_table(table.select(self.schema.names).cast(self.schema), file, compression="zstd")

    def read_arrays(self, path: Path) -> dict[str, NDArray[Any]]:
        """Read each column as an array, shape (rows,): "" for missing text, NaN or 0 for a missing number.

        Raises:
            WorkspaceError: the file is missing or is no such table.
        """
        table = self.read(path)
        return {name: _as_array(table[name]) for name in self.schema.names}

    def write_arrays(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write arrays as `read_arrays` returns them, atomically."""
        columns = []
        for field in self.schema:
            values = arrays[field.name]
            text = field.type == pa.string()
            missing = (values == "" if text else np.isnan(values)) if field.nullable else None
            columns.append(pa.array(values.tolist() if text else values, field.type, mask=missing))
        self.write(path, pa.table(columns, names=self.schema.names))

    def _unreadable(self, path: Path, error: Exception) -> WorkspaceError:
        return WorkspaceError(f"{path} cannot be read as {self.name}: {error}", hint=f"run `{self.made_by}`")


@dataclass(frozen=True)
class PairTable:
    """A table of unordered pairs in memory, each once: item rows `a < b`, each of shape (rows,)."""

    TABLE: ClassVar[ArtefactTable]

    a: NDArray[np.int32]
    b: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def read(cls, path: Path, n_items: int | None = None) -> Self:
        """Read the table; `n_items` is the size of the catalogue, where it is known.

        Raises:
            WorkspaceError: the file is missing, is no such table, or holds what cannot be.
        """
        columns = cls.TABLE.read_arrays(path)
        if (wrong := cls.find_impossible(columns, n_items)) is not None:
            raise WorkspaceError(f"{path} is damaged: {wrong}", hint=f"run `{cls.TABLE.made_by}` again")
        return cls.of_columns(columns)

    @classmethod
    def find_impossible(cls, columns: Mapping[str, NDArray[Any]], n_items: int | None) -> str | None:
        """Return what of the columns cannot be, None where all can: whoever made a workspace may have written any."""
        a, b = columns["a"], columns["b"]
        if len(a) and not (a.min() >= 0 and (a < b).all()):
            return "its pairs are not of two items in their order"
        if len(b) and n_items is not None and b.max() >= n_items:
            return "it names items that are not in the catalogue"
        for field in cls.TABLE.schema:
            values = columns[field.name]
            if values.dtype.kind == "f" and not field.nullable and not np.isfinite(values).all():
                return f"{field.name} is not always a number"
        return None

    def write(self, path: Path) -> None:
        """Write the table, atomically."""
        self.TABLE.write_arrays(path, self.columns())

    @classmethod
    def of_columns(cls, columns: Mapping[str, NDArray[Any]]) -> Self:
        """Build the table from its columns by name."""
        return cls(**columns)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, rows: NDArray[Any]) -> Self:
        """Return some rows, by a mask or by number."""
        return self.of_columns({name: values[rows] for name, values in self.columns().items()})

    def joined(self, other: Self) -> Self:
        """Return the rows of both, sorted by pair."""
        theirs = other.columns()
        both = self.of_columns(
            {name: np.concatenate([values, theirs[name]]) for name, values in self.columns().items()}
        )
        return both.select(np.lexsort((both.b, both.a)))

    def find(self, a: NDArray[Any], b: NDArray[Any], n_items: int) -> NDArray[np.int64]:
        """Return the row of each pair of item rows, -1 where it is not in the table; shape (pairs,)."""
        return find_pairs(self.a, self.b, a, b, n_items)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Tell errors of a table in a workspace whose pages are damaged, where it is read piece by piece."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise WorkspaceError(f"{name} is damaged: {error}", hint="run `mmsc prepare SOURCE` again") from error


def check_texts(read: pa.Table | pa.RecordBatch, name: str, schema: pa.Schema | None = None) -> None:
    """Check what was read of a table in a workspace: texts are not checked by reading them.

    Raises:
        WorkspaceError: a text is not UTF-8; or a column that `schema` knows has another type, or empty cells.
    """
    try:
        read.validate(full=True)
        for field in schema or ():
            if field.name in read.schema.names:
                if not _is_of(read.schema.field(field.name).type, field.type):
                    raise pa.ArrowInvalid(f"column {field.name!r} is not of the type {field.type}")
                if not field.nullable and read.column(field.name).null_count:
                    raise pa.ArrowInvalid(f"column {field.name!r} has empty cells")
    except pa.ArrowInvalid as error:
        raise WorkspaceError(f"{name} is damaged: {error}", hint="run `mmsc prepare SOURCE` again") from error


def _is_of(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether types are the same, whatever the elements of lists are called."""
    lists = pa.types.is_list(found) and pa.types.is_list(wanted)
    return bool(found.value_type == wanted.value_type if lists else found == wanted)


def _file(path: Path) -> pa.OSFile:
    """The file opened by its bytes: pyarrow takes no name that is not UTF-8."""
    refuse_irregular(path)
    return pa.OSFile(os.fsencode(path))


def _as_array(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_integer(column.type):
        column = column.fill_null(0)
    if column.type != pa.string():
        numbers: NDArray[Any] = column.to_numpy()
        return numbers
    # Different texts of a column are few (splits, models, directions): each is decoded once, not once a row.
    encoded = pa.concat_arrays([pa.array([], pa.string()), *column.fill_null("").chunks]).dictionary_encode()
    texts: NDArray[Any] = np.asarray(encoded.dictionary.to_pylist(), dtype=np.str_)
    return texts[encoded.indices.to_numpy()] if len(texts) else texts
