"""Every setting of a recipe is explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.reference import describe_settings

if TYPE_CHECKING:
    from tests.conftest import Mmsc

SETTINGS = {(setting.name, setting.kind): setting for setting in describe_settings()}


def test_every_setting_has_a_meaning_and_values() -> None:
    assert all(setting.description and setting.values for setting in SETTINGS.values())


@pytest.mark.parametrize("recipe", ["demo", "my-shop", "amazon-beauty"])
def test_every_setting_of_a_recipe_is_there(recipe: str) -> None:
    def names(table: dict[str, object], prefix: str = "") -> set[str]:
        every: set[str] = set()
        for name, value in table.items():
            whole = f"{prefix}{name}"
            known = any(whole == setting for setting, _ in SETTINGS)
            every |= names(value, f"{whole}.") if isinstance(value, dict) and not known else {whole}
        return every

    assert names(load_recipe(recipe).as_config()) <= {name for name, _ in SETTINGS}


@pytest.mark.parametrize(
    ("name", "kind", "default", "values", "stages"),
    [
        ("train.epochs", "", "2", "integer > 0", ("train", "evaluate")),
        (
            "split.valid",
            "",
            "0.1",
            "number >= 0 and < 1",
            ("prepare", "caption", "encode", "label", "train", "evaluate"),
        ),
        ("encode.batch_size", "", "none", "integer > 0 or none", ()),
        ("label.mix.random", "", "0.1", "number >= 0", ("label", "train", "evaluate")),
        (
            "source.score",
            "events",
            '"npmi"',
            "npmi, llr",
            ("prepare", "caption", "encode", "label", "train", "evaluate"),
        ),
        ("source.sql.uri", "events", "", "text", ("prepare", "caption", "encode", "label", "train", "evaluate")),
        ("licence", "", '""', "text", ()),
    ],
)
def test_a_setting(name: str, kind: str, default: str, values: str, stages: tuple[str, ...]) -> None:
    setting = SETTINGS[name, kind]

    assert (setting.default, setting.values, setting.stages) == (default, values, stages)


def test_settings_are_printed_as_a_table_and_as_json(mmsc: Mmsc) -> None:
    whole = json.loads(mmsc("recipes", "settings", "--json").out)
    header, *rows = mmsc("recipes", "settings", "train.").out.splitlines()

    assert [(setting["name"], setting["kind"]) for setting in whole] == list(SETTINGS)
    assert header.split("\t") == ["setting", "source", "default", "values", "runs again from", "meaning"]
    assert [row.split("\t")[0] for row in rows] == [name for name, _ in SETTINGS if name.startswith("train.")]
    unknown = mmsc("recipes", "settings", "trian.")
    assert unknown.code == 2
    assert "mmsc recipes settings" in unknown.err
