"""The stages in a workspace: what reads what, and what is run again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmsc_cli.errors import InputError
from mmsc_cli.evaluate.settings import evaluate_config
from mmsc_cli.evaluate.stage import run_evaluate
from mmsc_cli.pipeline import Computing, other_stages, prepare_if_needed, run_all
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.tables.labels import Labels
from mmsc_cli.workspace.checksums import digest
from mmsc_cli.workspace.config import stage_config
from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import Workspace


def _cpu() -> torch.device:
    return torch.device("cpu")


def _run_all(workspace: Workspace, recipe: Recipe) -> dict[Stage, str]:
    return run_all(workspace, recipe, inputs=[], recipe_directory=Path(), label=True, computing=Computing(_cpu))


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that would have run, in order, instead of running them."""
    ran: list[str] = []

    def note(stage: str) -> Callable[..., None]:
        return lambda *_, **__: ran.append(stage)

    for stage in ("encode", "label", "train", "evaluate"):
        monkeypatch.setattr(f"mmsc_cli.{stage}.stage.run_{stage}", note(stage))
    monkeypatch.setattr("mmsc_cli.prepare.stage.prepare", note("prepare"))
    return ran


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ("name=other", ["evaluate"]),
        ("train.epochs=3", ["train", "evaluate"]),
        ("evaluate.bootstrap=10", ["evaluate"]),
        ("encode.text_dim=16", ["encode", "evaluate"]),
        ("split.test=0.2", ["prepare", "evaluate"]),
        ("source.noise=0.1", ["prepare", "evaluate"]),
        ("encode.batch_size=7", ["evaluate"]),
        ("label.concurrency=2", ["evaluate"]),
        ("images.per_host=1", ["evaluate"]),
    ],
)
def test_only_what_a_setting_changes_is_run_again(
    trained_copy: Workspace, demo_settings: tuple[str, ...], idle: list[str], changed: str, stages: list[str]
) -> None:
    done = _run_all(trained_copy, load_recipe("demo", [*demo_settings, changed]))

    assert idle == stages
    assert [stage for stage, how in done.items() if how == "done"] == stages


def test_an_interrupted_budget_goes_on_with_the_next_round(
    trained_copy: Workspace, demo_settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*demo_settings, "label.model=oracle:1.0", "label.budget=11", "label.rounds=3")
    recipe = load_recipe("demo", settings)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def labelled() -> tuple[int, int]:
        counts = trained_copy.manifest().stages["label"].counts
        return counts["round"], counts["labelled"]

    monkeypatch.setattr("mmsc_cli.train.stage.run_train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _run_all(trained_copy, recipe)
    assert labelled() == (1, 3)
    monkeypatch.setattr("mmsc_cli.train.stage.run_train", lambda *_: None)  # the model of the fixture will do
    monkeypatch.setattr("mmsc_cli.evaluate.stage.run_evaluate", lambda *_, **__: None)
    assert _run_all(trained_copy, recipe)["label"] == "done"
    assert labelled() == (3, 11)
    labels = Labels.read(trained_copy.path("labels.parquet"))
    assert len({*zip(labels.a.tolist(), labels.b.tolist(), strict=True)}) == 11
    assert _run_all(trained_copy, recipe)["label"] == "up to date"


def test_later_commands_see_the_recipe_of_the_last_run(
    trained_copy: Workspace, demo_settings: tuple[str, ...], idle: list[str]
) -> None:
    _run_all(trained_copy, load_recipe("demo", [*demo_settings, "evaluate.bootstrap=10"]))

    assert "prepare" not in idle
    recorded = trained_copy.manifest().stages["prepare"].config["recipe"]
    assert recorded["evaluate"]["bootstrap"] == 10


def test_an_ablation_retrains_the_model_that_is_judged(
    trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    class StopError(Exception):
        """Enough was seen."""

    def train(_: Workspace, settings: Any, plan: Any, *rest: Any) -> None:
        seen.append({"epochs": settings.epochs, "seed": plan.seed, "without": list(plan.without)})
        raise StopError

    monkeypatch.setattr("mmsc_cli.train.train.train", train)
    other = load_recipe("demo", ["train.epochs=9", "seed=5", "evaluate.baselines='none'"])

    with pytest.raises(StopError):
        run_evaluate(trained_copy, other, other_stages(), parts=["image"], seeds=1, report=None, device=_cpu)

    # The whole model from the first seed is the one that lies there.
    assert seen == [{"epochs": 2, "seed": 1, "without": ["image"]}]


def test_an_unknown_part(trained: Workspace) -> None:
    with pytest.raises(InputError, match="brain") as caught:
        run_evaluate(trained, load_recipe("demo"), other_stages(), parts=["brain"], seeds=1, report=None, device=_cpu)

    assert "denoise" in (caught.value.hint or "")


def test_local_inputs_are_read_for_their_hash_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nA,lamp\nB,shade\nC,bulb\n")
    (tmp_path / "pairs.csv").write_text("a,b,co_view\nA,B,1\nB,C,1\n")
    read: list[str] = []

    def note(path: Path) -> str:
        read.append(path.name)
        return digest(path)

    monkeypatch.setattr("mmsc_cli.workspace.kept_digests.digest", note)
    monkeypatch.setattr("mmsc_cli.encode.stage.run_encode", lambda *_, **__: None)
    monkeypatch.setattr("mmsc_cli.train.stage.run_train", lambda *_, **__: None)
    monkeypatch.setattr("mmsc_cli.evaluate.stage.run_evaluate", lambda *_, **__: None)

    run_all(
        Workspace(tmp_path / "workspace"),
        load_recipe("my-shop"),
        inputs=[tmp_path / "items.csv", tmp_path / "pairs.csv"],
        recipe_directory=tmp_path,
        label=False,
        computing=Computing(_cpu),
    )

    assert sorted(read) == ["items.csv", "pairs.csv"]


def _shop(folder: Path) -> dict[str, Any]:
    """A small catalogue of files, and how `run` and `prepare` are told of it."""
    (folder / "items.csv").write_text("item_id,title\nA,lamp\nB,shade\nC,bulb\n")
    (folder / "pairs.csv").write_text("a,b,co_view\nA,B,1\nB,C,1\n")
    return {"inputs": [], "recipe_directory": folder}


def test_prepare_runs_again_only_if_something_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mmsc_cli")
    where, recipe, workspace = _shop(tmp_path), load_recipe("my-shop"), Workspace(tmp_path / "workspace")

    first = prepare_if_needed(workspace, recipe, **where)
    again = prepare_if_needed(workspace, recipe, **where)
    (tmp_path / "items.csv").write_text("item_id,title\nA,lamp\nB,shade\nC,bulb\nD,switch\n")
    changed = prepare_if_needed(workspace, recipe, **where)

    assert (first[1], again[1], changed[1]) == (False, True, False)
    assert again[0] == first[0]
    assert changed[0]["items"] == 4
    assert "prepare: running: items.csv changed" in caplog.messages


def test_prepare_repairs_what_is_damaged(tmp_path: Path) -> None:
    where, recipe, workspace = _shop(tmp_path), load_recipe("my-shop"), Workspace(tmp_path / "workspace")
    prepare_if_needed(workspace, recipe, **where)
    whole = (workspace.root / "pairs.parquet").read_bytes()
    (workspace.root / "pairs.parquet").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    assert not prepare_if_needed(workspace, recipe, **where)[1]
    assert (workspace.root / "pairs.parquet").read_bytes() == whole


def test_a_night_without_changes_imports_nothing_heavy(trained_copy: Workspace, demo_settings: tuple[str, ...]) -> None:
    settings = [word for setting in demo_settings for word in ("--set", setting)]
    command = ["run", "demo", "-w", str(trained_copy.root), "--set", "evaluate.bootstrap=20", *settings]
    script = (
        "import sys; from mmsc_cli.cli.app import run_command; "
        f"code = run_command({command!r}); heavy = {{'torch', 'pandas', 'sklearn', 'scipy', 'duckdb'}}; "
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    ran = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True) for _ in range(2)]

    assert "evaluate: done" in ran[0].stderr
    assert ran[1].stdout == "0 []\n", ran[1].stderr


def test_changed_rules_of_the_shop_are_evaluated_again_and_not_trained() -> None:
    plain, ruled = load_recipe("demo"), load_recipe("demo", ["rules.block=[{item='A'}]"])
    assert evaluate_config(plain) != evaluate_config(ruled)
    assert stage_config("train", plain) == stage_config("train", ruled)
