"""The recipes that ship with mmsc, and finding any recipe's file."""

from __future__ import annotations

import shlex
import tomllib
from difflib import get_close_matches
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import atomic_write

_PACKAGE = Path(__file__).resolve().parent.parent


def recipes_directory() -> Path:
    """`mmsc_cli/recipes` in an installed wheel, `recipes` beside the package in a checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in recipes_directory().glob("*.toml"))


def recipe_path(source: str) -> Path:
    """The file of a shipped recipe, or the path itself where `source` is one.

    Raises:
        InputError: there is no such recipe.
    """
    if source.endswith(".toml") or "/" in source:
        path = Path(source)
        if path.is_file():
            return path
        raise InputError(f"no recipe file at {path}", hint="`mmsc recipes copy NAME FILE` starts your own")
    if source in recipe_names():
        return recipes_directory() / f"{source}.toml"
    close = get_close_matches(source, recipe_names(), n=1)
    known = f"did you mean {close[0]}?" if close else f"known: {', '.join(recipe_names())}"
    raise InputError(f"no recipe named {source!r}; {known}", hint="`mmsc recipes list`, or the path of a .toml file")


def recipe_text(path: Path) -> str:
    """What stands in a recipe's file.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}", hint="save the recipe as UTF-8") from error


def describe_recipes() -> list[dict[str, str]]:
    """Name, description and licence note of each shipped recipe."""
    rows = []
    for name in recipe_names():
        content = tomllib.loads((recipes_directory() / f"{name}.toml").read_text(encoding="utf-8"))
        rows.append({key: content.get(key, "") for key in ("name", "description", "licence")})
    return rows


def copy_recipe(name: str, target: Path) -> None:
    """Copy a recipe's file, comments and all.

    Raises:
        InputError: no such recipe, `target` exists, or the folder it should go to does not.
    """
    source = recipe_path(name)
    if target.exists():
        raise InputError(f"{target} exists", hint="choose another file name")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", hint=f"mkdir -p {shlex.quote(str(target.parent))}")
    with atomic_write(target) as file:
        file.write(source.read_bytes())
