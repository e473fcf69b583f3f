"""No setting is dead, undescribed, or the reason for work that changes nothing."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

import mmsc_cli
from mmsc_cli.index.shop_rules import ShopRule
from mmsc_cli.label.settings import CandidateMix
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.runtime.settings import EFFORT, outcome

HOLDERS = {
    "settings",
    "source",
    "sql",
    "mix",
    "server",
    "images",
    "split",
    "recipe",
    "encode",
    "label",
    "train",
    "evaluate",
}


def models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models in an annotation, through unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models(inner)


def leaves(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Dotted path, model and name of every setting that is no table."""
    for name, field in model.model_fields.items():
        tables = list(models(field.annotation))
        for table in tables:
            yield from leaves(table, f"{path}{name}.")
        if not tables:
            yield f"{path}{name}", model, name


def attributes_read() -> set[str]:
    """Names of attributes that some module takes from something that holds settings."""
    names = set()
    for path in Path(mmsc_cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                holder = node.value
                name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
                # A method of settings reads its own.
                if name.lstrip("_") in HOLDERS or (name == "self" and path.name == "settings.py"):
                    names.add(node.attr)
    return names


@pytest.mark.parametrize("path", sorted({path for path, _, _ in leaves(Recipe)}))
def test_every_setting_is_described(path: str) -> None:
    described = [model.model_fields[name].description for found, model, name in leaves(Recipe) if found == path]
    assert all(described) or path.endswith(".kind")


def test_every_setting_is_read_somewhere() -> None:
    read = attributes_read() | set(CandidateMix.model_fields)  # the weights of the mix are read together
    read |= {"block", "pin", "boost", *(field.name for field in fields(ShopRule))}  # as the manifest records the rules
    # Of the recipe itself: what `mmsc recipes list` reads from the file.
    read |= {"description", "licence"}
    assert [path for path, _, name in leaves(Recipe) if name not in read] == []


def test_settings_of_effort_are_no_part_of_the_outcome() -> None:
    recipe = load_recipe("demo")
    recorded = {"seed": 1, "label": recipe.as_config()["label"]}
    decisive = recipe.outcome(recorded)

    assert {"model", "budget", "mix", "server"} <= decisive["label"].keys()
    assert not {"concurrency", "shard_pairs", "backoff"} & decisive["label"].keys()
    assert decisive["label"]["server"].keys() == {"dtype", "context"}
    assert decisive["seed"] == 1


def test_of_prepare_only_what_it_reads_counts() -> None:
    recipe = load_recipe("demo")
    decisive = recipe.outcome({"recipe": recipe.as_config(), "inputs": {"a": "1"}})

    assert decisive["recipe"].keys() == {"seed", "source", "images", "split"}
    assert decisive["inputs"] == {"a": "1"}


def test_what_another_program_recorded_is_compared_as_it_is() -> None:
    assert outcome({"unknown": 1, "label": "text"}, load_recipe("demo")) == {"unknown": 1, "label": "text"}
    assert load_recipe("demo").outcome({"recipe": {}})["recipe"]["source"] is None


def test_no_setting_of_the_model_is_effort() -> None:
    for name in ("train", "split", "evaluate"):
        for path, model, leaf in leaves(next(models(Recipe.model_fields[name].annotation))):
            assert EFFORT not in model.model_fields[leaf].metadata, path
