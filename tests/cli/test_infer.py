"""`mmsc infer` as a shell user meets it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.terminal import in_a_terminal

if TYPE_CHECKING:
    from tests.conftest import Mmsc

HEADER = "query\trelation\trank\titem\tscore\ttitle"


def _rows(tsv: str) -> list[dict[str, str]]:
    header, *lines = tsv.splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


@pytest.fixture
def where(trained: Workspace) -> list[str]:
    """`infer` in the trained workspace."""
    return ["infer", "-w", str(trained.root)]


def test_tsv_with_a_header_unless_a_terminal_reads(mmsc: Mmsc, where: list[str], item_ids: list[str]) -> None:
    ran = mmsc(*where, "--item", item_ids[0], "--item", item_ids[1], "--relation", "both", "-k", 3)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == HEADER
    rows = _rows(ran.out)
    assert [(row["query"], row["relation"], row["rank"]) for row in rows] == [
        (item_id, relation, str(rank))
        for item_id in item_ids[:2]
        for relation in ("substitute", "complement")
        for rank in (1, 2, 3)
    ]
    assert all(row["item"] in item_ids and row["title"] and float(row["score"]) for row in rows)


def test_every_form_says_the_same(mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path) -> None:
    asked = [*where, "--item", item_ids[3], "-k", "2"]
    expected = [json.loads(line) for line in mmsc(*asked, "--format", "jsonl").out.splitlines()]

    assert list(expected[0]) == HEADER.split("\t")
    assert json.loads(mmsc(*asked, "--json").out) == {"answers": expected}
    assert [row["item"] for row in _rows(mmsc(*asked, "--format", "tsv").out)] == [row["item"] for row in expected]
    with (tmp_path / "answers.parquet").open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "mmsc_cli", *asked, "--format", "parquet"], stdout=file, check=True, timeout=60
        )
    assert pq.read_table(tmp_path / "answers.parquet").to_pylist() == expected


def test_a_table_per_query_and_relation(mmsc: Mmsc, where: list[str], items: pa.Table) -> None:
    first, second = items.slice(0, 2).to_pylist()
    ran = mmsc(*where, "--item", first["item_id"], "--item", second["item_id"], "-k", "2", "--format", "table")

    headings = [line.strip() for line in ran.out.splitlines() if " of " in line and line[0] not in "│┃┏"]
    assert headings == [
        heading if len(heading) <= 100 else heading[:99] + "…"
        for item in (first, second)
        for relation in ("Substitutes", "Complements")
        for heading in [f"{relation} of {item['item_id']}: {item['title']}"]
    ]
    assert max(map(len, ran.out.splitlines())) <= 100
    assert ran.out.count("rank") == 4


def test_novel_leaves_out_what_is_known(mmsc: Mmsc, where: list[str], trained: Workspace, item_ids: list[str]) -> None:
    index = Index.open(trained.path("index"))
    known = {item_ids[row] for row in index.known.indices[index.known.row(0)].tolist()}
    shown, novel = (
        {row["item"] for row in _rows(mmsc(*where, "--item", item_ids[0], "-k", 300, *extra).out)}
        for extra in ([], ["--novel"])
    )

    assert known
    assert shown - novel == known


def test_ids_from_a_file_or_a_pipe_are_answered_in_order(
    mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [item_ids[9], item_ids[2], item_ids[9]]
    path = tmp_path / "ids"
    path.write_text("\n".join(asked) + "\n")
    from_file = mmsc(*where, "--items-from", path, "-k", 1, "--relation", "substitute")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(asked).encode())))
    piped = mmsc(*where, "--items-from", "-", "-k", 1, "--relation", "substitute")

    assert [row["query"] for row in _rows(from_file.out)] == asked
    assert piped.out == from_file.out


def test_an_unknown_item_does_not_keep_the_others_waiting(mmsc: Mmsc, where: list[str], item_ids: list[str]) -> None:
    ran = mmsc(*where, "--item", "NOWHERE", "--item", item_ids[0], "--item", "NEITHER", "-k", 1)

    assert ran.code == 3
    assert [row["query"] for row in _rows(ran.out)] == [item_ids[0]] * 2
    unknown, nearest, *_ = ran.err.splitlines()
    assert unknown == "mmsc: unknown item 'NOWHERE'"
    assert nearest.startswith("  nearest ids: ")
    assert "'NEITHER'" in ran.err


def test_a_missing_file_writes_nothing_to_stdout(mmsc: Mmsc, where: list[str]) -> None:
    ran = mmsc(*where, "--items-from", "nowhere.txt")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mmsc: no file at nowhere.txt")


def test_pairs(
    mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.tsv").write_text(f"{item_ids[0]}\t{item_ids[1]}\nalone\n{item_ids[2]},{item_ids[3]}\n")
    ran = mmsc(*where, "--pairs", "pairs.tsv")

    assert ran.code == 1
    rows = _rows(ran.out)
    assert [(row["a"], row["b"]) for row in rows] == [tuple(item_ids[:2]), tuple(item_ids[2:4])]
    for row in rows:
        shares = [float(row[f"p_{name}"]) for name in ("substitute", "complement", "neither")]
        assert sum(shares) == pytest.approx(1, abs=2e-4)
    assert ran.err.startswith("mmsc: pairs.tsv:2: two ids expected, 1 found\n")
    drawn = mmsc(*where, "--pairs", "pairs.tsv", "--format", "table")
    assert drawn.out.count("p_neither") == 1


def test_new_items(
    mmsc: Mmsc, where: list[str], items: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = items.slice(0, 1).to_pylist()[0]
    lines = [json.dumps({"id": "N1", "title": known["title"]}), "{bad", json.dumps({"title": known["title"]})]
    Path("new.jsonl").write_text("\n".join(lines))
    ran = mmsc(*where, "--new", "new.jsonl", "-k", 2, "--relation", "substitute", "-q")
    drawn = mmsc(*where, "--new", "new.jsonl", "-k", 2, "--format", "table")

    assert ran.code == 1
    assert [row["query"] for row in _rows(ran.out)] == ["N1", "N1", "line 3", "line 3"]
    assert {row["modalities"] for row in _rows(ran.out)} == {"text"}
    assert ran.err.startswith("mmsc: new.jsonl:2: not JSON")
    assert f"Substitutes of N1: {known['title']}" in drawn.out


@pytest.mark.parametrize(
    "asked",
    [
        ["--item", "A", "--items-from", "-"],
        ["--new", "-", "--pairs", "-"],
        ["--item", "A", "--json", "--format", "jsonl"],
        ["--item", "A", "-k", "0"],
        ["--item", "A", "--format", "xml"],
        ["--item", "A", "--all"],
        ["--item", "A", "--shard", "1/2"],
        ["--all", "--shard", "3/2"],
        ["--item", "A", "--workers", "2"],
        ["--item", "A", "--ray"],
        ["--all", "--shard", "1/2", "--workers", "2"],
        ["--all", "--ray", "--shard", "1/2"],
        ["--item", "A", "--relation", "substitute", "--same-category", "--other-category"],
        ["--item", "A", "--relation", "substitute", "--overlap"],
        ["--item", "A", "--min-score", "bundle=3"],
        ["--item", "A", "--device", "cpu"],
        ["--item", "A", "--set", "images.timeout=3"],
        ["--item", "A", "--relation", "complement", "--price-within", "20%"],
        ["--item", "A", "--relation", "substitute", "--diversify"],
        ["--item", "A", "--price-within", "20"],
        ["--item", "A", "--price-within", "-20%"],
        ["--item", "A", "--price-within", "cheap%"],
        ["--item", "A", "--min-score", "nan"],
        ["--item", "A", "--in-stock", "nowhere.txt"],
        ["--items-from", "-", "--in-stock", "-"],
        ["--pairs", "-", "--novel"],
    ],
)
def test_what_excludes_one_another_is_refused(mmsc: Mmsc, where: list[str], asked: list[str]) -> None:
    ran = mmsc(*where, *asked)

    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2


def test_a_terminal_gets_a_table_and_no_bytes(where: list[str], item_ids: list[str]) -> None:
    code, shown = in_a_terminal([*where, "--item", item_ids[0], "-k", "2"])
    refused, message = in_a_terminal([*where, "--item", item_ids[0], "--format", "parquet"])

    assert code == 0
    assert "┃ rank" in shown
    assert refused == 2
    assert "send them to a file" in message


def test_the_first_answer_leaves_before_the_last_question_comes(where: list[str], item_ids: list[str]) -> None:
    command = [sys.executable, "-m", "mmsc_cli", *where, "--items-from", "-", "-k", "1", "--relation", "substitute"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for item_id in item_ids[:3]:
            process.stdin.write(item_id + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if line.startswith("query"):
                line = process.stdout.readline()
            assert line.startswith(item_id)
        process.stdin.close()
    assert process.returncode == 0


def test_a_reader_that_leaves_early_is_no_error(where: list[str], item_ids: list[str], tmp_path: Path) -> None:
    # More than a pipe holds, so that the writer meets the closed pipe.
    (tmp_path / "ids").write_text("\n".join(item_ids * 10))
    command = [sys.executable, "-m", "mmsc_cli", *where, "--items-from", str(tmp_path / "ids")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == HEADER + "\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize("form", ["tsv", "jsonl", "table"])
def test_a_title_cannot_steer_the_terminal(
    mmsc: Mmsc, trained: Workspace, tmp_path: Path, item_ids: list[str], form: str
) -> None:
    from safetensors.numpy import load_file

    evil = "a\x1b[31mb\tc\nd\x9be\u202ef"
    tensors = load_file(trained.path("index/index.safetensors"))
    encoded = evil.encode()
    tensors["titles.bytes"] = np.frombuffer(encoded * len(item_ids), np.uint8)
    tensors["titles.offsets"] = np.arange(len(item_ids) + 1, dtype=np.int64) * len(encoded)
    folder = tmp_path / "index"
    folder.mkdir()
    write_index(folder, tensors, json.loads(trained.path("index/index.json").read_bytes()))

    ran = mmsc("infer", "-w", tmp_path, "--item", item_ids[0], "-k", 2, "--relation", "substitute", "--format", form)

    assert ran.code == 0
    assert not set(ran.out) & set("\x1b\x9b\u202e")
    if form == "jsonl":
        assert [json.loads(line)["title"] for line in ran.out.splitlines()] == [evil] * 2
    if form == "tsv":
        assert [line.split("\t")[5] for line in ran.out.splitlines()[1:]] == ["a [31mb c d e f"] * 2


@pytest.mark.parametrize("form", ["tsv", "csv", "parquet"])
def test_what_fails_before_the_first_answer_leaves_stdout_empty(
    mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path, form: str
) -> None:
    pinned = f"pin,{{}},{item_ids[2]},substitute,1\n"
    rules = tmp_path / "rules.csv"
    rules.write_text("rule,item,query,relation,place\n" + pinned.format(item_ids[0]) + pinned.format(item_ids[1]))
    for wrong in (
        [item_ids[0], "--where", "colour=red"],
        [item_ids[0], "--rules", rules, "--fallback"],
        ["--basket", f"{item_ids[0]}", "--basket", " , "],
    ):
        ran = mmsc(*where, *wrong, "--format", form)
        assert (ran.code, ran.out) == (2, "")
