"""What `evaluate` says of this night's answers: rules of the shop, and what changed since the night before."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mmsc_cli.diff.answer_table import read_answers
from mmsc_cli.diff.kept_answers import FILE, read_kept
from mmsc_cli.diff.night import describe_night
from mmsc_cli.errors import InputError
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace


def _night(workspace: Workspace, figure: float = 0.5, rules: Path | None = None) -> dict[str, Any]:
    """Describe a night, and keep it where the next one looks."""
    metrics = {"models": {"mmsc": {"substitute": {"all": {"ndcg@10": figure}}, "complement": {}}}}
    kept = workspace.root / "kept"
    described = describe_night(workspace, metrics, kept, rules=rules)
    kept.replace(workspace.root / FILE)
    return described


def _another_index(workspace: Workspace) -> None:
    """Put the judged index in place of the served one, as another night would."""
    manifest = read_manifest_file(workspace.root)
    assert manifest is not None
    files = manifest["stages"]["train"]["files"]
    for name in ("index.json", "index.safetensors"):
        (workspace.root / "index" / name).write_bytes((workspace.root / "judged" / name).read_bytes())
        files[f"index/{name}"] = files[f"judged/{name}"]
    manifest["stages"]["train"]["finished"] = "2031-01-02T03:04:05+00:00"
    write_manifest_file(workspace.root, manifest)


def test_a_second_night_says_what_changed_since_the_first(trained_copy: Workspace) -> None:
    first_trained = trained_copy.manifest().stages["train"].finished
    assert _night(trained_copy)["since"] is None

    _another_index(trained_copy)
    second = _night(trained_copy, 0.75)
    since = second["since"]
    assert since["trained"] == first_trained
    assert since["figures"] == {"substitute.all.ndcg@10": [0.5, 0.75]}
    assert since["items"]["added"] == since["items"]["gone"] == 0
    for relation in ("substitute", "complement"):
        churn = since["churn"][relation]
        assert churn["queries"] == 300
        assert 0 < churn["top1"] < 1
        assert 0 < len(churn["moves"]) <= 3
    assert json.loads(json.dumps(second)) == second

    assert _night(trained_copy, 0.75)["since"] == since, "the same index again is still compared with the one before"


def test_an_unchanged_night_changed_nothing(trained_copy: Workspace) -> None:
    _night(trained_copy)
    (now,) = read_kept(trained_copy.root / FILE)
    manifest = read_manifest_file(trained_copy.root)
    assert manifest is not None
    about = trained_copy.root / "index" / "index.json"
    about.write_text(about.read_text() + "\n")  # another digest, the same answers
    del manifest["stages"]["train"]["files"]["index/index.json"]
    write_manifest_file(trained_copy.root, manifest)

    since = _night(trained_copy)["since"]
    assert since["trained"] == now.trained
    assert [churn["top5"] for churn in since["churn"].values()] == [0, 0]


def test_a_damaged_file_of_answers_is_no_night_before(trained_copy: Workspace) -> None:
    _night(trained_copy)
    _another_index(trained_copy)
    kept = trained_copy.root / FILE
    kept.write_bytes(kept.read_bytes()[:1_000])
    assert _night(trained_copy)["since"] is None


def test_rules_of_the_shop_are_counted_and_unknown_names_are_named(trained_copy: Workspace, tmp_path: Path) -> None:
    recommender = Recommender.open(trained_copy.root)
    query = str(recommender.index.ids[0])
    first, second = (answer.item for answer in recommender.substitutes(query, 2))
    rules = tmp_path / "rules.csv"
    rules.write_text(
        "rule,item,query,relation,place,factor\n"
        f"block,{first},,,,\n"
        f"pin,{second},{query},substitute,1,\n"
        f"boost,{second},,complement,,9\n"
        "block,nowhere,,,,\n"
    )

    assert _night(trained_copy)["rules"] is None
    counted = _night(trained_copy, rules=rules)["rules"]
    assert counted["rules"] == {"block": 2, "boost": 1, "pin": 1}
    assert counted["unknown"] == {"items": [f"nowhere ({rules}:5)"]}
    assert counted["questions"] == 300
    assert counted["pinned"] == 1
    assert counted["blocked"] > 1
    assert 1 < counted["changed"] < 300


def test_queries_of_rules_are_looked_at_in_a_large_catalogue(
    trained_copy: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsc_cli.diff.night.QUERIES", 20)
    drawn = _night(trained_copy)
    assert drawn["queries"] == 20
    (kept,) = read_kept(trained_copy.root / FILE)
    assert len(kept.table.items) == 300, "all items are kept, so that the next night knows what came and went"
    ids = kept.table.items.to_pylist()
    asked = set(kept.table.answers["query"].to_pylist())
    answer, other = next((ids[row - 1], ids[row]) for row in range(1, 300) if ids[row] not in asked)
    rules = tmp_path / "rules.csv"
    rules.write_text(f"rule,item,query,relation,place\npin,{answer},{other},complement,1\n")
    described = _night(trained_copy, rules=rules)
    assert (described["queries"], described["rules"]["pinned"]) == (21, 1)


def test_a_packed_table_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.tsv.gz"
    whole = gzip.compress(b"query\trelation\trank\titem\tscore\ttitle\nA\tsubstitute\t1\tB\t1.0\tx\n" * 50)
    for content in (whole[:-9], whole[:40] + b"\0" * 20 + whole[60:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as a table of answers"):
            read_answers(str(path), 10)
