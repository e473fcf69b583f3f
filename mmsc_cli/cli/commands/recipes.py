"""`mmsc recipes list | show | copy | settings`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmsc_cli.cli.options import HELP_OPTIONS, PlainHelp, Session, command
from mmsc_cli.errors import InputError
from mmsc_cli.recipe.shipped import copy_recipe, describe_recipes, recipe_path, recipe_text

recipes = typer.Typer(
    help="List, show and copy recipes; explain their settings.",
    cls=PlainHelp,
    context_settings=HELP_OPTIONS,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(recipes, name="recipes")


@command(recipes, "list", "mmsc recipes list", "mmsc recipes list --json | jq -r '.[].name'", shared=("as_json",))
def list_command(session: Session) -> None:
    """List the recipes that ship with mmsc."""

    rows = describe_recipes()
    if session.out.as_json:
        session.out.json(rows)
    else:
        session.out.table(("name", "description", "licence"), [list(row.values()) for row in rows])


@command(
    recipes,
    "show",
    "mmsc recipes show demo",
    "mmsc recipes show demo --json --set train.epochs=5 | jq .train",
    shared=("overrides", "as_json"),
)
def show_command(session: Session, name: Annotated[str, typer.Argument(help="Name or path of a recipe.")]) -> None:
    """Show a recipe's file; with --json the recipe with all its defaults."""
    from mmsc_cli.recipe.loading import load_recipe  # noqa: PLC0415  brings pydantic

    if session.overrides and not session.out.as_json:
        raise InputError("--set means something with --json only", hint="add --json, or leave --set out")
    if session.out.as_json:
        session.out.json(load_recipe(name, session.overrides).as_config())
    else:
        # People read a stranger's recipe before they trust it, so nothing in it may be hidden.
        session.out.text(recipe_text(recipe_path(name)))


@command(recipes, "copy", "mmsc recipes copy my-shop shop.toml", shared=("as_json", "quiet", "log_format"))
def copy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name of a recipe.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a recipe's file, to edit it."""

    copy_recipe(name, target)
    session.out.result(
        {"recipe": name, "path": str(target)}, f"{target}: edit it, then run `mmsc run {shlex.quote(str(target))}`"
    )


@command(
    recipes,
    "settings",
    "mmsc recipes settings train",
    "mmsc recipes settings --json | jq -r '.[].name'",
    shared=("as_json",),
)
def settings_command(
    session: Session,
    prefix: Annotated[str, typer.Argument(help="Only settings whose names begin so, e.g. train.")] = "",
) -> None:
    """Explain the settings of a recipe: default, values, and the stages that run again after a change."""
    from mmsc_cli.recipe.reference import describe_settings  # noqa: PLC0415  brings pydantic

    settings = describe_settings(prefix)
    if not settings:
        raise InputError(f"no setting begins with {prefix!r}", hint="`mmsc recipes settings` lists all")
    if session.out.as_json:
        session.out.json([asdict(setting) for setting in settings])
        return
    columns = ("setting", "source", "default", "values", "runs again from", "meaning")
    rows = [
        [
            setting.name,
            setting.kind,
            setting.default,
            setting.values,
            setting.stages[0] if setting.stages else "-",
            setting.description,
        ]
        for setting in settings
    ]
    session.out.table(columns, rows)
