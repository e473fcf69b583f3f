"""What `mmsc run` says at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.fixture
def finished(trained_copy: Workspace, demo_settings: tuple[str, ...]) -> list[str]:
    """`run` in a workspace in which all but `evaluate` is up to date."""
    settings = [word for setting in demo_settings for word in ("--set", setting)]
    return ["run", "demo", "-w", str(trained_copy.root), *settings, "--set", "evaluate.bootstrap=20"]


def test_the_summary_ends_with_a_command_that_answers(mmsc: Mmsc, finished: list[str]) -> None:
    ran = mmsc(*finished)

    assert (ran.code, ran.out) == (0, "")
    for stage in ("prepare", "encode", "label", "train"):
        assert f"{stage}: up to date" in ran.err
    assert re.search(r"^300 items, [\d,]+ co-view and [\d,]+ co-purchase pairs$", ran.err, re.MULTILINE)
    assert re.search(r"^held out: \d+ pairs and \d+ items for the test, ", ran.err, re.MULTILINE)
    for relation in ("substitutes", "complements"):
        assert re.search(rf"^{relation}: NDCG@10 0\.\d+ on \d+ held-out queries, best baseline ", ran.err, re.MULTILINE)
    named = re.search(r"^next: `mmsc (.*)`$", ran.err, re.MULTILINE)
    assert named is not None
    assert mmsc(*named[1].split()).out.count("\n") == 21
    last = ran.err.splitlines()[-1]
    assert re.fullmatch(
        r"run: 300 items, [\d,]+ pairs in \d+\.\d s \(prepare up to date, .*, evaluate \d+\.\d s\)", last
    )
    whole = json.loads(mmsc(*finished, "--json", "-q").out)
    assert whole["seconds"] > 0
    assert whole["example"] == named[1].split()[1]
    assert whole["next"] == f"mmsc {named[1]}"
    assert whole["warnings"] == whole["counts"]["warnings"]
    assert whole["held_out"]["pairs"]["test"] > 0
    ours = whole["figures"]["substitute"]["mmsc"]
    assert f"substitutes: NDCG@10 {ours['ndcg@10']:.3f} on {ours['queries']:,} held-out" in ran.err


@pytest.mark.parametrize(
    ("options", "labels"), [((), False), (("--set", "label.model=rules"), True), (("--label",), True)]
)
def test_pairs_are_labelled_where_the_recipe_says_so(
    mmsc: Mmsc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], labels: bool
) -> None:
    def run_all(*_: object, label: bool, **__: object) -> None:
        raise RuntimeError(f"label: {label}")

    monkeypatch.setattr("mmsc_cli.pipeline.run_all", run_all)
    recipe = tmp_path / "shop.toml"
    recipe.write_text('name = "shop"\n[source]\nkind = "demo"\n')
    ran = mmsc("run", recipe, "-w", tmp_path / "w", *options)

    assert f"label: {labels}" in ran.err
    assert ("label: skipped" in ran.err) == (not labels)
