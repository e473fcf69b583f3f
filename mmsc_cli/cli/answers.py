"""Writing the answers of `infer` as they come, whatever their form; a question that fails goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from mmsc_cli.cli import answer_forms
from mmsc_cli.cli.answer_forms import Form
from mmsc_cli.cli.failure import GATE, OK, describe, exit_code
from mmsc_cli.cli.output import Output
from mmsc_cli.errors import InputError, MmscError

# One question: what its tables are headed with, and the rows that answer it (dataclasses); or why there are none.
Outcome = tuple[str, Sequence[Any]] | MmscError


class FormatName(StrEnum):
    """Values of --format."""

    table = "table"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"


class AnswerWriter:
    """Writes what is answered before it asks for more."""

    def __init__(
        self, out: Output, kind: type, columns: Sequence[str], form: FormatName | None, strict: bool = False
    ) -> None:
        """Choose the form: a table on a terminal, else TSV, unless `form` or --json says otherwise.

        Args:
            out: where to write.
            kind: the dataclass of the rows.
            columns: the fields to write.
            form: what --format says.
            strict: end at the first question that fails.

        Raises:
            InputError: two forms are asked for, or bytes would go to a terminal.
        """
        if form and out.as_json:
            raise InputError(f"--json and --format {form} exclude one another", hint="leave one of them out")
        if form == FormatName.parquet and sys.stdout.isatty():
            raise InputError("--format parquet writes bytes", hint="send them to a file: > answers.parquet")
        self._strict = strict
        self._form = self._chosen(out, kind, columns, form)

    @staticmethod
    def _chosen(out: Output, kind: type, columns: Sequence[str], form: FormatName | None) -> Form:
        if out.as_json:
            return answer_forms.JsonObject(out, columns)
        match form or (FormatName.table if sys.stdout.isatty() else FormatName.tsv):
            case FormatName.table if "relation" in columns:
                return answer_forms.Tables(out, columns)
            case FormatName.table:
                return answer_forms.OneTable(out, columns)
            case FormatName.tsv:
                return answer_forms.Tsv(out, columns)
            case FormatName.jsonl:
                return answer_forms.JsonLines(out, columns)
            case _:
                return answer_forms.Parquet(kind, columns)

    def write(self, batches: Iterable[Iterable[Outcome]]) -> int:
        """Write all answers, each batch before the next one is asked for.

        Returns:
            The exit code: 0; 3 where there was an unknown item, else 1 where a line could not be used.

        Raises:
            MmscError: a question failed, and the run is strict.
        """
        code = OK
        self._form.begin()
        for batch in batches:
            for outcome in batch:
                if isinstance(outcome, MmscError):
                    code = max(code, self._failed(outcome))
                else:
                    self._form.add(*outcome)
            sys.stdout.flush()
        self._form.end()
        return code

    def _failed(self, error: MmscError) -> int:
        if self._strict:
            raise error
        sys.stderr.write("\n".join(describe(error)) + "\n")
        return GATE if isinstance(error, InputError) else exit_code(error)
