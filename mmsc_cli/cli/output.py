"""Output: data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmsc_cli.cli.log_lines import OPTION, LogFormat, log_line, now, write_failure
from mmsc_cli.errors import in_workspace
from mmsc_cli.runtime.redaction import redact, secret_forms
from mmsc_cli.runtime.visible import UNSAFE, as_escapes, shown, visible
from mmsc_cli.workspace.stages import STAGES

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST = 20  # characters: the least width of a drawn table
LOG = logging.getLogger("mmsc_cli")


def plain(value: Any) -> str:
    """Text of a cell, without control characters, tabs or line ends."""
    return UNSAFE.sub(" ", f"{value:.4f}" if isinstance(value, float) else str(value))


def as_tsv(cells: Iterable[Any]) -> str:
    """One line of tab-separated values."""
    return "\t".join(map(plain, cells)) + "\n"


def as_json(value: Any) -> str:
    """One line of JSON that is safe to print: unsafe characters are escaped, none is lost."""
    return UNSAFE.sub(as_escapes, json.dumps(value, ensure_ascii=False, allow_nan=False))


def read_by_people(value: Any) -> str:
    """Return the text of a cell or a message as people read it: see `visible.shown`."""
    return shown(f"{value:.4f}" if isinstance(value, float) else str(value))


def has_styles() -> bool:
    """Whether NO_COLOR leaves styles alone (no-color.org). Rich on its own would keep bold letters."""
    return not os.environ.get("NO_COLOR")


def _color_system() -> Literal["auto"] | None:
    return "auto" if has_styles() else None


class Output:
    """One command's output, in the form the user asked for."""

    def __init__(
        self,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        workspace: Path = Path("workspace"),
        log_format: LogFormat | None = None,
        command: str = "",
    ) -> None:
        """Set up the log of the package; commands in it are completed with `-w` as `workspace` needs.

        `log_format`: of the lines on stderr, which then have their time, also those of libraries; None: for people.
        """
        self.as_json = as_json
        self.quiet = quiet
        self.workspace = workspace
        self.log_format = log_format
        self.command = command
        self._console: Console | None = None
        self._secrets = secret_forms()
        LOG.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
        handler = _ConsoleHandler(self)
        LOG.handlers = [handler]
        LOG.propagate = False
        others = logging.getLogger()
        for earlier in [known for known in others.handlers if isinstance(known, _ConsoleHandler)]:
            others.removeHandler(earlier)
        logging.captureWarnings(log_format is not None)
        if log_format is not None:
            handler.setLevel(logging.NOTSET)
            others.addHandler(handler)

    def console(self) -> Console:
        """The Rich console on stderr."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415  Rich is slow to import

            self._console = Console(stderr=True, highlight=False, color_system=_color_system())
        return self._console

    def shows_progress(self) -> bool:
        """Whether stderr is a terminal that should show progress."""
        return sys.stderr.isatty() and not self.quiet and self.log_format is None

    def note(self, text: str, **fields: Any) -> None:
        """Write a line to stderr; silent with -q. `fields`: what a log in JSON has beside the text."""
        LOG.info(text, extra={"fields": fields})

    def timed_line(self, text: str, fields: Mapping[str, Any]) -> None:
        """Write a line of printable ASCII to stderr, with its time; for many lines, as of a server's requests."""
        text, form = redact(text, self._secrets), self.log_format
        line = f"{now()} {text}" if form is None else log_line(form, "info", self.command, text, fields)
        sys.stderr.write(line + "\n")

    @staticmethod
    def warn(text: str) -> None:
        """Write a warning to stderr."""
        LOG.warning(text)

    def failure(self, lines: list[str], code: int) -> None:
        """Write what `failures.describe` says of an error to stderr, and the exit code that it leads to."""
        write_failure(lines, code, [self.command, *([OPTION, self.log_format] if self.log_format else [])])

    def result(self, value: Mapping[str, Any], summary: str) -> None:
        """A stage's result: with --json one object on stdout, otherwise a line on stderr."""
        if self.as_json:
            self.json(value)
        else:
            self.note(summary, **value)

    def json(self, value: Any) -> None:
        """One JSON value on a line of stdout."""
        self.write(as_json(value) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """A table on stdout: drawn on a terminal, TSV with a header otherwise."""
        if not sys.stdout.isatty():
            self.write("".join(map(as_tsv, [columns, *rows])))
            return
        self.draw(columns, rows, title)

    def draw(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """A drawn table on stdout, under its title, whether or not it is a terminal."""
        from rich.console import Console  # noqa: PLC0415  Rich is slow to import
        from rich.table import Table  # noqa: PLC0415  Rich is slow to import
        from rich.text import Text  # noqa: PLC0415  Rich is slow to import

        # COLUMNS=0, or a terminal that says 0, is a width that nobody knows.
        width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else 100
        console = Console(file=sys.stdout, highlight=False, width=width, color_system=_color_system())
        if title:
            console.print(Text(shown(title), style="bold"), no_wrap=True, overflow="ellipsis")
        table = Table()
        for column, name in enumerate(columns):
            numeric = bool(rows) and isinstance(rows[0][column], int | float)
            table.add_column(Text(name), overflow="fold", justify="right" if numeric else "left")
        for row in rows:
            table.add_row(*(Text(read_by_people(cell)) for cell in row))
        console.print(table)

    def text(self, text: str) -> None:
        """A text of several lines on stdout: nothing in it is hidden on a terminal, elsewhere it is as it is."""
        self.write(visible(text) if sys.stdout.isatty() else text)

    @staticmethod
    def write(text: str) -> None:
        """Data to stdout, as it is."""
        sys.stdout.write(text)


class _ConsoleHandler(logging.Handler):
    """Log records to stderr, through Rich where a progress bar may be on the screen."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        text = shown(redact(in_workspace(record.getMessage(), self._output.workspace)))
        form = self._output.log_format
        if form is not None:
            line = log_line(form, record.levelname.lower(), self._output.command, text, _fields(record))
            sys.stderr.write(redact(line) + "\n")
            return
        if record.levelno >= logging.WARNING:
            text = f"warning: {text}"
        if self._output.shows_progress():
            self._output.console().print(text, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a log in JSON has beside the text: the stage, an error's name, and what the record brings along."""
    _, _, rest = record.name.partition(".")
    stage = rest.partition(".")[0]
    fields: dict[str, Any] = {"stage": stage} if stage in STAGES else {}
    if record.exc_info and record.exc_info[1] is not None:
        fields["error"] = repr(record.exc_info[1])
    return {**fields, **getattr(record, "fields", {})}
