"""`mmsc diff`: two nights compared, in every form in which answers come."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

FORMS = ("tsv", "csv", "jsonl", "json", "tsv.gz")
OLD = [
    ("a", "substitute", 1, "b", 3.0, "Bowl, blue"),
    ("a", "substitute", 2, "c", 2.0, 'Cup "large"'),
    ("b", "substitute", 1, "a", 3.0, "Axe"),
    ("b", "complement", 1, "gone", 1.0, "Gone"),
]
NEW = [
    ("a", "substitute", 1, "c", 3.5, 'Cup "large"'),
    ("a", "substitute", 2, "b", 3.0, "Bowl, blue"),
    ("b", "substitute", 1, "a", 3.0, "Axe"),
    ("b", "complement", 1, "fresh", 1.0, "Fresh"),
]
HEADER = ("query", "relation", "rank", "item", "score", "title")


@pytest.fixture
def nights(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "old.tsv", tmp_path / "new.tsv"
    for path, rows in zip(paths, (OLD, NEW), strict=True):
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in (HEADER, *rows)))
    return paths


def test_what_came_went_and_moved(mmsc: Mmsc, nights: tuple[Path, Path]) -> None:
    result = json.loads(mmsc("diff", *nights, "--json").out)

    assert result["items"] == {"old": 4, "new": 4, "added": 1, "gone": 1, "added_ids": ["fresh"], "gone_ids": ["gone"]}
    substitutes, complements = result["churn"]["substitute"], result["churn"]["complement"]
    assert (substitutes["queries"], substitutes["top1"]) == (2, 0.5)
    assert substitutes["by_rank"] == [0.5, 1]
    (move,) = substitutes["moves"]
    assert (move["query"], move["old"], move["new"]) == ("a", "b", "c")
    assert (move["title"], move["old_title"], move["new_title"]) == ("Axe", "Bowl, blue", 'Cup "large"')
    assert move["reason"] == "b fell to rank 2; c rose from rank 2"
    assert complements["top1"] == 1
    assert complements["moves"][0]["reason"] == "gone left the catalogue; fresh is new in the catalogue"


def test_the_same_on_a_pipe(mmsc: Mmsc, nights: tuple[Path, Path]) -> None:
    header, *rows = [line.split("\t") for line in mmsc("diff", *nights).out.splitlines()]
    assert header == ["what", "relation", "name", "old", "new", "change", "note"]
    assert ["churn", "substitute", "top1"] in [row[:3] for row in rows]
    assert {len(row) for row in rows} == {len(header)}


def test_an_item_without_a_title_is_called_by_its_id(mmsc: Mmsc, tmp_path: Path) -> None:
    for name, answer in (("old", "a"), ("new", "b")):
        row = ("q", "substitute", 1, answer, 3.0, answer.upper())
        (tmp_path / f"{name}.tsv").write_text("\n".join("\t".join(map(str, line)) for line in (HEADER, row)) + "\n")
    moves = [
        line for line in mmsc("diff", tmp_path / "old.tsv", tmp_path / "new.tsv").out.splitlines() if "move" in line
    ]
    assert [line.split("\t")[-1].split(";")[0] for line in moves] == ["q: A -> B"]


@pytest.mark.parametrize("form", FORMS)
def test_any_form_equals_the_workspace_it_came_from(form: str, mmsc: Mmsc, trained: Workspace, tmp_path: Path) -> None:
    asked = ["infer", "-w", trained.root, "--all", "--relation", "both", "-k", "4"]
    how = ["--json"] if form == "json" else ["--format", form.removesuffix(".gz")]
    text = mmsc(*asked, *how).out
    path = tmp_path / f"night.{form}"
    path.write_bytes(gzip.compress(text.encode()) if form.endswith(".gz") else text.encode())

    result = json.loads(mmsc("diff", path, trained.root, "-k", "4", "--json").out)
    for churn in result["churn"].values():
        assert churn["queries"] > 100
        assert (churn["top1"], churn["top5"], churn["moves"]) == (0, 0, [])
        assert churn["by_rank"] == [0] * 4


def test_two_indexes_with_reasons_and_figures(mmsc: Mmsc, trained: Workspace) -> None:
    result = json.loads(mmsc("diff", trained.path("judged"), trained.root, "--json").out)
    assert result["items"]["added"] == result["items"]["gone"] == 0
    assert result["churn"]["substitute"]["top1"] > 0
    reasons = [move["reason"] for move in result["churn"]["substitute"]["moves"]]
    assert len(reasons) == 10
    assert any("category" in reason for reason in reasons)


def test_figures_stand_side_by_side(mmsc: Mmsc, trained_copy: Workspace) -> None:
    figures: dict[str, Any] = {"substitute": {"all": {"ndcg@10": 0.5}, "cold": {"ndcg@10": None}}}
    trained_copy.path("metrics.json").write_text(json.dumps({"models": {"mmsc": figures}}))
    result = json.loads(mmsc("diff", trained_copy.root, trained_copy.root, "--json").out)
    assert result["figures"]["old"] == result["figures"]["new"] == {"substitute.all.ndcg@10": 0.5}
    assert "figure\tsubstitute\tall.ndcg@10\t0.5000\t0.5000\t0.0000" in mmsc("diff", *[trained_copy.root] * 2).out


def test_a_gate_stops_a_night_that_changed_too_much(mmsc: Mmsc, nights: tuple[Path, Path]) -> None:
    assert mmsc("diff", *nights, "--fail-under", "churn.substitute.top1<=0.5").code == 0
    refused = mmsc("diff", *nights, "--fail-under", "churn.substitute.top1<0.5,churn.complement.top5<=0.2")
    assert refused.code == 1
    assert "churn.substitute.top1 is 0.5000" in refused.err
    assert "churn.complement.top5 is 1.0000" in refused.err


@pytest.mark.parametrize("gate", ["churn.substitute.top1>=0.1", "churn.substitute.top2<=0.1", "top1<=0.1", ""])
def test_a_gate_that_says_nothing_is_refused(gate: str, mmsc: Mmsc, nights: tuple[Path, Path]) -> None:
    refused = mmsc("diff", *nights, "--fail-under", gate)
    assert refused.code == 2
    assert "churn.RELATION.FIGURE" in refused.err or "PREFIX.RELATION.FIGURE" in refused.err


def test_a_relation_that_one_night_lacks_fails_its_gate(mmsc: Mmsc, nights: tuple[Path, Path]) -> None:
    old, _ = nights
    old.write_text("".join(line for line in old.read_text().splitlines(keepends=True) if "complement" not in line))
    assert "complement" not in json.loads(mmsc("diff", *nights, "--json").out)["churn"]
    assert mmsc("diff", *nights, "--fail-under", "churn.complement.top1<=1").code == 1


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("night.tsv", "query\titem\na\tb\n", "relation"),
        ("night.tsv", "", "cannot be read"),
        ("night.csv", ",".join(HEADER) + "\n", "no answers"),
        ("night.csv", ",".join(HEADER) + "\na,friend,1,b,1.0,B\n", "friend"),
        ("night.csv", ",".join(HEADER) + "\na,substitute,0,b,1.0,B\n", "rank"),
        ("night.csv", ",".join(HEADER) + "\na,substitute,one,b,1.0,B\n", "cannot be read"),
        (
            "night.csv",
            ",".join(HEADER) + "\na,substitute,1,b,1.0,B\na,substitute,1,c,1.0,C\n",
            "2 substitutes of rank 1",
        ),
        ("night.jsonl", '{"query": "a", "relation": "substitute", "rank": 1, "item": "b"}\n', "score"),
        ("night.jsonl", '["a"]\n', "cannot be read"),
        ("night.json", "{}", "cannot be read"),
        ("night.parquet", "PAR1", "cannot be read"),
        ("night.txt", "a", "unknown kind of file"),
    ],
)
def test_what_is_no_table_of_answers_is_refused(
    name: str, text: str, named: str, mmsc: Mmsc, nights: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    refused = mmsc("diff", nights[0], path)
    assert refused.code == 2
    assert named in refused.err
    assert str(path) in refused.err


def test_a_file_that_is_not_there_is_named(mmsc: Mmsc, nights: tuple[Path, Path], tmp_path: Path) -> None:
    refused = mmsc("diff", nights[0], tmp_path / "tomorrow.parquet")
    assert refused.code == 2
    assert "no such file" in refused.err


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "json"])
def test_bestsellers_without_scores_are_compared(form: str, mmsc: Mmsc, trained: Workspace, tmp_path: Path) -> None:
    asked = ["infer", "-w", trained.root, "--all", "-k", "2", "--min-score", "1e6", "--fallback"]
    path = tmp_path / f"night.{form}"
    path.write_text(mmsc(*asked, *(["--json"] if form == "json" else ["--format", form])).out)

    result = json.loads(mmsc("diff", path, path, "--json").out)
    assert result["churn"]["complement"]["queries"] == 300
    assert result["churn"]["complement"]["top1"] == 0
