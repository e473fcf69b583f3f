"""A file of a log without a header: it has the columns of the first file, if its cells are of their kinds.

Files of a database's export often lack their header from the second on. Read by position, a file whose columns are in
another order would give order numbers as items. So its cells are looked at, and it is refused where they do not fit:
times, words for the types, and ids of items that the catalogue or the other files have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.files.separated import sniff_separator, split_fields
from mmsc_cli.files.table_file import find_name
from mmsc_cli.prepare.sources.log.log_shard import UNPACKING_ERRORS, LogShard, open_log_file
from mmsc_cli.prepare.sources.log.times import is_time
from mmsc_cli.prepare.sources.meeting import HARDLY

_HEAD_BYTES = 64 << 10
_ROWS = 500
# Cells of a column are of a kind if so many are.
_MOST = 0.5


def check_kinds(shards: Sequence[LogShard], columns: Mapping[str, str], types: Mapping[str, Sequence[str]]) -> None:
    """Refuse a file without a header whose times are none, or whose types stand in another column.

    Args:
        shards: files of one kind.
        columns: our columns to theirs.
        types: our types of events to their words.

    Raises:
        InputError: the columns of a file are not in the order of the first one's.
    """
    heads: dict[Path, list[list[str]]] = {}  # of the first files, each of which has many like it
    for shard in shards:
        if (first := shard.header_from) is None:
            continue
        if first.path not in heads:
            heads[first.path] = first_cells(first)
        like = heads[first.path]
        words = {word for given in types.values() for word in given} | set(_of(like, first, columns.get("type")))
        kinds: list[tuple[str, Callable[[str], bool]]] = [("time", is_time), ("type", words.__contains__)]
        cells = first_cells(shard)
        for name, is_of_kind in kinds:
            own = _of(cells, shard, columns.get(name))
            if not own or _share(_of(like, first, columns[name]), is_of_kind) < _MOST:
                continue
            # Words that nobody has named may be those of a quiet day; times are times.
            elsewhere = _elsewhere(cells, shard, columns[name], is_of_kind)
            if _share(own, is_of_kind) < _MOST and (name == "time" or elsewhere is not None):
                raise _in_another_order(shard, first, columns[name], own, elsewhere)
            if name == "time" and _line(cells, 0)[_place(shard, columns[name])] == own[0] and not is_time(own[0]):
                raise InputError(
                    f"{shard.path}: its first line {','.join(_line(cells, 0))!r} names no column of "
                    f"{first.path.name} and is no event",
                    hint=_hint(first),
                )


def check_items(
    shards: Sequence[LogShard], columns: Mapping[str, str], known_of: Callable[[Sequence[str]], AbstractSet[str]]
) -> None:
    """Refuse a file without a header whose items stand in another column, or where nothing tells which column it is.

    Args:
        shards: files of one kind.
        columns: our columns to theirs.
        known_of: returns those of some texts that are ids of the catalogue, or of files with a header.

    Raises:
        InputError: the columns of a file are not in the order of the first one's, or may not be.
    """
    for shard in shards:
        if (first := shard.header_from) is None:
            continue
        cells = first_cells(shard)
        known = known_of(sorted({cell for column in cells for cell in column}))
        is_known = known.__contains__
        own = _of(cells, shard, columns["item"])
        if not own:
            continue
        elsewhere = _elsewhere(cells, shard, columns["item"], is_known)
        if _share(own, is_known) < HARDLY and elsewhere is not None:
            raise _in_another_order(shard, first, columns["item"], own, elsewhere)
        sessions = _of(cells, shard, columns["session"])
        if _share(own, is_known) >= _MOST and _share(sessions, is_known) >= _MOST:
            raise InputError(
                f"{shard.path}: it has no header, and both its columns {columns['session']!r} and {columns['item']!r} "
                f"(by the order of {first.path.name}) hold ids of items, so that nothing tells which is which",
                hint=_hint(first),
            )


def first_cells(shard: LogShard) -> list[list[str]]:
    """The cells of the first rows of separated values, by column, without blanks at their ends; the header left out."""
    with suppress(*UNPACKING_ERRORS), open_log_file(shard.place) as file:
        head = file.read(_HEAD_BYTES)
        text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        # The last may be cut, unless it is all there is.
        lines = [line for line in (lines[:-1] if len(head) == _HEAD_BYTES else lines) if line.strip()]
        separator = sniff_separator(lines[0] if lines else "")
        rows = [split_fields(line, separator) for line in lines[0 if shard.header_from else 1 :][:_ROWS]]
        whole = [row for row in rows if len(row) == len(shard.header)]
        return [[cell.strip() for cell in column] for column in zip(*whole, strict=True)]
    return []


def _of(cells: Sequence[Sequence[str]], shard: LogShard, name: str | None) -> list[str]:
    """The cells of a column that are not empty; none where it is not a single column of the file."""
    if not cells or name is None or find_name(name, list(shard.header)) is None:
        return []
    return [cell for cell in cells[_place(shard, name)] if cell]


def _place(shard: LogShard, name: str) -> int:
    """Where a column stands, from 0 on."""
    return shard.header.index(find_name(name, list(shard.header)) or "")


def _share(cells: Sequence[str], is_of_kind: Callable[[str], bool]) -> float:
    """Which share of the different cells is of a kind."""
    different = set(cells)
    return sum(map(is_of_kind, different)) / max(len(different), 1)


def _elsewhere(
    cells: Sequence[Sequence[str]], shard: LogShard, name: str, is_of_kind: Callable[[str], bool]
) -> int | None:
    """The number, from 1 on, of the column other than the one of this name that is most of a kind; None: none is."""
    own = _place(shard, name)
    shares = [
        (_share([cell for cell in column if cell], is_of_kind), -number)
        for number, column in enumerate(cells)
        if number != own
    ]
    share, number = max(shares, default=(0.0, 0))
    return 1 - number if share >= _MOST else None


def _line(cells: Sequence[Sequence[str]], row: int) -> list[str]:
    return [column[row] for column in cells]


def _in_another_order(
    shard: LogShard, first: LogShard, name: str, own: Sequence[str], elsewhere: int | None
) -> InputError:
    found = "" if elsewhere is None else f"; what belongs there is in column {elsewhere}"
    return InputError(
        f"{shard.path}: it has no header, and its columns are not in the order of {first.path.name}: "
        f"where that has {name!r}, it has {', '.join(map(repr, list(dict.fromkeys(own))[:2]))}{found}",
        hint=_hint(first),
    )


def _hint(first: LogShard) -> str:
    return f"give it a first line that names its own columns, as {','.join(first.header)!r} does in {first.path.name}"
