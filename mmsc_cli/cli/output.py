"""What goes to stdout (data) and to stderr (everything else)."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

LOG = logging.getLogger("mmsc_cli")
# C0 and C1 controls and the marks that reorder text: a title must not steer the terminal, nor break a TSV row.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


def plain(value: Any) -> str:
    """Text of a cell, without control characters, tabs or line ends."""
    return _UNSAFE.sub(" ", f"{value:.4f}" if isinstance(value, float) else str(value))


class Output:
    """One command's output, in the form the user asked for."""

    def __init__(self, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._console: Console | None = None
        LOG.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
        LOG.handlers = [_ConsoleHandler(self)]
        LOG.propagate = False

    def console(self) -> Console:
        """The Rich console on stderr."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)
        return self._console

    def shows_progress(self) -> bool:
        """Whether somebody is watching stderr."""
        return sys.stderr.isatty() and not self.quiet

    def note(self, text: str) -> None:
        """Tell the user something on stderr; silent with -q."""
        LOG.info(text)

    def result(self, value: Mapping[str, Any], summary: str) -> None:
        """A stage's result: with --json one object on stdout, otherwise a line on stderr."""
        if self.as_json:
            self.write(json.dumps(value, ensure_ascii=False) + "\n")
        else:
            self.note(summary)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """A table on stdout: drawn on a terminal, TSV with a header otherwise."""
        if not sys.stdout.isatty():
            self.write("\t".join(columns) + "\n")
            for row in rows:
                self.write("\t".join(plain(cell) for cell in row) + "\n")
            return
        self.draw(columns, rows, title)

    def draw(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """A drawn table on stdout, whether or not it is a terminal."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(plain(title)) if title else None, title_justify="left")
        for name in columns:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110).print(table)

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
        text = plain(record.getMessage())
        if record.levelno >= logging.WARNING:
            text = f"warning: {text}"
        if self._output.shows_progress():
            self._output.console().print(text, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")
