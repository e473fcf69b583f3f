"""What `prepare` reads: the files that a recipe or a command line names, and how a change of them is noticed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.places.address import is_object
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.local_pictures import changed_sources
from mmsc_cli.prepare.settings import (
    EventsSource,
    ImageSettings,
    Paths,
    Source,
    SourceTable,
    SplitSettings,
    TableSource,
)
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.config import StageRecipe
from mmsc_cli.workspace.workspace import Workspace

LOG_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
TABLE_ENDINGS = (*LOG_ENDINGS, ".xml")


class PrepareRecipe(StageRecipe, Protocol):
    """What `prepare` reads of a recipe."""

    @property
    def source(self) -> Source:
        """Where items and pairs come from."""

    @property
    def images(self) -> ImageSettings:
        """Where images come from."""

    @property
    def split(self) -> SplitSettings:
        """What is held out."""


@dataclass(frozen=True)
class LocalFiles:
    """The files that are read instead of a download.

    Attributes:
        items: tables of items.
        others: pairs, logs, or metadata.
        base: see `log_base`.
    """

    items: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    base: Path | None = None

    def __iter__(self) -> Iterator[Path]:
        return iter((*self.items, *self.others))


def prepare_config(
    recipe: PrepareRecipe, files: LocalFiles, digest_of: Callable[[Path], str] = digest
) -> dict[str, Any]:
    """What the manifest records of this stage: the whole recipe, for later stages to read, and the local inputs.

    An input is recorded with the sha256 of its content (null where it is not there), so that new content is noticed.
    """
    hashes: dict[str, str | None] = {}
    for path in files:
        # The name alone, so that nothing is prepared anew where all was moved.
        name = os.fsencode(path.name).decode(errors="backslashreplace")
        key = name if name not in hashes else f"{name} ({len(hashes)})"
        hashes[key] = digest_of(path) if path.is_file() else None
    return {"recipe": recipe.as_config(), "inputs": hashes}


def changed_pictures(
    workspace: Workspace, recipe: PrepareRecipe, files: LocalFiles, recipe_directory: Path = Path()
) -> str | None:
    """Say which local images are not as they were when they were put in place; None where all are."""
    base = _picture_base(recipe, files.items, recipe_directory)
    return None if base is None else changed_sources(workspace.path("images"), base)


def _picture_base(recipe: PrepareRecipe, item_files: Sequence[Path], recipe_directory: Path) -> Path | None:
    """What local images are listed relative to; None where there can be none."""
    if item_files:
        return item_files[0].parent
    return None if recipe.images.folder is None else recipe_directory / recipe.images.folder


def local_files(recipe: PrepareRecipe, inputs: Sequence[Path], recipe_directory: Path, copies: Copies) -> LocalFiles:
    """The files given, else those the recipe names; of what lies elsewhere, the copies.

    Raises:
        InputError: there are none, or too few, or a place refuses.
        UnreachableError: a place does not answer.
    """
    source = recipe.source
    if inputs:
        has_items = isinstance(source, TableSource) or (isinstance(source, EventsSource) and source.has_items)
        if has_items and len(inputs) < 2:
            what = "the pairs" if isinstance(source, TableSource) else "the log"
            raise InputError(
                f"{inputs[0]}: this source takes two inputs, the items first, then {what}",
                hint=f"give both: --input ITEMS --input {what.split()[-1].upper()}",
            )
        return LocalFiles(list(inputs[:has_items]), list(inputs[has_items:]))
    if not isinstance(source, TableSource | EventsSource):
        return LocalFiles()
    made = {name: _made_by_query(source, name, recipe_directory, copies) for name in source.queries}

    def files(name: SourceTable, paths: Paths | None, endings: tuple[str, ...]) -> list[Path]:
        return made.get(name) or ([] if paths is None else log_files(recipe_directory, paths, endings, copies))

    items = files("items", source.items, TABLE_ENDINGS)
    if isinstance(source, TableSource):
        return LocalFiles(items, files("pairs", source.pairs, TABLE_ENDINGS))
    base = None if source.events is None else log_base(recipe_directory, source.events, copies)
    return LocalFiles(items, files("events", source.events, LOG_ENDINGS), base)


def _made_by_query(
    source: TableSource | EventsSource, name: SourceTable, recipe_directory: Path, copies: Copies
) -> list[Path]:
    """The file of what a query of the recipe yields."""
    assert source.sql is not None
    query, uri, where = source.queries[name], source.sql.uri, f"source.sql: the query of {name}"

    def save(path: Path) -> None:
        from mmsc_cli.places.database import save_query  # noqa: PLC0415  brings an extra

        save_query(uri, query, path, where, recipe_directory, copies.progress)

    return [copies.table(name, save)]


@contextmanager
def naming(copies: Copies) -> Iterator[None]:
    """Name in errors what files are copies of."""
    try:
        yield
    except MmscError as error:
        error.message = copies.named(error.message)
        error.hint = error.hint and copies.named(error.hint)
        raise


def log_files(
    folder: Path, patterns: Paths, endings: tuple[str, ...] = LOG_ENDINGS, copies: Copies | None = None
) -> list[Path]:
    """The files of a log, or of items, that a recipe in `folder` names; those of a pattern in the order of their names.

    A path that exists is that file, whatever marks are in its name; of a folder, the files in it with one of
    the endings are meant. What lies in a bucket is copied.

    Raises:
        InputError: one is no pattern, or a folder without such files, or a bucket refuses.
        UnreachableError: a bucket does not answer.
    """
    if not isinstance(patterns, str):
        return [path for pattern in patterns for path in log_files(folder, pattern, endings, copies)]
    if copies is not None and is_object(patterns):
        return copies.files(patterns, lambda key: is_data(Path(key), endings))
    pattern, whole = patterns, folder / patterns
    if whole.is_dir():
        if files := [
            path for path in sorted(whole.rglob("*")) if path.is_file() and is_data(path.relative_to(whole), endings)
        ]:
            return files
        raise InputError(
            f"source: no data in the folder {whole}", hint=f"files that end with {' '.join(endings)} are data"
        )
    if whole.exists():
        return [whole]
    try:
        # Through the anchor, so that an absolute pattern works too.
        files = sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"source.events: {pattern!r} is not a pattern of file names: {error}", hint="for example log-2024-*.parquet"
        ) from error
    return [path for path in files if path.is_file()] or [whole]


def log_base(folder: Path, pattern: Paths, copies: Copies | None = None) -> Path | None:
    """The folder below which folders such as `dt=2024-05-01` are partitions of the log that a pattern names.

    None: several patterns have no such folder.
    """
    if not isinstance(pattern, str):
        return log_base(folder, pattern[0], copies) if len(pattern) == 1 else None
    whole = folder / (copies.local(pattern) if copies is not None and is_object(pattern) else pattern)
    if whole.is_dir() or not whole.exists():
        fixed = [place for place in (whole, *whole.parents) if not re.search(r"[*?\[]", str(place))]
        return fixed[0] if fixed else Path()
    return whole.parent


def is_data(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether a file of a folder, named relative to it, is data: by its ending, and by no part that hides it."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".zstd")
    return not any(part.startswith((".", "_")) for part in path.parts) and name.endswith(endings)
