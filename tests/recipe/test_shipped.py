from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.settings import AmazonSource
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.shipped import copy_recipe, describe_recipes, recipe_names, recipe_path


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads_and_says_what_it_is(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.licence
    if isinstance(recipe.source, AmazonSource):
        assert str(recipe.source.url).startswith("https://")
    head = recipe_path(name).read_text(encoding="utf-8").partition("\nname = ")[0]
    assert "# Run: mmsc " in head
    assert "Licence: " in head
    assert "# Size: " in head


def test_the_recipes_of_the_contract_are_there() -> None:
    amazon = {f"amazon-{name}" for name in ("toys", "electronics", "home", "sports", "beauty")}
    assert amazon | {"demo", "my-shop", "my-events"} <= set(recipe_names())
    assert [row["name"] for row in describe_recipes()] == recipe_names()


def test_a_copy_is_the_file_itself_and_loads(tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    copy_recipe("demo", target)
    assert target.read_bytes() == recipe_path("demo").read_bytes()
    assert load_recipe(str(target)) == load_recipe("demo")


def test_a_copy_overwrites_nothing_and_needs_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        copy_recipe("demo", target)
    assert target.read_text() == "mine"
    with pytest.raises(InputError, match="there is no folder") as caught:
        copy_recipe("demo", tmp_path / "gone" / "mine.toml")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'gone'}"
    with pytest.raises(InputError, match="no recipe named 'dmo'"):
        copy_recipe("dmo", tmp_path / "new.toml")
    assert not (tmp_path / "new.toml").exists()
