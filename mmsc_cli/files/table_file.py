"""Read one table of the user's: separated values, JSON lines, Parquet or a feed in XML, packed or not."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.feed import read_feed
from mmsc_cli.files.no_text import refuse_no_text
from mmsc_cli.files.separated import undecodable_place
from mmsc_cli.files.table_blocks import (
    ROWS_AT_A_TIME,
    Spool,
    json_array,
    json_lines,
    spool_records,
    spool_separated,
)
from mmsc_cli.files.unpacking import check_parquet, open_unpacked
from mmsc_cli.runtime.machine.memory_limit import limited_growth

Read = TypeVar("Read")
Blocks = Callable[[Sequence[int]], Iterator[list[list[Any]]]]
_BLOCK_BYTES = 8 << 20
_MOST_MEMORY = 384 << 20  # of a block of Parquet
_MENDS = {
    "parquet": "write it again as Parquet, or as CSV",
    "xml": "give a product feed: RSS or Atom with one item or entry a product",
    **dict.fromkeys(("csv", "tsv", "txt"), "check separator and quotes, and save it as UTF-8"),
    **dict.fromkeys(("jsonl", "ndjson", "json"), "one JSON object a line, in UTF-8"),
}
_PACKED = (".gz", ".zst")
_LOOKED_AT = 4096


class TableFile(Mapping[str, list[Any]]):
    """The columns of a table by name, each a list with one value a row; "" or None is an empty cell.

    Columns without a name are left out. `blocks` reads them by blocks of rows, in bounded memory.
    """

    def __init__(self, path: Path, names: Sequence[str], rows: int, blocks: Blocks) -> None:
        """`blocks` yields, block by block, the columns at given positions."""
        self.path = path
        self.rows = rows
        self.repeated = {name for name, times in Counter(names).items() if name and times > 1}
        self._position = {name: position for position, name in reversed(list(enumerate(names))) if name}
        self._names = [name for name in dict.fromkeys(names) if name]
        self._blocks = blocks

    def __getitem__(self, name: str) -> list[Any]:
        return list(self.cells(name))

    def blocks(self, names: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """Yield the columns of these names by blocks of rows, in their order."""
        for columns in self._blocks([self._position[name] for name in names]):
            yield dict(zip(names, columns, strict=True))

    def column_blocks(self, name: str) -> Iterator[list[Any]]:
        """Yield a column by blocks of rows."""
        return (block[0] for block in self._blocks([self._position[name]]))

    def cells(self, name: str) -> Iterator[Any]:
        """Yield the cells of a column."""
        return chain.from_iterable(self.column_blocks(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        """Number of columns; `rows` is the number of rows."""
        return len(self._names)

    def find(self, name: str) -> str | None:
        """The column of this name, else the only one whose name differs in case or blanks alone; None: there is none.

        Raises:
            InputError: two columns have the name.
        """
        column_name = find_name(name, self._names)
        if column_name in self.repeated:
            raise InputError(
                f"{self.path}: two columns are called {column_name!r}", hint="give every column its own name"
            )
        return column_name


def find_name(name: str, names: Sequence[str]) -> str | None:
    """The name itself, else the only one that differs in case, blanks, `_`, `-` or a last dot alone; None: none."""
    if name in names:
        return name
    alike = [other for other in names if _plain(other) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip(" .").casefold()


def read_table_file(path: Path) -> TableFile:
    """Read a table. The ending of the name says what it is, the first bytes have the last word.

    Separated values: the separator is the one of `,` `;` tab `|` that the header holds most of; every value is text.
    JSON lines and Parquet: values keep their types. A pipe is read once.

    Raises:
        InputError: no such file, an unknown ending, or content that is not what the ending says; row and column are
            named where they are known.
    """
    if not path.exists() or path.is_dir():
        raise InputError(f"no file at {path}", hint="paths in [source] are relative to the recipe file")
    kind = _ending(path)
    if kind not in _MENDS:
        if path.is_file():
            raise InputError(
                f"{path}: unknown kind of file", hint="use .csv, .tsv, .jsonl, .parquet or .xml, plain, .gz or .zst"
            )
        kind = "csv"
    try:
        content = open_unpacked(path)
        kind = _kind_by_content(content.read(100), kind)
        content.seek(0)
        if kind == "parquet":
            return _read_parquet(path, content)
        refuse_no_text(path, content.read(_LOOKED_AT))
        content.seek(0)
        names, spool = _parse(content, kind)
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not readable as {kind}: {reason}", hint=_MENDS[kind]) from error
    return TableFile(path, names, spool.rows, spool.blocks)


def _parse(content: IO[bytes], kind: str) -> tuple[list[str], Spool]:
    if kind == "xml":
        return spool_records(read_feed(content))
    if kind in ("csv", "tsv", "txt"):
        separator = "\t" if kind == "tsv" else None
        try:
            return spool_separated(content, separator)
        except UnicodeDecodeError as error:
            content.seek(0)
            raise ValueError(undecodable_place(content, separator) or "it is not UTF-8") from error
    start = content.read(100).removeprefix(b"\xef\xbb\xbf").lstrip()
    return spool_records((json_array if kind == "json" and start.startswith(b"[") else json_lines)(content))


def _ending(path: Path) -> str:
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.rsplit(".", 1)[-1]


def _kind_by_content(start: bytes, kind: str) -> str:
    if start.startswith(b"PAR1"):
        return "parquet"
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") and kind != "parquet":
        return "xml"
    if start.startswith((b'{"', b"{ ", b"{\n")) and kind in ("csv", "tsv", "txt"):
        return "jsonl"
    return kind


def _read_parquet(path: Path, content: IO[bytes]) -> TableFile:
    file = pq.ParquetFile(content)
    names = file.schema_arrow.names

    def blocks(positions: Sequence[int]) -> Iterator[list[list[Any]]]:
        def cells(batch: pa.RecordBatch) -> list[list[Any]]:
            return [_cells(path, batch.column(position), names[position]) for position in positions]

        return record_batches(path, content, cells)

    for _ in blocks([]):  # all of it is readable
        pass
    return TableFile(path, [name.strip() for name in names], file.metadata.num_rows, blocks)


def record_batches(
    path: Path, content: IO[bytes], read: Callable[[pa.RecordBatch], Read], columns: list[str] | None = None
) -> Iterator[Read]:
    """Yield what is read of the rows of a Parquet file, batch by batch; memory follows a batch.

    Args:
        path: names the file in messages.
        content: of the file.
        read: takes from a batch what is wanted.
        columns: those of a batch; None: all.

    Raises:
        InputError: it is not readable, or becomes larger than a file that was not made for it would.
    """
    metadata = pq.ParquetFile(content).metadata
    becomes = check_parquet(path, metadata, content.seek(0, os.SEEK_END))
    rows_at_a_time = min(max(_BLOCK_BYTES * metadata.num_rows // max(becomes, 1), 1), ROWS_AT_A_TIME)
    # Opened again each time, as its batches are read once. Without threads: they would escape the limit.
    batches = pq.ParquetFile(content, pre_buffer=False, buffer_size=_BLOCK_BYTES).iter_batches(
        rows_at_a_time, columns=columns, use_threads=False
    )
    while True:
        try:
            # What a page becomes is known when it has been unpacked: the footer may say anything.
            with limited_growth(_MOST_MEMORY):
                batch = next(batches, None)
                if batch is None:
                    return
                taken = read(batch)
        except MemoryError as error:
            raise InputError(
                f"{path}: {rows_at_a_time:,} rows of it take more than {_MOST_MEMORY >> 20} MiB",
                hint="write it again with smaller pages, or as CSV, if you trust it",
            ) from error
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: not readable as parquet: {error}", hint=_MENDS["parquet"]) from error
        yield taken


def _cells(path: Path, values: pa.Array, name: str) -> list[Any]:
    try:
        if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
            values = values.cast(pa.large_string())
        values.validate(full=True)  # texts are not checked when they are read
        cells: list[Any] = values.to_pylist()
    except (ValueError, OverflowError) as error:  # a moment outside the years 1 to 9999 overflows
        raise InputError(f"{path}: not readable as parquet: column {name}: {error}", hint=_MENDS["parquet"]) from error
    return cells
