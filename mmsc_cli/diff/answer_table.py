"""All answers of one night, from a workspace, an index or a table of `mmsc infer --all`, wherever that lies."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.files.table_file import record_batches
from mmsc_cli.files.unpacking import open_unpacked
from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.recommender import Outcome, Recommender
from mmsc_cli.places.address import is_database, is_object, parse_table
from mmsc_cli.places.copies import Copies
from mmsc_cli.places.publish import read_published
from mmsc_cli.runtime.progress import SILENT, Progress, Task
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.tables.relations import RELATIONS, Relation

SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("relation", pa.string()),
        ("rank", pa.int64()),
        ("item", pa.string()),
        ("score", pa.float64()),
        ("title", pa.string()),
    ]
)
ENDINGS = (".parquet", ".tsv", ".csv", ".jsonl", ".json")
# With rules or bestsellers, a table says where its answers come from.
_SOURCE = "source"
_READ = pa.schema([*SCHEMA, (_SOURCE, pa.string())])
_AT_ONCE = 1_000  # queries
_LONGEST_HEADER = 65_536
# What a stranger's file makes its readers raise; EOFError and zlib.error are of packed ones that are cut or damaged.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, EOFError, zlib.error)
_FORMS = f"give a workspace, an index, or a table of `mmsc infer --all` ({', '.join(ENDINGS)}; also .gz or .zst)"


@dataclass(frozen=True)
class AnswerTable:
    """The answers of one night.

    `answers` has the columns of SCHEMA. `items` are the ids of the catalogue; of a table, all that it names.
    `recommender` gives titles and reasons, where the night is a workspace or an index.
    """

    source: str
    answers: pa.Table
    items: pa.Array
    recommender: Recommender | None = None

    def has(self, item_id: str) -> bool:
        """Whether an item is in the catalogue."""
        return bool(pc.index(self.items, item_id).as_py() >= 0)

    def title(self, item_id: str) -> str | None:
        """The title of an item, if it is known: a table has those of answers alone."""
        if self.recommender is not None:
            return self.recommender.title(item_id) if self.has(item_id) else None
        row = pc.index(self.answers["item"], item_id).as_py()
        return None if row < 0 else self.answers["title"][row].as_py()

    def why(self, query: str, relation: Relation, item_id: str | None) -> str | None:
        """Why an item answers a query, in a sentence; None where nobody can tell."""
        if self.recommender is None:
            return None
        (outcome,) = self.recommender.answer([query], relation, explain=True)
        if isinstance(outcome, MmscError):
            return None
        return next((answer.why.summary for answer in outcome if answer.item == item_id and answer.why), None)


def read_answers(source: str, k: int, progress: Progress = SILENT) -> AnswerTable:
    """Read the answers of a night: at most the `k` best of each query and relation.

    Args:
        source: the path of a workspace, an index or a table; or the address of a table in a bucket or a database.
        k: the number of answers.
        progress: told how far the reading is.

    Raises:
        InputError: it is neither a workspace, nor an index, nor a table of answers; or two answers have one rank.
        UnreachableError: the bucket or the database does not answer.
        WorkspaceError: the workspace has no index, or a damaged one.
    """
    if is_database(source):
        where = redact(source)
        table = read_published(parse_table(source), where, SCHEMA.names, [_SOURCE])
        return _checked(lambda: table.cast(_schema(table.column_names)), where, k)
    if is_object(source):
        with TemporaryDirectory() as folder:
            (path,) = Copies(Path(folder), progress).files(source)[:1]
            return _of_file(path, source, k)
    path = Path(source)
    return _of_index(path, k, progress) if path.is_dir() else _of_file(path, source, k)


def _of_file(path: Path, where: str, k: int) -> AnswerTable:
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    if not path.is_file() or not name.endswith(ENDINGS):
        raise InputError(f"{where}: {'unknown kind of file' if path.is_file() else 'no such file'}", hint=_FORMS)
    return _checked(lambda: _read_table(path, name.rsplit(".", 1)[-1]), where, k)


def _checked(read: Callable[[], pa.Table], where: str, k: int) -> AnswerTable:
    try:
        answers = read()
        answers.validate(full=True)  # texts are not checked when they are read
    except (*_UNREADABLE, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where} cannot be read as a table of answers: {reason}", hint=_FORMS) from error
    answers = answers.filter(pc.less_equal(answers["rank"], k))
    _check(answers, where)
    named = pa.concat_arrays([*answers["query"].chunks, *answers["item"].chunks])
    return AnswerTable(where, answers.select(SCHEMA.names), pc.unique(named))


def _schema(names: Sequence[str]) -> pa.Schema:
    """The columns of a table that are read."""
    return pa.schema([_READ.field(name) for name in _READ.names if name in (*SCHEMA.names, *names)])


def _of_index(folder: Path, k: int, progress: Progress) -> AnswerTable:
    if (folder / "index.json").exists():
        recommender = Recommender(Index.open(folder), folder.parent)
    else:
        recommender = Recommender.open(folder, exact=True)
    ids = [str(recommender.index.ids[row]) for row in range(len(recommender))]
    with progress.task(f"answers of {folder}", total=len(ids)) as task:
        answers = table_of(recommender.answer(ids, "both", k), task)
    return AnswerTable(str(folder), answers, pa.array(ids, pa.string()), recommender)


def table_of(outcomes: Iterable[Outcome], task: Task) -> pa.Table:
    """The answers to many questions, with the columns of SCHEMA.

    Raises:
        MmscError: one of the questions could not be answered.
    """
    tables = [SCHEMA.empty_table()]
    left = iter(outcomes)
    while chunk := list(islice(left, _AT_ONCE)):
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        for outcome in chunk:
            if isinstance(outcome, MmscError):
                raise outcome
            for answer in outcome:
                for name, values in columns.items():
                    values.append(getattr(answer, name))
        task.advance(len(chunk))
        tables.append(pa.table(columns, SCHEMA))
    return pa.concat_tables(tables)


def _read_table(path: Path, kind: str) -> pa.Table:
    if kind == "parquet":
        schema = _schema(pq.read_schema(path).names)
        with path.open("rb") as file:
            blocks = record_batches(path, file, lambda batch: pa.Table.from_batches([batch]).cast(schema), schema.names)
            return pa.concat_tables([schema.empty_table(), *blocks])
    with open_unpacked(path) as content:
        if kind == "jsonl":
            options = pyarrow.json.ParseOptions(explicit_schema=_READ, unexpected_field_behavior="ignore")
            return pyarrow.json.read_json(content, parse_options=options)
        if kind == "json":
            return pa.Table.from_pylist(json.loads(content.read())["answers"], _READ)
        # `infer` writes TSV without quotes: it leaves no tabs in cells.
        separated = pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False) if kind == "tsv" else None
        typed = pyarrow.csv.ConvertOptions(
            column_types=_READ,
            include_columns=_READ.names if _says_sources(content) else SCHEMA.names,
            strings_can_be_null=False,
            null_values=[""],
        )
        return pyarrow.csv.read_csv(content, parse_options=separated, convert_options=typed)


def _says_sources(content: IO[bytes]) -> bool:
    """Whether the header of separated values has a column `source`; they are at their beginning, then as before."""
    header = content.read(_LONGEST_HEADER).partition(b"\n")[0]
    content.seek(0)
    return b"source" in re.split(rb'[\t,"\r]', header)


def _check(answers: pa.Table, where: str) -> None:
    """Refuse what is no table of answers: it would be compared to nothing."""
    for fault in faults(answers):
        raise InputError(f"{where}: {fault}", hint=_FORMS)


def faults(answers: pa.Table) -> Iterator[str]:
    """What makes a table, with the columns of SCHEMA, none of answers."""
    if not len(answers):
        yield "there are no answers in it"
    for name in SCHEMA.names:
        rows = answers
        if name == "score" and "source" in answers.column_names:  # the model did not rank what only fills a list
            rows = answers.filter(pc.fill_null(pc.not_equal(answers["source"], "bestseller"), True))
        if name != "title" and rows[name].null_count:
            yield f"column {name}: {rows[name].null_count:,} empty cells"
    unknown = [name for name in pc.unique(answers["relation"]).to_pylist() if name not in RELATIONS]
    if unknown:
        yield f"column relation: {unknown[0]!r} is neither {' nor '.join(RELATIONS)}"
    if len(answers) and pc.min(answers["rank"]).as_py() < 1:
        yield "column rank: the first answer has rank 1"
    places = answers.group_by(["query", "relation", "rank"]).aggregate([([], "count_all")])
    twice = places.filter(pc.greater(places["count_all"], 1)).slice(0, 1).to_pylist()
    if twice:
        place = twice[0]
        yield f"{place['query']} has {place['count_all']} {place['relation']}s of rank {place['rank']}"
