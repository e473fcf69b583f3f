"""DuckDB, as every use of it here needs it: bounded in memory, with a place to spill to, fetching nothing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import NotEnoughMemoryError
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.runtime.machine.memory import available_memory

MEMORY_GIB = 1.0
MEMORY_FLOOR = 128 << 20
_SHARE = 0.5


def literal(text: str) -> str:
    """A text as it stands in a statement, where no parameter can."""
    return "'" + text.replace("'", "''") + "'"


class Engine:
    """A database in memory, whose overflow goes to a folder. A context manager: the overflow is removed at the end."""

    def __init__(self, folder: Path, memory_gib: float = MEMORY_GIB) -> None:
        """`folder` takes the overflow; `memory_gib` is what DuckDB may use (the process itself comes on top).

        It never plans with more than _SHARE of what there is: what does not fit goes to the disk.
        """
        self._memory = max(MEMORY_FLOOR, min(round(memory_gib * 2**30), int(_SHARE * available_memory())))
        self._overflow = folder / "overflow"
        self._overflow.mkdir()
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{self._memory >> 20}MiB",
                "temp_directory": str(self._overflow),
                "threads": usable_cores(),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        shutil.rmtree(self._overflow, ignore_errors=True)

    def run(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement with named parameters and return its rows.

        Raises:
            NotEnoughMemoryError: it needs more memory than the engine may use, or than there is.
            OSError: the disk is full.
            duckdb.Error: anything else is wrong.
        """
        with self._understood():
            return self._connection.execute(statement, parameters or None).fetchall()

    def columns(self, statement: str, **parameters: Any) -> dict[str, NDArray[Any]]:
        """The same, as one array per column; there must be no nulls but in columns of text."""
        with self._understood():
            found = self._connection.execute(statement, parameters or None).fetchnumpy()
        return {name: np.asarray(values) for name, values in found.items()}

    def batches(self, statement: str, rows: int, **parameters: Any) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a statement as they come, `rows` at a time."""
        with self._understood():
            yield from self._connection.sql(statement, params=parameters or None).to_arrow_reader(rows)

    def add_table(self, name: str, table: pa.Table) -> None:
        """Make a table of the engine from one in memory."""
        with self._understood():
            self._connection.register("given", table)
            self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
            self._connection.unregister("given")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """DuckDB's errors as ours."""
        try:
            yield
        except duckdb.IOException as error:
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(self._overflow)) from error
            raise
        except duckdb.OutOfMemoryException as error:
            raise self._not_enough(str(error).splitlines()[0]) from error
        except OSError as error:  # what pyarrow makes of DuckDB's errors while rows stream
            if "Out of Memory" in str(error):
                raise self._not_enough(str(error).splitlines()[0]) from error
            if "No space left" in str(error) and error.errno is None:
                raise OSError(errno.ENOSPC, "No space left on device", str(self._overflow)) from error
            raise
        except RuntimeError as error:
            if str(error) == "Query interrupted":  # what DuckDB makes of a Ctrl-C
                raise KeyboardInterrupt from error
            raise

    def _not_enough(self, reason: str) -> NotEnoughMemoryError:
        """DuckDB says that it ran out: of what it may use, or (a failed allocation) of what there is."""
        if "bad allocation" in reason:
            return NotEnoughMemoryError(
                f"not enough memory to join and sort: {reason}",
                hint="raise the container's memory limit, or free memory; some hundred MiB are needed",
            )
        return NotEnoughMemoryError(
            f"not enough memory or disk to join and sort within {self._memory / 2**30:.2g} GiB: {reason}",
            hint="free some space on the workspace's disk, or memory; for events, raise source.memory_gib",
        )
