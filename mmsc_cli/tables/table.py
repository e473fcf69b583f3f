"""Reading a table of the workspace as what it should be, or saying which command makes it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.errors import WorkspaceError


def read_artefact_table(
    path: Path, schema: pa.Schema, *, what: str, made_by: str, columns: list[str] | None = None
) -> pa.Table:
    """Read a Parquet file with (at least) the columns of a schema.

    Args:
        path: the file.
        schema: its columns and their types.
        what: what the table is called in messages, with its article: `an item table`.
        made_by: the command that makes it.
        columns: those to read (None: all of the schema).

    Raises:
        WorkspaceError: the file is missing or is no such table.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    try:
        # Without the check, pyarrow would fill columns that are not there with nulls.
        if missing := set(wanted.names) - set(pq.read_schema(path).names):
            raise pa.ArrowInvalid(f"no column {min(missing)!r}")
        return pq.read_table(path, schema=wanted)
    except (OSError, pa.ArrowException) as error:
        raise unreadable_table(path, what, made_by, error) from error


def unreadable_table(path: Path, what: str, made_by: str, error: Exception) -> WorkspaceError:
    """The error of a file that is missing or is no such table."""
    return WorkspaceError(f"{path} cannot be read as {what}: {error}", hint=f"run `{made_by}`")
