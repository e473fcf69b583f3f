"""`mmsc evaluate` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.terminal import in_a_terminal

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def _unlabelled(workspace: Workspace) -> Workspace:
    """The workspace as if it had been trained before anything was labelled."""
    manifest = read_manifest_file(workspace.root)
    assert manifest is not None
    del manifest["stages"]["label"]
    del manifest["stages"]["train"]["inputs"]["labels.parquet"]
    write_manifest_file(workspace.root, manifest)
    return workspace


def test_a_synthetic_workspace_is_judged_by_its_truth(mmsc: Mmsc, trained_copy: Workspace) -> None:
    ran = mmsc("evaluate", "--baselines", "popularity", "-w", trained_copy.root)
    assert ran.code == 0
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert {row[2] for row in rows[1:] if row[0] == "popularity"} >= {"all", "true_warm", "true_cold"}
    assert ran.err.count("with AUROC") == 2
    truth = json.loads(trained_copy.path("metrics.json").read_bytes())["truth"]
    for relation in ("substitute", "complement"):
        assert truth["reliability"][relation]["auroc"] > 0.7
        warm = {name: truth["models"][name][relation]["true_warm"] for name in ("mmsc", "popularity")}
        assert warm["mmsc"]["ndcg@10_ci"][0] > warm["popularity"]["ndcg@10_ci"][1]
    assert "Against the truth" in trained_copy.path("report.html").read_text(encoding="utf-8")


def test_the_worth_of_labels_that_are_not_there_is_not_called_no_difference(
    mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsc_cli.train.train.train", lambda *_, **__: pytest.fail("trained for nothing"))
    ran = mmsc("evaluate", "--ablate", "llm", "--baselines", "none", "-w", _unlabelled(trained_copy).root)
    assert ran.code == 0
    (line,) = (line for line in ran.err.splitlines() if line.startswith("llm"))
    assert line.startswith("llm: not tested: the model judged was trained without labels")
    assert "mmsc label" in line
    ablation = json.loads(trained_copy.path("metrics.json").read_bytes())["ablation"]
    assert ablation["parts"] == {}
    assert list(ablation["not_tested"]) == ["llm"]
    assert "<strong>llm</strong> was not tested" in trained_copy.path("report.html").read_text(encoding="utf-8")


def test_a_model_of_another_workspace_is_refused(mmsc: Mmsc, trained_copy: Workspace) -> None:
    index = trained_copy.path("judged")
    about = json.loads((index / "index.json").read_bytes())
    (index / "index.json").write_text(json.dumps(about | {"seed": 99}))
    ran = mmsc("evaluate", "-w", trained_copy.root)
    assert (ran.code, ran.out) == (2, "")
    assert f"{index / 'index.json'} is damaged or from another workspace" in ran.err
    assert f"`mmsc train -w {trained_copy.root}` again" in ran.err
    assert len(ran.err.splitlines()) == 2


def test_a_model_of_other_pairs_is_refused(mmsc: Mmsc, trained_copy: Workspace) -> None:
    again = mmsc("prepare", "demo", "--set", "source.items=300", "--seed", 2, "-q", "-w", trained_copy.root)
    assert again.code == 0
    assert mmsc("encode", "-q", "-w", trained_copy.root).code == 0
    ran = mmsc("evaluate", "-q", "-w", trained_copy.root)
    assert (ran.code, ran.out) == (2, "")
    assert "was made from another items.parquet" in ran.err
    assert "mmsc train" in ran.err


def test_quiet_leaves_the_table_on_stdout_and_nothing_on_stderr(mmsc: Mmsc, trained_copy: Workspace) -> None:
    ran = mmsc("evaluate", "--baselines", "none", "--quiet", "-w", trained_copy.root)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("model\trelation\tslice\t")


def test_no_model_yet(mmsc: Mmsc, trained_copy: Workspace) -> None:
    manifest = read_manifest_file(trained_copy.root)
    assert manifest is not None
    del manifest["stages"]["train"]
    write_manifest_file(trained_copy.root, manifest)
    shutil.rmtree(trained_copy.path("model"))
    shutil.rmtree(trained_copy.path("index"))
    ran = mmsc("evaluate", "-w", trained_copy.root)
    assert (ran.code, ran.out) == (2, "")
    assert "`mmsc evaluate` comes after `mmsc train`" in ran.err


def test_an_empty_slice_is_empty_and_not_zero(mmsc: Mmsc, trained_copy: Workspace) -> None:
    """A gate on it fails, saying why."""
    settings = ("--set", "split.cold_test=0", "--set", "split.cold_valid=0", "--set", "source.items=300")
    assert mmsc("prepare", "demo", *settings, "-q", "-w", trained_copy.root).code == 0
    assert mmsc("encode", "-q", "-w", trained_copy.root).code == 0
    assert mmsc("train", "--epochs", 1, "--set", "train.dim=8", "-q", "-w", trained_copy.root).code == 0
    gate = ("--fail-under", "substitute.cold.ndcg@10>=0.1,substitute.all.ndcg@10>=0")
    ran = mmsc("evaluate", "--baselines", "none", "-q", *gate, "-w", trained_copy.root)
    assert ran.code == 1
    assert "substitute.cold.ndcg@10 has no value, because the slice has no queries" in ran.err
    assert "substitute.all" not in ran.err
    assert "mmsc\tsubstitute\tcold\t0\t-\t-\t-\t-" in ran.out.splitlines()
    cold = json.loads(trained_copy.path("metrics.json").read_bytes())["models"]["mmsc"]["substitute"]["cold"]
    assert (cold["queries"], cold["ndcg@10"], cold["ndcg@10_ci"]) == (0, None, None)


def test_the_report_counts_what_rules_changed_and_names_what_the_catalogue_lacks(
    mmsc: Mmsc, trained_copy: Workspace, item_ids: list[str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.csv"
    rules.write_text(
        f"rule,item,query,relation,place\nblock,NOWHERE,,,\npin,{item_ids[1]},{item_ids[0]},complement,1\n"
    )
    ran = mmsc("evaluate", "--baselines", "none", "--rules", rules, "-w", trained_copy.root)
    assert ran.code == 0
    night = json.loads(trained_copy.path("metrics.json").read_bytes())["night"]
    assert (night["rules"]["pinned"], night["rules"]["changed"]) == (1, 1)
    report = trained_copy.path("report.html").read_text(encoding="utf-8")
    assert "1 block rule, 1 pin rule changed the answers of 1 of 300 items" in report
    assert f"Items that rules name and the catalogue lacks: NOWHERE ({rules}:2)" in report
    assert "There is no earlier index to compare with" in report


def test_a_terminal_of_80_columns_shows_the_gain_over_the_best_baseline(trained_copy: Workspace) -> None:
    code, shown = in_a_terminal(
        ["evaluate", "--baselines", "popularity,resource-allocation", "-q", "-w", str(trained_copy.root)]
    )
    assert code == 0
    lines = [
        line for line in shown.splitlines() if line.startswith(("substitute", "complement", "all", "cold", "true_"))
    ]
    assert all(len(line) <= 80 for line in lines)
    headings = [line.split("  ") for line in lines if "best baseline" in line]
    assert len(headings) == 2
    (first, _) = (line for line in lines if line.startswith("all"))
    gain = json.loads(trained_copy.path("metrics.json").read_bytes())["gains"]["substitute"]["all"]
    assert gain["baseline"] in first
    assert f"{100 * gain['relative']:+.1f} %" in first
    low, high = gain["relative_ci"]
    assert low <= gain["relative"] <= high


@pytest.mark.parametrize("expression", ["", " ", ","])
def test_a_gate_of_nothing_is_an_error(mmsc: Mmsc, trained: Workspace, expression: str) -> None:
    ran = mmsc("evaluate", "--fail-under", expression, "-w", trained.root)
    assert (ran.code, ran.out) == (2, "")
    assert "is not a gate" in ran.err
