"""Write a guess as a recipe that a person can edit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from mmsc_cli.places.address import is_object
from mmsc_cli.prepare.guess.guess import Guess, described_columns, shortened, type_column, unused_columns
from mmsc_cli.prepare.guess.tables import Kind, Table
from mmsc_cli.prepare.settings import EventType

_HEAD = """\
# Guessed from the files; {then}.
# `mmsc recipes settings` explains every setting, `mmsc check THIS-FILE` shows what the data hold.

name = {name}
seed = 1

[source]
kind = {kind}
"""
_THEN = "change what is wrong, then: mmsc run with this file; its paths are relative to it"
_THEN_IN_WORKSPACE = "`mmsc run FILES` writes this file again, so copy it before you change it"
_AMAZON = """\
# Amazon's metadata is given on the command line: --input {files}
"""
_TAIL = """\

[encode]
encoder = "classic"         # needs no download; "auto" takes an open_clip model

# [label]                   # a second opinion on pairs, by a language model or by rules
# model = "rules"
"""
_EVENT_SETTINGS = """\
# min_support = 2           # sessions in which a pair must occur; default: what ranks held-out pairs best
# session_items = 50        # items of a session that count, the earliest first
# since = "90d"             # leave out what is older, here than 90 days before the newest event
"""


def recipe_text(decided: Guess, *, absolute: bool = False) -> str:
    """A recipe as TOML.

    Args:
        decided: what was decided.
        absolute: name files by absolute paths, so that the recipe works wherever it is stored.
    """
    quoted = _absolute if absolute else _quoted
    then = _THEN_IN_WORKSPACE if absolute else _THEN
    sources = decided.sources
    name = Path(sources[next(iter(kind for kind in ("items", "events", "amazon") if kind in sources))][0])
    if "amazon" in sources:
        files = " --input ".join(sources["amazon"])
        return _HEAD.format(then=then, name=_quoted(_stem(name)), kind='"amazon"') + _AMAZON.format(files=files) + _TAIL
    kind = "table" if "pairs" in sources else "events"
    lines = [_HEAD.format(then=then, name=_quoted(_stem(name)), kind=_quoted(kind)).rstrip("\n")]
    if kind == "events":
        lines.append(f"events = {_paths(sources['events'], quoted)}")
    if "items" in sources:
        lines.append(f"items = {_paths(sources['items'], quoted)}")
    if kind == "table":
        lines.append(f"pairs = {_paths(sources['pairs'], quoted)}")
    if decided.match_ids != "exact":
        lines.append(f"match_ids = {_quoted(decided.match_ids)}         # what makes the ids of both files meet")
    if decided.window_minutes is not None:
        lines.append(
            f"window_minutes = {decided.window_minutes}         # the longest time between two events of a pair"
        )
    if kind == "events":
        lines.append(_EVENT_SETTINGS.rstrip("\n"))
    lines += _columns(decided)
    tables = decided.tables.get("events", [])
    if any(type_column(table, decided.columns_of(table)) for table in tables):
        lines += _types(decided)
    for log in decided.logs:
        lines += [
            "",
            "[[source.logs]]             # files with columns of their own",
            f"files = {_paths(log.files, _quoted)}",
        ]
        lines += [f"rows = {_quoted(log.table.rows)}         # what every row of them is"] if log.table.rows else []
        lines += ["[source.logs.columns]", *_columns_of(log.table, decided, set())]
    return "\n".join(lines) + "\n" + _TAIL


def _columns(decided: Guess) -> list[str]:
    lines = ["", "[source.columns]            # our name = the name in your files"]
    written: set[str] = set()
    for kind, tables in decided.tables.items():
        for table in (table for table in tables if decided.columns_of(table) is decided.columns):
            if table.export is not None:
                lines.append(f"# {_label(kind)}: {table.export.name} export, whose columns are known:")
            lines += _columns_of(table, decided, written)
    return lines


def _columns_of(table: Table, decided: Guess, written: set[str]) -> list[str]:
    """The lines of a table's columns, but for those that are written; adds them to these."""
    columns = decided.columns_of(table)
    lines = []
    for ours, theirs in described_columns(table, columns).items():
        if ours in written:
            continue
        if ours in columns:
            written.add(ours)
            lines.append(f"{ours} = {_quoted(columns[ours])}")
        else:
            lines.append(f"# {ours} = {theirs}")
    unused = unused_columns(table, columns)
    for ours in (name for name in table.missing if name not in columns):
        known = f"one of {shortened(unused)}" if unused else "no column of the file is left for it"
        lines.append(f"# {ours} = {_quoted(unused[0] if unused else ours)}   # TO DO: {known}")
    return lines


def _types(decided: Guess) -> list[str]:
    lines = ["", "[source.types]              # what your log calls them"]
    if not decided.types:
        lines += [
            f'# {name} = ["..."]   # TO DO: name those of the words below that are' for name in get_args(EventType)
        ]
    for name in get_args(EventType) if decided.types else ():
        words = decided.types.get(name, [])
        counts = ", ".join(f"{decided.words[word]:,}" for word in words)
        lines.append(f"{name} = [{', '.join(map(_quoted, words))}]" + (f"  # {counts}" if counts else ""))
    used = {word for words in decided.types.values() for word in words}
    left = [f"{word} ({count:,})" for word, count in decided.words.items() if word not in used]
    return [*lines, f"# left out: {', '.join(left)}"] if left else lines


def _label(kind: Kind) -> str:
    return "the log" if kind == "events" else kind


def _paths(texts: Sequence[str], quoted: Callable[[str], str]) -> str:
    return quoted(texts[0]) if len(texts) == 1 else f"[{', '.join(map(quoted, texts))}]"


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or "shop"


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _absolute(text: str) -> str:
    # Path.absolute keeps `..`.
    return _quoted(text if is_object(text) else os.path.abspath(text))  # noqa: PTH100
