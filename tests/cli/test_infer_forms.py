"""Filters, explanations and the nightly table of `mmsc infer`, in every form."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.fixture
def where(trained: Workspace) -> list[str]:
    """`infer` in the trained workspace."""
    return ["infer", "-w", str(trained.root)]


def _parquet(where: list[str], path: Path, *options: str) -> pa.Table:
    with path.open("wb") as file:
        command = [sys.executable, "-m", "mmsc_cli", *where, *options, "--format", "parquet"]
        subprocess.run(command, stdout=file, check=True, timeout=120)
    return pq.read_table(path)


def test_filters_leave_what_they_say(
    mmsc: Mmsc, where: list[str], items: pa.Table, item_ids: list[str], tmp_path: Path
) -> None:
    catalogue = {item["item_id"]: item for item in items.to_pylist()}
    asked = next(item for item in catalogue.values() if item["category"] and item["price"] > 0)
    stock = tmp_path / "stock"
    stock.write_text("\n".join([*item_ids[::2], "NOWHERE"]))
    options = ["--item", asked["item_id"], "-k", 300, "--format", "jsonl"]

    def found(*more: object) -> list[str]:
        ran = mmsc(*where, "-q", *options, *more)
        assert (ran.code, ran.err) == (0, "")
        return [json.loads(line)["item"] for line in ran.out.splitlines()]

    substitute, complement = ("--relation", "substitute"), ("--relation", "complement")
    everything = found(*substitute)
    same, other = found(*substitute, "--same-category"), found(*substitute, "--other-category")
    assert same == [item for item in everything if catalogue[item]["category"] == asked["category"]]
    assert other == [item for item in everything if catalogue[item]["category"] not in ([], asked["category"])]
    assert same
    assert other
    near = found(*substitute, "--price-within", "30%")
    assert near == [i for i in everything if abs(catalogue[i]["price"] - asked["price"]) <= 0.3 * asked["price"] + 1e-4]
    assert 0 < len(near) < len(everything)
    assert found(*substitute, "--in-stock", stock) == [item for item in everything if item in set(item_ids[::2])]
    lowest = [json.loads(line)["score"] for line in mmsc(*where, *options, *substitute).out.splitlines()][9]
    assert found(*substitute, "--min-score", lowest) == everything[:10]
    diverse = found(*complement, "--diversify")
    assert sorted(diverse) == sorted(found(*complement))
    kinds = [tuple(catalogue[item]["category"]) for item in diverse]
    others = set(map(tuple, items["category"].to_pylist())) - {tuple(asked["category"])}
    assert set(kinds[: len(others)]) == others


def test_an_explanation_is_a_line_or_fields(mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path) -> None:
    asked = [*where, "--item", item_ids[0], "-k", "3", "--explain"]
    header, *lines = mmsc(*asked).out.splitlines()
    records = [json.loads(line) for line in mmsc(*asked, "--format", "jsonl").out.splitlines()]

    assert header.split("\t") == ["query", "relation", "rank", "item", "score", "title", "why"]
    assert all("shared neighbours" in line.split("\t")[6] for line in lines)
    assert len(lines) == len(records) == 6
    for name in (
        "reliability",
        "shared_neighbours",
        "text_similarity",
        "image_similarity",
        "label",
        "query_gate_weight",
    ):
        assert name in records[0]
    assert json.loads(mmsc(*asked, "--json").out) == {"answers": records}
    assert _parquet(where, tmp_path / "why.parquet", *asked[3:]).to_pylist() == records
    assert "shared" in mmsc(*asked, "--format", "table").out
    pairs = tmp_path / "pairs"
    pairs.write_text(f"{item_ids[0]}\t{item_ids[1]}\n")
    assert mmsc(*where, "--pairs", pairs, "--explain").out.splitlines()[0].endswith("p_neither\twhy")


def test_the_nightly_table_is_what_each_item_is_answered(where: list[str], item_ids: list[str], tmp_path: Path) -> None:
    table = _parquet(where, tmp_path / "all.parquet", "--all", "--relation", "both", "-k", "4")
    (tmp_path / "ids").write_text("".join(f"{item_id}\n" for item_id in item_ids))
    listed = _parquet(where, tmp_path / "ids.parquet", "--items-from", str(tmp_path / "ids"), "-k", "4")

    assert table.num_rows == len(item_ids) * 2 * 4
    assert table["query"].to_pylist()[::8] == item_ids
    assert table == listed


def test_shards_of_the_catalogue_are_the_whole_of_it(mmsc: Mmsc, where: list[str]) -> None:
    whole = mmsc(*where, "--all", "-k", "2").out.splitlines()
    parts = [mmsc(*where, "--all", "-k", "2", "--shard", f"{number}/3").out.splitlines() for number in (1, 2, 3)]

    assert all(len(part) > 1 for part in parts)
    assert whole == [whole[0], *(line for part in parts for line in part[1:])]


def test_a_table_without_answers_has_its_columns(where: list[str], item_ids: list[str], tmp_path: Path) -> None:
    table = _parquet(where, tmp_path / "none.parquet", "--item", item_ids[0], "--min-score", "1e9", "--explain")

    assert table.num_rows == 0
    assert table.schema.field("reliability").type == pa.float64()
    assert table.schema.field("shared").type == pa.list_(pa.string())


@pytest.mark.parametrize("filters", [["--min-score", "1000"], ["--in-stock", "stock.txt"]])
def test_filters_that_leave_nothing_say_so(
    mmsc: Mmsc, where: list[str], item_ids: list[str], tmp_path: Path, filters: list[str]
) -> None:
    (tmp_path / "stock.txt").write_text("nothing-of-this-shop\n")
    filters = [str(tmp_path / word) if word == "stock.txt" else word for word in filters]
    ran = mmsc(*where, item_ids[0], item_ids[1], *filters)

    assert ran.out.count("\n") == 1
    assert f"no substitutes for 2 of 2, no complements for 2 of 2 items: {filters[0]} left nothing" in ran.err
    assert "left nothing" not in mmsc(*where, item_ids[0]).err


def test_the_first_new_item_is_answered_before_the_second_comes(where: list[str]) -> None:
    command = [sys.executable, "-m", "mmsc_cli", *where, "--new", "-", "-k", "1", "--relation", "substitute", "-q"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for starts in (("query\t", "first"), ("second",)):  # the header comes with the first answer
            process.stdin.write(json.dumps({"id": starts[-1], "title": "black camera"}) + "\n")
            process.stdin.flush()
            for start in starts:
                assert process.stdout.readline().startswith(start)
        process.stdin.close()
    assert process.returncode == 0


def test_answers_show_columns_of_the_item_table(
    mmsc: Mmsc, where: list[str], items: pa.Table, item_ids: list[str], tmp_path: Path
) -> None:
    catalogue = {item["item_id"]: item for item in items.to_pylist()}
    asked = [*where, item_ids[0], "-k", "4", "--columns", "price,brand,category,image_url"]
    records = [json.loads(line) for line in mmsc(*asked, "--format", "jsonl").out.splitlines()]

    assert list(records[0])[-4:] == ["price", "brand", "category", "image_url"]
    for record in records:
        item = catalogue[record["item"]]
        assert record["brand"] == item["brand"]
        assert record["category"] == item["category"]
        assert record["price"] == (item["price"] if item["price"] > 0 else None)
    assert _parquet(where, tmp_path / "more.parquet", *asked[3:]).to_pylist() == records
    header, first, *_ = (line.split("\t") for line in mmsc(*asked).out.splitlines())
    assert header[-4:] == ["price", "brand", "category", "image_url"]
    assert first[-2] == " > ".join(records[0]["category"])
    assert first[-4] == ("" if records[0]["price"] is None else str(records[0]["price"]))
    unknown = mmsc(*where, item_ids[0], "--columns", "prise")
    assert unknown.code == 2
    assert "did you mean price?" in unknown.err


def test_csv_is_what_a_csv_reader_reads(mmsc: Mmsc, where: list[str], item_ids: list[str]) -> None:
    asked = [*where, item_ids[0], "-k", "5", "--columns", "category,description"]
    lines = [line.split("\t") for line in mmsc(*asked).out.splitlines()]

    assert list(csv.reader(mmsc(*asked, "--format", "csv").out.splitlines())) == lines


def test_scores_may_be_limited_per_relation(mmsc: Mmsc, where: list[str], item_ids: list[str]) -> None:
    asked = [*where, item_ids[0], "-k", "5", "--format", "jsonl", "--overlap"]
    every = [json.loads(line) for line in mmsc(*asked).out.splitlines()]
    least = every[7]["score"]
    left = [json.loads(line) for line in mmsc(*asked, "--min-score", f"complement={least}").out.splitlines()]

    assert left == every[:8]


def test_categories_may_differ_between_relations(
    mmsc: Mmsc, where: list[str], items: pa.Table, item_ids: list[str]
) -> None:
    catalogue = {item["item_id"]: item["category"] for item in items.to_pylist()}
    query = next(item_id for item_id, category in catalogue.items() if category)
    ran = mmsc(*where, query, "--same-category", "--other-category", "-k", "3", "--format", "jsonl")

    for record in map(json.loads, ran.out.splitlines()):
        assert (catalogue[record["item"]] == catalogue[query]) == (record["relation"] == "substitute")


def test_no_item_is_in_both_lists_unless_asked_for(mmsc: Mmsc, where: list[str], tmp_path: Path) -> None:
    def twice(*options: str) -> int:
        table = _parquet(where, tmp_path / "all.parquet", "--all", "-k", "10", *options)
        pairs = list(zip(table["query"].to_pylist(), table["item"].to_pylist(), strict=True))
        return len(pairs) - len(set(pairs))

    assert twice() == 0
    assert twice("--overlap") > 0


def test_an_explanation_begins_with_words_for_the_shop(mmsc: Mmsc, where: list[str], item_ids: list[str]) -> None:
    lines = mmsc(*where, item_ids[0], "-k", "5", "--explain").out.splitlines()[1:]

    for line in lines:
        assert line.split("\t")[-1].startswith(("viewed ", "bought ", "not seen together"))
        assert "; score " in line


def test_an_index_that_is_older_than_its_inputs_is_reported(
    mmsc: Mmsc, trained_copy: Workspace, item_ids: list[str]
) -> None:
    manifest = trained_copy.manifest()
    manifest.stages["train"].inputs["pairs.parquet"] = "0" * 64
    trained_copy._write_manifest(manifest)
    there = ["-w", str(trained_copy.root)]
    ran = mmsc("infer", *there, item_ids[0], "-k", "1")

    assert ran.code == 0
    assert len(ran.out.splitlines()) == 3
    assert len(ran.err.splitlines()) == 1
    assert "pairs.parquet" in ran.err
    assert f"`mmsc train -w {trained_copy.root}`" in ran.err
    stages = json.loads(mmsc("doctor", *there, "--json", "--device", "cpu").out)["workspace"]
    assert "older than its inputs (pairs.parquet)" in stages["train"]
    assert stages["prepare"].startswith("done")
