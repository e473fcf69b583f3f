"""`mmsc recipes list | show | copy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmsc_cli.cli.options import HELP_OPTIONS, Session, command
from mmsc_cli.cli.output import visible

recipes = typer.Typer(
    help="List, show and copy recipes (data sets and settings).",
    rich_markup_mode=None,
    context_settings=HELP_OPTIONS,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(recipes, name="recipes")


@command(recipes, "list", "mmsc recipes list", "mmsc recipes list --json | jq -r '.[].name'")
def list_command(session: Session) -> None:
    """List the recipes that ship with mmsc."""
    from mmsc_cli.recipe.shipped import describe_recipes

    rows = describe_recipes()
    if session.out.as_json:
        session.out.json(rows)
    else:
        session.out.table(("name", "description", "licence"), [list(row.values()) for row in rows])


@command(recipes, "show", "mmsc recipes show demo", "mmsc recipes show demo --json --set train.epochs=5 | jq .train")
def show_command(session: Session, name: Annotated[str, typer.Argument(help="A recipe's name or path.")]) -> None:
    """Show a recipe as it is written; with --json as it is read, defaults filled in."""
    from mmsc_cli.recipe.loading import load_recipe
    from mmsc_cli.recipe.shipped import recipe_path, recipe_text

    if session.out.as_json:
        session.out.json(load_recipe(name, session.overrides, session.values()).as_config())
    else:
        text = recipe_text(recipe_path(name))
        # Somebody else's recipe is looked at before it is trusted, so nothing in it may hide from the eye.
        session.out.write(visible(text) if sys.stdout.isatty() else text)


@command(recipes, "copy", "mmsc recipes copy my-shop shop.toml")
def copy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="A recipe's name.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a recipe, as a start for your own."""
    from mmsc_cli.recipe.shipped import copy_recipe

    copy_recipe(name, target)
    session.out.result({"recipe": name, "path": str(target)}, f"{target}: edit it, then `mmsc prepare {target}`")
