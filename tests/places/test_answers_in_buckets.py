"""Answers that go to a file or into a bucket: whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from mmsc_cli.infer.recommender import Recommender
from tests.fixtures.object_store import SECRET, ObjectStore

if TYPE_CHECKING:
    from tests.conftest import Mmsc


@pytest.fixture
def night(hand_made: Recommender, tmp_path: Path) -> list[object]:
    """The nightly question, less where its answers go."""
    return ["infer", "-w", tmp_path, "--all", "-k", 3]


def test_a_name_says_the_form(mmsc: Mmsc, night: list[object], tmp_path: Path) -> None:
    tsv = mmsc(*night, "--format", "tsv").out
    for name in ("a.tsv", "a.csv", "a.jsonl", "a.json", "a.parquet", "a.tsv.gz", "a.jsonl.zst"):
        ran = mmsc(*night, "--to", tmp_path / name)
        assert (ran.code, ran.out) == (0, "")
        assert f"answers: 72 rows in {tmp_path / name}\n" in ran.err
        assert mmsc("diff", tmp_path / name, tmp_path / "a.tsv", "--json").code == 0
    assert (tmp_path / "a.tsv").read_text() == tsv
    assert gzip.decompress((tmp_path / "a.tsv.gz").read_bytes()).decode() == tsv
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 72
    assert mmsc(*night, "--format", "csv", "--to", tmp_path / "answers").code == 0
    assert (tmp_path / "answers").read_text() == (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("answers", "nothing says in which form"),
        ("none/a.tsv", "there is no folder"),
        ("index.tsv", "no regular file"),
        ("ftp://host/a.tsv", "no such kind of address"),
        (f"s3://AKIA:{SECRET}@shop/a.tsv", "with a password or a key in it is refused"),
    ],
)
def test_a_place_that_makes_no_sense_is_one_line(
    mmsc: Mmsc, night: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.tsv").mkdir()

    ran = mmsc(*night, "--to", to)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert SECRET not in ran.err
    assert mmsc("infer", "-w", tmp_path, "I01", "--to", "a.tsv").code == 2
    part = mmsc(*night, "--shard", "1/2", "--to", "postgresql://host/shop/answers")
    assert "a table holds all of them" in part.err


def test_no_answers_leave_yesterdays(mmsc: Mmsc, night: list[object], tmp_path: Path) -> None:
    yesterday = tmp_path / "a.tsv"
    yesterday.write_text("yesterday's")

    ran = mmsc(*night, "--to", yesterday, "--min-score", "1000")

    assert ran.code == 2
    assert f"there are no answers, so that {yesterday} stays as it was" in ran.err
    assert yesterday.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".a")] == []


def test_a_bucket_has_the_whole_object(mmsc: Mmsc, night: list[object], object_store: ObjectStore) -> None:
    tsv = mmsc(*night, "--format", "tsv").out

    assert mmsc(*night, "--to", "s3://shop/out/answers.tsv").code == 0
    assert mmsc(*night, "--to", "s3://shop/out/answers.tsv.gz").code == 0

    assert object_store.get("out/answers.tsv").decode() == tsv
    assert gzip.decompress(object_store.get("out/answers.tsv.gz")).decode() == tsv
    assert object_store.list_keys() == ["out/answers.tsv", "out/answers.tsv.gz"]
    same = json.loads(mmsc("diff", "s3://shop/out/answers.tsv", "s3://shop/out/answers.tsv.gz", "--json").out)
    assert same["churn"]["substitute"]["top1"] == 0
    assert same["old"] == "s3://shop/out/answers.tsv"


def test_a_bucket_that_refuses_keeps_yesterdays_object(
    mmsc: Mmsc,
    night: list[object],
    object_store: ObjectStore,
    strict_object_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object_store.put("answers.tsv", "yesterday's")
    empty = mmsc(*night, "--to", "s3://shop/answers.tsv", "--min-score", "1000")
    nowhere = mmsc(*night, "--to", "s3://nobucket/answers.tsv")
    folder = mmsc(*night, "--to", "s3://shop/", "--format", "tsv")
    monkeypatch.setenv("AWS_ENDPOINT_URL", strict_object_server)
    refused = mmsc(*night, "--to", "s3://shop/answers.tsv")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = mmsc(*night, "--to", "s3://shop/answers.tsv")

    assert [ran.code for ran in (empty, nowhere, folder, refused, away)] == [2, 2, 2, 2, 4]
    assert "there is no bucket nobucket" in nowhere.err
    assert "the store does not know the key" in refused.err
    assert "the store does not answer" in away.err
    assert object_store.get("answers.tsv") == b"yesterday's"
