"""`mmsc recipes list | show | copy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mmsc_cli.cli.session import Session, command

app = typer.Typer(help="Recipes: data sets and settings as TOML files.", no_args_is_help=True)


@command(app, "list", "mmsc recipes list; mmsc recipes list --json | jq -r .[].name")
def list_command(session: Session) -> None:
    """List the recipes that ship with mmsc."""
    from mmsc_cli.recipe.shipped import describe_recipes

    rows = describe_recipes()
    if session.out.as_json:
        session.out.write(json.dumps(rows, ensure_ascii=False) + "\n")
    else:
        session.out.table(("name", "description", "licence"), [list(row.values()) for row in rows])


@command(app, "show", "mmsc recipes show demo")
def show_command(session: Session, name: Annotated[str, typer.Argument(help="A recipe's name or path.")]) -> None:
    """Show a recipe as it is written, or with --json as it is read, defaults filled in."""
    from mmsc_cli.recipe.loading import load_recipe
    from mmsc_cli.recipe.shipped import recipe_path

    if session.out.as_json:
        recipe = load_recipe(name, session.overrides, session.values())
        session.out.write(json.dumps(recipe.as_config(), ensure_ascii=False) + "\n")
    else:
        session.out.write(recipe_path(name).read_text(encoding="utf-8"))


@command(app, "copy", "mmsc recipes copy my-shop shop.toml")
def copy_command(
    session: Session,
    name: Annotated[str, typer.Argument(help="A recipe's name.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a recipe, as a start for your own."""
    from mmsc_cli.recipe.shipped import copy_recipe

    copy_recipe(name, target)
    session.out.result({"recipe": name, "path": str(target)}, f"{target}: edit it, then `mmsc prepare {target}`")
