"""Where answers go: to stdout, or with --to, whole or not at all, to a file, a bucket or a database."""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from mmsc_cli.cli.formats import WRITERS, Answered, Columns, Form, FormatName, arrow_schema, choose_form, record_batches
from mmsc_cli.cli.output import Output
from mmsc_cli.errors import InputError
from mmsc_cli.places.address import is_database, is_object, parse_object, parse_table
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.redaction import redact

if TYPE_CHECKING:
    from mmsc_cli.places.address import ObjectAddress

_PACKINGS = {".gz": "gzip", ".zst": "zstd"}
# Readers ask for the answers to an item.
_INDEX = ("query", "relation", "rank")


def choose_destination(out: Output, columns: Columns, form: FormatName | None, to: str | None) -> Form:
    """What writes answers to where --to says, or to stdout.

    Args:
        out: stdout, and what is told how many answers there are.
        columns: the columns to write, and their types.
        form: what --format says; None: of a file, as its name ends.
        to: what --to says.

    Raises:
        InputError: the form or the place makes no sense, or they do not go together.
    """
    if to is None:
        return choose_form(out, columns, form)
    if is_database(to):
        if form or out.as_json:
            raise InputError("a table of a database has no form", hint="leave --format and --json out")
        return functools.partial(_to_table, out, columns, to)
    name = _form_of(out, form, to)
    address = parse_object(to) if is_object(to) else None
    return functools.partial(_to_file, out, columns, name, to, address)


def _form_of(out: Output, form: FormatName | None, to: str) -> str:
    if "://" in to and not is_object(to):
        raise InputError(
            f"--to {redact(to)}: no such kind of address", hint="give a file, s3://, gs:// or postgresql://"
        )
    if form and out.as_json:
        raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
    name = to.lower()
    for ending in _PACKINGS:
        name = name.removesuffix(ending)
    chosen = form or ("json" if out.as_json else name.rpartition(".")[2])
    if chosen not in WRITERS:
        raise InputError(
            f"--to {to}: nothing says in which form", hint="let the name end with .tsv, .csv, .jsonl, .json or .parquet"
        )
    return chosen


def _to_table(out: Output, columns: Columns, to: str, answers: Iterable[Answered]) -> None:
    from mmsc_cli.places.publish import publish  # noqa: PLC0415  brings pyarrow

    address = parse_table(to)
    rows = publish(address, redact(to), arrow_schema(columns), record_batches(answers, columns), _INDEX)
    name = ".".join(filter(None, [address.schema, address.table]))
    out.note(f"answers: {counted(rows, 'row')} in the table {name} of {redact(address.uri)}", rows=rows)


def _to_file(
    out: Output, columns: Columns, form: str, to: str, address: ObjectAddress | None, answers: Iterable[Answered]
) -> None:
    rows = 0

    def watched() -> Iterator[Answered]:
        nonlocal rows
        for heading, group in answers:
            rows += len(group)
            yield heading, group
        if not rows:
            raise InputError(f"there are no answers, so that {to} stays as it was", hint="look at the filters")

    with _whole_object(address) if address else atomic_write(_regular(to)) as raw, _packed(raw, to) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        WRITERS[form](text, columns, watched())
        text.flush()
        text.detach()
    out.note(f"answers: {counted(rows, 'row')} in {to}", rows=rows)


@contextlib.contextmanager
def _whole_object(address: ObjectAddress) -> Iterator[IO[bytes]]:
    """A file of the temporary folder that is put into a bucket once it is whole."""
    from mmsc_cli.places.buckets import put_object  # noqa: PLC0415  brings pyarrow

    with tempfile.NamedTemporaryFile(prefix="mmsc-") as file:
        yield cast(IO[bytes], file)
        file.flush()
        put_object(Path(file.name), address)


class _StaysOpen(io.RawIOBase):
    """A file that is not closed with what writes to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)


@contextlib.contextmanager
def _packed(raw: IO[bytes], to: str) -> Iterator[IO[bytes]]:
    packing = next((packing for ending, packing in _PACKINGS.items() if to.lower().endswith(ending)), None)
    if packing is None:
        yield raw
        return
    import pyarrow as pa  # noqa: PLC0415  slow to import

    with pa.CompressedOutputStream(pa.PythonFile(_StaysOpen(raw), "w"), packing) as stream:
        yield cast(IO[bytes], stream)


def _regular(to: str) -> Path:
    """The file that is to be replaced: links are followed, and what is no file is left alone."""
    path = Path(to).resolve()
    if path.exists() and not path.is_file():
        raise InputError(f"--to {to}: no regular file", hint="name a file; for a pipe leave --to out")
    if not path.parent.is_dir():
        raise InputError(f"--to {to}: there is no folder {path.parent}", hint="make it, or name another")
    return path
