"""Find the columns of a file that stand for ours, and say what is missing or looks forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmsc_cli.errors import InputError
from mmsc_cli.files.item_fields import is_missing
from mmsc_cli.files.table_file import TableFile, find_name
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.aliases import Format, alike, looks_like
from mmsc_cli.prepare.sources.exports.inherited import KEPT

# A column of another name that looks like one of these is likely forgotten in the mapping.
_TELLING = ("title", "description", "brand", "category", "price", "image_url", "co_view", "co_purchase")


def resolve_columns(
    table: TableFile,
    mapping: Mapping[Any, str],
    known: Sequence[str],
    required: Sequence[str],
    export: Format | None,
    delivery: Delivery,
) -> dict[str, list[str]]:
    """The file's columns for each of ours that it has: one, or for known exports several in the order of preference.

    Args:
        table: the file.
        mapping: our columns to the file's, which the file must then have.
        known: our columns that the file may have.
        required: those of them that it must have.
        export: the export that it is, whose names apply where `mapping` says nothing.
        delivery: told of names that differ from ours, and of columns that look forgotten.

    Raises:
        InputError: columns are missing; all of them are named, with the nearest of the file.
    """
    columns: dict[str, list[str]] = {}
    missing = []
    for name in known:
        if name in mapping:
            wanted: tuple[str, ...] = (mapping[name],)
        else:
            wanted = (export.columns.get(name, ()) if export else ()) or (name,)
        columns[name] = [theirs for want in wanted if (theirs := table.find(want)) is not None]
        if not columns[name] and (name in required or name in mapping):
            missing.append(name)
    if missing:
        kind = "pairs" if "a" in required else "items"
        raise missing_columns(table.path, {name: mapping.get(name, name) for name in missing}, list(table), kind)
    columns = {name: theirs for name, theirs in columns.items() if theirs}
    _report(table, columns, known, export, delivery)
    return columns


def kept_columns(table: TableFile, keep: Sequence[str]) -> dict[str, list[str]]:
    """The file's columns that the recipe keeps, by their names behind KEPT.

    Raises:
        InputError: the file lacks one; the nearest of its names are named.
    """
    columns, missing = {}, []
    for name in keep:
        theirs = table.find(name)
        if theirs is None:
            nearest = get_close_matches(name.lower(), list(table), 3)
            meant = f" (did you mean {' or '.join(nearest)}?)" if nearest else ""
            missing.append(f"{name!r}{meant}")
        else:
            columns[KEPT + name] = [theirs]
    if missing:
        raise InputError(
            f"{table.path}: no column {', '.join(missing)} to keep",
            hint=f"columns: {', '.join(table)}; see source.keep",
        )
    return columns


def missing_columns(
    path: Path, missing: Mapping[str, str], names: Sequence[str], kind: str, table: str = "[source.columns]"
) -> InputError:
    """The error of a file that lacks columns.

    Args:
        path: the file.
        missing: our columns to the names that were looked for.
        names: the columns of the file.
        kind: what the file was taken for: `items`, `events` or `pairs`.
        table: of the recipe, where its columns are mapped.
    """
    seems, called = looks_like(names)
    if seems and seems != kind:
        return InputError(
            f"{path} was taken for {kind}, but it seems to hold {seems} (a {called}): it has no column "
            f"{', '.join(map(repr, missing.values()))}",
            hint=f"give it as {seems}: in a recipe swap source.{kind} and source.{seems}; with --input the items come "
            "first, then the log or the pairs",
        )
    nearest = {name: alike(name, names) or _close(theirs, names) or "sku" for name, theirs in missing.items()}
    lines = ", ".join(f'{name} = "{theirs}"' for name, theirs in nearest.items())
    return InputError(
        f"{path}: no column {', '.join(map(repr, missing.values()))} among {list(names)}",
        hint=f"map yours under {table}, for example {lines}",
    )


def _close(name: str, names: Sequence[str]) -> str | None:
    return next(iter(get_close_matches(name.lower(), names, 1)), None)


def _report(
    table: TableFile,
    columns: Mapping[str, list[str]],
    known: Sequence[str],
    export: Format | None,
    delivery: Delivery,
) -> None:
    renamed = {name: theirs[0] for name, theirs in columns.items() if theirs[0] != name}
    if renamed:
        delivery.notes.setdefault("columns", {})[table.path.name] = renamed
    if export is not None:
        delivery.notes.setdefault("formats", {})[table.path.name] = export.name
    used = {theirs for wanted in columns.values() for theirs in wanted}
    unused = [name for name in table if name not in used]
    for name in known:
        theirs = alike(name, unused) if name in _TELLING and name not in columns else None
        # The whole column is read only if it is empty, and then nothing was forgotten.
        if theirs and find_name(theirs, unused) and not all(map(is_missing, table.cells(theirs))):
            delivery.forgotten.append(
                f'{table.path.name}: the column "{theirs}" looks like {name} and is not used; '
                f'if it is, write {name} = "{theirs}" under [source.columns]'
            )
