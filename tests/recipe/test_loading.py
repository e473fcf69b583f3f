from __future__ import annotations

import copy
from pathlib import Path

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.settings import DemoSource, TableSource
from mmsc_cli.recipe.loading import change_recipe, load_recipe

GOOD = """\
# A comment with train = 1
name = "mine"
split.valid = 0.2

[source]
kind = "demo"
items = 500

[train]  # the model
epochs = 3
"""


def _write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def _message(source: str, overrides: list[str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_recipe(source, overrides or [])
    assert caught.value.hint
    return caught.value.message


def test_a_recipe_is_read_from_its_path(tmp_path: Path) -> None:
    recipe = load_recipe(_write(tmp_path, GOOD))
    assert (recipe.name, recipe.split.valid, recipe.train.epochs) == ("mine", 0.2, 3)
    assert recipe.source == DemoSource(kind="demo", items=500)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load_recipe(_write(tmp_path, f"\ufeff{GOOD}")).name == "mine"


def test_every_error_is_told_at_once_with_its_line_and_mend(tmp_path: Path) -> None:
    text = (
        GOOD.replace("split.valid = 0.2", "split.valid = 2")
        .replace("items = 500", "items = 5\nitms = 5")
        .replace("epochs = 3", 'epochs = "many"\nlearnin_rate = 1\nzzz = 1')
    )
    path = _write(tmp_path, text + "[label.mix]\nweak = -1\n[trian]\n")
    assert _message(path).splitlines() == [
        f"{path}:7: source.items: must be at least 200 (given: 5)",
        f"{path}:8: source.itms: no such setting; did you mean items?",
        f"{path}:3: split.valid: must be below 1 (given: 2)",
        f"{path}:15: label.mix.weak: must be at least 0 (given: -1)",
        f"{path}:11: train.epochs: must be a whole number (given: 'many')",
        f"{path}:12: train.learnin_rate: no such setting; did you mean learning_rate?",
        f"{path}:13: train.zzz: no such setting; known: dim, epochs, patience, learning_rate, batch_queries,"
        + _message(path).splitlines()[6].partition("batch_queries,")[2],
        f"{path}:16: trian: no such setting; did you mean train?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\n', "mine.toml: source: missing"),
        ('[source]\nkind = "demo"\n', "mine.toml: name: missing"),
        ('name = "x"\n[source]\nkind = "table"\nitems = "i.csv"\n', "mine.toml:2: source: pairs is missing"),
        ('name = "x"\n[source]\nkind = "shop"\n', "mine.toml:2: source: 'shop' is not one of amazon, table, "),
        ('name = "x"\nsource = 3\n', "mine.toml:2: source: "),
        ('name = "x"\nsource = {kind = "demo", items = 1}\n', "mine.toml:2: source.items: "),
        ('name = "x"\nseed = -1\n[source]\nkind = "demo"\n', "mine.toml:2: seed: "),
        ('name = "x"\n[source]\nkind = "demo"\n[split]\nvalid = 0.6\ntest = 0.6\n', "mine.toml:4: split: "),
        ('name = "x"\n[source]\nkind = "demo"\n[evaluate]\nbaselines = 3\n', "mine.toml:5: evaluate.baselines: "),
        ('name = "x"\n[source]\nkind = "demo"\n[train]\nlearning_rate = inf\n', "a finite number"),
        (
            'name = "x"\n[source]\nkind = "table"\nitems = "i"\npairs = "p"\n[source.columns]\ntitel = "name"\n',
            "mine.toml:7: source.columns.titel: must be 'item_id', ",
        ),
    ],
)
def test_an_error_says_where_it_is(tmp_path: Path, text: str, message: str) -> None:
    assert message in _message(_write(tmp_path, text))


def test_broken_toml_names_its_line(tmp_path: Path) -> None:
    assert "at line 2" in _message(_write(tmp_path, 'name = "x"\nseed\n'))


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes('name = "Caf\xe9"'.encode("latin-1"))
    assert _message(str(path)) == f"{path}: not UTF-8 at byte 11"


def test_names_that_are_no_recipe() -> None:
    assert _message("amazon-beuty") == "no recipe named 'amazon-beuty'; did you mean amazon-beauty?"
    assert "known: amazon-beauty, " in _message("zzz")
    assert _message("gone/mine.toml") == "no recipe file at gone/mine.toml"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=5", ("train", "epochs"), 5),
        ("train.learning_rate = 1e-3", ("train", "learning_rate"), 0.001),
        ("encode.adapt=true", ("encode", "adapt"), True),
        ("encode.encoder=auto", ("encode", "encoder"), "auto"),
        ('encode.encoder="hf-hub:a/b"', ("encode", "encoder"), "hf-hub:a/b"),
        ("encode.encoder=hf-hub:a/b=c", ("encode", "encoder"), "hf-hub:a/b=c"),
        ('evaluate.baselines=["ease"]', ("evaluate", "baselines"), ["ease"]),
        ("label.mix.weak=1", ("label", "mix", "weak"), 1.0),
        ("source.items=50000", ("source", "items"), 50_000),
        ("description=", ("description",), ""),
    ],
)
def test_set_changes_one_value(override: str, path: tuple[str, ...], value: object) -> None:
    recipe = load_recipe("demo", [override])
    found: object = recipe
    for name in path:
        found = getattr(found, name)
    assert found == value
    rest = recipe.as_config()
    untouched = load_recipe("demo").as_config()
    assert {name for name in rest if rest[name] != untouched[name]} == {path[0]}
    assert recipe.source.kind == "demo"


@pytest.mark.parametrize("override", ["train.epochs", "=5", "train..epochs=5", ".epochs=5", ""])
def test_set_without_key_or_value_is_refused(override: str) -> None:
    assert _message("demo", [override]) == f"--set {override}: not KEY=VALUE"


def test_a_bad_value_of_the_command_line_is_not_blamed_on_the_file() -> None:
    message = _message("demo", ["source.items=many", "train.epoch=5", "trian.epochs=5"])
    assert message.splitlines() == [
        "command line: source.items: must be a whole number (given: 'many')",
        "command line: train.epoch: no such setting; did you mean epochs?",
        "command line: trian: no such setting; did you mean train?",
    ]


def test_flags_win_over_set() -> None:
    assert load_recipe("demo", ["seed=5"], {"seed": 7}).seed == 7


def test_a_recorded_recipe_is_changed_without_touching_the_record() -> None:
    record = load_recipe("demo").as_config()
    before = copy.deepcopy(record)
    changed = change_recipe(record, ["train.epochs=1"], {"label.budget": 9})
    assert (changed.train.epochs, changed.label.budget) == (1, 9)
    assert record == before
    with pytest.raises(InputError, match=r"^command line: train\.epochs: "):
        change_recipe(record, ["train.epochs=0"], {})
    with pytest.raises(InputError, match=r"^recipe in the manifest: name: missing"):
        change_recipe({"source": {"kind": "demo"}}, [], {})


def test_column_names_are_ours() -> None:
    source = {"kind": "table", "items": "i", "pairs": "p", "columns": {"item_id": "sku", "co_view": "views"}}
    assert TableSource.model_validate(source).columns == {"item_id": "sku", "co_view": "views"}


def test_a_setting_that_is_gone_does_not_make_an_older_workspace_useless() -> None:
    recorded = load_recipe("demo").as_config()
    recorded["train"]["reliability"] = 0.1
    recorded["label"]["mix"]["old"] = 1.0

    assert change_recipe(recorded, ["train.epochs=3"], {}).train.epochs == 3
    with pytest.raises(InputError, match="no such setting"):
        change_recipe(recorded, ["train.reliability=3"], {})
