"""Recipe files, and values set on the command line."""

from __future__ import annotations

from benchmarks.faults.rubbish.target import REFUSED, Tally, Target, empty_folder, scratch_file
from mmsc_cli.errors import MmscError
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.inputs import local_files, prepare_config
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.shipped import recipe_names, recipe_path


def check_recipe(content: bytes) -> Tally:
    """A recipe is read, and its inputs are looked for, or it is refused in lines that name the file."""
    path = scratch_file("recipe.toml", content)
    try:
        recipe = load_recipe(str(path))
        folder = empty_folder("elsewhere")
        prepare_config(recipe, local_files(recipe, (), folder, Copies(folder)))
    except MmscError as error:
        if not error.message.strip():
            raise AssertionError("refused without a word") from error
        return REFUSED
    except OSError:  # what the system says of a name that is too long; the command line passes it on
        return REFUSED
    return Tally(1, 1).checked("recipes")


def check_override(content: bytes) -> Tally:
    """A `--set` of any text is taken or refused."""
    try:
        load_recipe("demo", [content.decode("utf-8", "surrogateescape")])
    except MmscError:
        return REFUSED
    return Tally(1, 1).checked("settings")


def recipe_seeds() -> list[bytes]:
    """The recipes that ship."""
    return [recipe_path(name).read_bytes() for name in recipe_names()]


RECIPES = Target("recipes", check_recipe, recipe_seeds)
OVERRIDES = Target(
    "--set",
    check_override,
    lambda: [
        b"train.epochs=5",
        b'source.kind="events"',
        b"evaluate.baselines=['ease']",
        b"name = x",
        b"images.folder='x'",
    ],
)
