"""What `run`, `init` and `check` work on: a recipe, or data files of which a recipe is guessed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsc_cli.cli.options import Session
from mmsc_cli.errors import InputError
from mmsc_cli.places.address import is_database, is_object
from mmsc_cli.recipe.shipped import recipe_names, recipe_path
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.workspace.strange_folder import RECIPE

if TYPE_CHECKING:
    from mmsc_cli.places.copies import Copies
    from mmsc_cli.prepare.guess.guess import Guess
    from mmsc_cli.recipe.recipe import Recipe
    from mmsc_cli.workspace.workspace import Workspace

_SOURCES = typer.Argument(
    metavar="RECIPE|FILES",
    help="A recipe, by name or path; or files, folders, patterns, also in buckets (s3://, gs://), or - (stdin): items, "
    "events, orders, pairs.",
)
SourcesArgument = Annotated[list[str], _SOURCES]
OptionalSourcesArgument = Annotated[list[str] | None, _SOURCES]


@dataclass(frozen=True)
class ChosenSource:
    """A recipe that is to be prepared.

    Attributes:
        directory: what the paths in the recipe are relative to.
        inputs: files in place of what the recipe names.
        copies: of what lies elsewhere.
        path: where the recipe is stored.
        guessed: it was guessed from files.
    """

    recipe: Recipe
    directory: Path
    inputs: list[Path]
    copies: Copies
    path: Path
    guessed: bool = False


def choose_source(
    session: Session, texts: Sequence[str], inputs: Sequence[str], flags: Mapping[str, Any], workspace: Workspace
) -> ChosenSource:
    """Load the recipe that a command line names, or guess one from its files and store it.

    Args:
        session: the command's call.
        texts: a name or path of a recipe, or files.
        inputs: what --input says.
        flags: settings by dotted key that win over the recipe.
        workspace: where a guessed recipe and the content of stdin are stored.

    Raises:
        InputError: there is no such recipe or file, or the files cannot be understood.
        UnreachableError: a bucket does not answer.
        WorkspaceError: something else is in the folder of the workspace.
    """
    from mmsc_cli.places.copies import Copies  # noqa: PLC0415  for the commands that read sources alone
    from mmsc_cli.recipe.loading import load_recipe  # noqa: PLC0415  brings pydantic

    copies = Copies.of(workspace, session.progress)
    if any(map(is_object, (*texts, *inputs))):
        workspace.enter("prepare")
    if _is_recipe(texts):
        path = recipe_path(texts[0])
        recipe = load_recipe(texts[0], session.overrides, session.values(flags))
        files = [file for text in inputs for file in (copies.files(text) if is_object(text) else [Path(text)])]
        return ChosenSource(recipe, path.parent, files, copies, path)
    if inputs:
        raise InputError("--input goes with a recipe", hint=f"give all files by themselves: {' '.join(texts)} ...")
    from mmsc_cli.prepare.guess.arguments import is_pipe  # noqa: PLC0415  brings pyarrow
    from mmsc_cli.prepare.guess.recipe_text import recipe_text  # noqa: PLC0415  brings pyarrow

    if any(map(is_pipe, texts)):
        workspace.enter("prepare")
    decided = guess_source(texts, copies, workspace.path("downloads"))
    for line in decided.decisions():
        session.out.note(copies.named(line))
    if decided.gaps:
        typed = " ".join(map(shlex.quote, texts))
        raise InputError(
            copies.named("\n".join(decided.gaps)), hint=f"`mmsc init {typed} > shop.toml`, edit the lines with TO DO"
        )
    workspace.enter("prepare")
    path = workspace.path(RECIPE)
    with atomic_write(path) as file:
        file.write(copies.named(recipe_text(decided, absolute=True)).encode())
    recipe = load_recipe(str(path.absolute()), session.overrides, session.values(flags))
    return ChosenSource(recipe, Path(), decided.amazon_files, copies, path, guessed=True)


def guess_source(texts: Sequence[str], copies: Copies, folder: Path | None) -> Guess:
    """Guess a recipe from files.

    Args:
        texts: the words of the command line.
        copies: takes what lies elsewhere.
        folder: takes the content of stdin; None: there may be no `-`.

    Raises:
        InputError: a file is missing, or the files cannot be understood.
        UnreachableError: a bucket does not answer.
    """
    from mmsc_cli.prepare.guess.arguments import find_sources  # noqa: PLC0415  brings pyarrow
    from mmsc_cli.prepare.guess.guess import guess  # noqa: PLC0415  brings pyarrow and duckdb
    from mmsc_cli.prepare.inputs import naming  # noqa: PLC0415  brings pyarrow

    with naming(copies):
        return guess(find_sources(texts, sys.stdin.buffer if sys.stdin else None, folder, copies))


def _is_recipe(texts: Sequence[str]) -> bool:
    """Whether words of the command line name a recipe: a shipped one before a file of the same name."""
    if any(map(is_database, texts)):
        raise InputError("a database is read by a recipe", hint="write uri and query under [source.sql]")
    shipped = recipe_names()
    recipes = [
        text
        for text in texts
        if text.endswith(".toml") or (text in shipped and (len(texts) == 1 or not _is_file(text)))
    ]
    if recipes and len(texts) > 1:
        raise InputError(
            f"{recipes[0]} is a recipe, and the other words are not part of it", hint="give one recipe, or only files"
        )
    (text,) = texts if len(texts) == 1 else ("",)
    # A word that names no file is taken for the name of a recipe, so that the known ones are suggested.
    unknown = text and text != "-" and not (set("*?[./") & set(text)) and not _is_file(text)
    return bool(recipes or unknown)


def _is_file(text: str) -> bool:
    return Path(text).exists()
