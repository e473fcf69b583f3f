"""`mmsc judge`: pairs are shown and labelled by hand, and kept."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mmsc_cli.label.people.judging import Judging
from mmsc_cli.tables.judgements import FILE, append_judgement, read_judgements, votes_of
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def test_what_is_typed_is_kept_and_no_pair_is_asked_twice(
    mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch, item_ids: list[str]
) -> None:
    path = trained_copy.root / FILE
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n\nx\nc\nN\nq\n"))
    ran = mmsc("judge", "-n", 20, "--who", "anna", "-w", trained_copy.root, "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == {"judged": 3, "file": str(path)}
    assert read_judgements(path)["label"].to_pylist() == list(CLASSES)
    assert "p_" not in ran.err
    assert "score" not in ran.err
    assert ran.err.count("s for substitutes, c for complements") == 1  # after the x

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n" * 40))
    mmsc("judge", "-n", 40, "--who", "anna", "-w", trained_copy.root)
    judgements = read_judgements(path)
    assert len(votes_of(judgements, item_ids)) == len(judgements) == 43
    assert set(judgements["source"].to_pylist()) == {"answers", "doubts", "random"}


def test_the_end_of_stdin_ends_it(mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s\n"))
    ran = mmsc("judge", "-n", 5, "-w", trained_copy.root)

    assert ran.code == 0, ran
    assert len(read_judgements(trained_copy.root / FILE)) == 1


def test_ctrl_c_at_the_prompt_is_an_interrupt(
    mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())
    ran = mmsc("judge", "-n", 5, "-w", trained_copy.root)

    assert ran.code == 130, ran
    assert "the same command continues: mmsc judge" in ran.err


def test_people_who_judge_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def judge(number: int) -> None:
        when = datetime(2026, 11, 30, tzinfo=UTC)
        judgement = {"a": "A", "b": f"B{number}", "label": "neither", "who": "x", "time": when, "source": "random"}
        append_judgement(tmp_path / FILE, judgement)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(judge, range(48)))

    assert sorted(read_judgements(tmp_path / FILE)["b"].to_pylist()) == sorted(f"B{number}" for number in range(48))


@pytest.mark.parametrize("count", [1, 2, 6, 90])
def test_as_many_pairs_are_drawn_as_were_asked_for(trained: Workspace, count: int) -> None:
    pairs = Judging(trained, "anna").pairs(count, seed=1)
    assert len({(pair.a, pair.b) for pair in pairs}) == len(pairs) == count
    assert all(pair.a < pair.b for pair in pairs)


def test_every_pair_is_drawn_once_where_more_are_asked_for(trained: Workspace, item_ids: list[str]) -> None:
    pairs = Judging(trained, "anna").pairs(10**6, seed=1)
    assert len({(pair.a, pair.b) for pair in pairs}) == len(pairs) == len(item_ids) * (len(item_ids) - 1) // 2


def test_the_answers_are_judged_by_people_and_annotators_too(
    mmsc: Mmsc, trained_copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who, typed in (("anna", "s\n"), ("<b>ben", "n\n")):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed * 60))
        mmsc("judge", "-n", 60, "--who", who, "-w", trained_copy.root)
    mmsc("evaluate", "--baselines", "none", "-w", trained_copy.root, "-q")
    people = json.loads(trained_copy.path("metrics.json").read_bytes())["people"]
    substitutes, complements = people["substitute"], people["complement"]
    assert substitutes["judged"] > 0
    assert (substitutes["precision@10"], complements["precision@10"]) == (0.5, 0)
    assert {who: one["precision@10"] for who, one in substitutes["by_annotator"].items()} == {"anna": 1, "<b>ben": 0}
    report = trained_copy.path("report.html").read_text()
    assert "By people" in report
    assert "substitute, by &lt;b&gt;ben" in report
    for judgement in read_judgements(trained_copy.root / FILE).to_pylist():  # ben thinks again
        if judgement["who"] != "anna":
            append_judgement(trained_copy.root / FILE, {**judgement, "label": "substitute"})
    gold = mmsc("label", "--model", "rules", "--gold", trained_copy.root / FILE, "-w", trained_copy.root, "--json")
    judged = json.loads(gold.out)["counts"]["gold"]
    assert judged["pairs"] == 60
    assert np.sum(list(judged["confusion"]["substitute"].values())) == 60
