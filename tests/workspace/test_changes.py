"""Why a stage runs again, in words."""

from __future__ import annotations

from mmsc_cli.workspace.changes import config_changes, input_changes


def test_a_changed_setting_is_named_as_it_is_typed() -> None:
    old = {"seed": 1, "train": {"epochs": 20, "dim": 64}}
    assert (
        config_changes(old, {"seed": 1, "train": {"epochs": 5, "dim": 64}}) == "train.epochs 20 \N{RIGHTWARDS ARROW} 5"
    )
    assert config_changes(old, old) is None


def test_a_setting_of_a_whole_recipe_is_named_without_the_recipe() -> None:
    def config(since: str | None, **inputs: str) -> dict[str, object]:
        return {"recipe": {"source": {"since": since}}, "inputs": inputs}

    changed = config_changes(
        config(None, **{"a.csv": "1", "b.csv": "2"}), config("2024", **{"a.csv": "3", "c.csv": "4"})
    )
    assert changed == "a.csv changed, c.csv is new, b.csv is gone; source.since none \N{RIGHTWARDS ARROW} 2024"


def test_of_many_files_the_first_are_named() -> None:
    new = {f"{day}.csv": "x" for day in range(1, 6)}
    assert input_changes({}, new) == "1.csv is new, 2.csv is new, 3.csv is new, 2 more"


def test_values_of_a_list_are_shown_as_they_are_written() -> None:
    changed = config_changes({"events": ["a.csv"], "keep": []}, {"events": ["a.csv", "b.csv"], "keep": ["colour"]})
    assert changed == "events a.csv \N{RIGHTWARDS ARROW} a.csv, b.csv, keep none \N{RIGHTWARDS ARROW} colour"
