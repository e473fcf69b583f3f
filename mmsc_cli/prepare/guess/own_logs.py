"""Logs that are no known export: which columns they share, and whether those without types hold views or purchases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmsc_cli.prepare.guess.arguments import Source
from mmsc_cli.prepare.guess.head import Head
from mmsc_cli.prepare.guess.tables import Table
from mmsc_cli.prepare.settings import EventType
from mmsc_cli.prepare.sources.aliases import ORDER_COLUMNS, SHOPPER_COLUMNS, alike
from mmsc_cli.prepare.sources.log.log_part import is_named

# How words begin that say in the name of a file or of a column what its rows are.
_VIEWS = (
    *("view", "visit", "click", "pageview", "session", "browsing"),
    *("aufruf", "ansicht", "klick", "besuch", "sitzung", "vue", "visite"),
)
_VISITS = ("visit", "session", "sitzung", "besuch")
_PURCHASES = (*ORDER_COLUMNS, "bought", "sold", "kauf", "verkauf", "verkäuf", "einkauf", "einkäuf", "umsatz")


@dataclass(frozen=True)
class LogFile:
    """A file of events.

    Attributes:
        table: what it is.
        source: the word of the command line that stands for it.
    """

    table: Table
    source: Source

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.table.head.path


@dataclass(frozen=True)
class OwnLog:
    """Files that get columns of their own in the recipe.

    Attributes:
        table: the first of them; its columns are those of all.
        files: how the recipe names them.
    """

    table: Table
    files: list[str]


def settle(files: Sequence[LogFile]) -> list[LogFile]:
    """Give files with the same header the same columns, and say what the rows are of those without a type."""
    shared: dict[tuple[str, ...], dict[str, str]] = {}
    for file in files:
        if file.table.export is None:
            columns = shared.setdefault(tuple(file.table.head.names), {})
            columns |= {
                ours: theirs
                for ours, theirs in file.table.columns.items()
                if ours not in columns and theirs not in columns.values()
            }
    return [
        file if file.table.export else LogFile(_settled(file, shared[tuple(file.table.head.names)]), file.source)
        for file in files
    ]


def _settled(file: LogFile, columns: dict[str, str]) -> Table:
    missing = tuple(name for name in file.table.missing if name not in columns)
    rows = None if "type" in columns else _rows(_named(file), file.table.head, columns)
    return replace(file.table, columns=dict(columns), missing=missing, rows=rows)


def own_logs(files: Sequence[LogFile]) -> list[OwnLog]:
    """The files that need columns of their own: all that are no export, unless one mapping reads the log as it is."""
    layouts: dict[object, list[LogFile]] = {}
    for file in files:
        layouts.setdefault(file.table.layout, []).append(file)
    if len(layouts) < 2 and not any(file.table.rows == "view" for file in files):
        return []
    own = [alike_files for alike_files in layouts.values() if alike_files[0].table.export is None]
    return [OwnLog(alike_files[0].table, _names(alike_files, files)) for alike_files in own]


def _rows(name: str, head: Head, columns: dict[str, str]) -> EventType:
    """What all rows of a log are that does not say it; in doubt purchases."""
    others = [other for other in head.names if other != columns.get("item")]
    if (
        _has_word(name, _PURCHASES)
        or "quantity" in columns
        or any(alike(ours, others) for ours in ("quantity", "price"))
        or any(_has_word(other, ORDER_COLUMNS) for other in others)
    ):
        return "purchase"
    session = [word for word in _words(columns.get("session", "")) if not word.startswith(SHOPPER_COLUMNS)]
    of_visits = any(word.startswith(_VISITS) for word in session)
    return "view" if of_visits or _has_word(name, _VIEWS) else "purchase"


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _has_word(name: str, beginnings: tuple[str, ...]) -> bool:
    return any(word.startswith(beginnings) and not word.startswith(SHOPPER_COLUMNS) for word in _words(name))


def _named(file: LogFile) -> str:
    """The name of a file; in a folder of the command line, with the folders that lead to it."""
    folder = file.source.path
    return str(folder.name / file.path.relative_to(folder)) if folder.is_dir() else file.path.name


def _names(files: Sequence[LogFile], log: Sequence[LogFile]) -> list[str]:
    """Names for files by which none of the other files of the log goes; a folder or a pattern stays one."""
    meant = [file.path for file in files]
    others = sorted({file.path for file in log}.difference(meant))
    names = list(dict.fromkeys(_pattern(file) for file in files))
    if all(is_named(path, names) for path in meant) and not any(is_named(path, names) for path in others):
        return names
    return [_end(path, others) for path in meant]


def _pattern(file: LogFile) -> str:
    given = file.source.path
    if given.is_dir():
        return "/".join([given.name, *("*" for _ in file.path.relative_to(given).parts)])
    return given.name


def _end(path: Path, others: Sequence[Path]) -> str:
    """The shortest end of a path that is the end of none of the others."""
    ends = ("/".join(path.parts[-length:]) for length in range(1, len(path.parts) + 1))
    return next((end for end in ends if not any(is_named(other, end) for other in others)), str(path))
