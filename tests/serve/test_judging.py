"""Judging over HTTP: the sample and the file of `mmsc judge`, and who may write."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.tables.judgements import FILE, read_judgements
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.server import Served, ServeFor

if TYPE_CHECKING:
    from tests.conftest import Mmsc


def test_judgements_of_several_people_at_once_are_all_kept_and_are_gold(
    serve_for: ServeFor, trained_copy: Workspace, mmsc: Mmsc
) -> None:
    server = serve_for(trained_copy.root, "--workers", "2")

    def judge(who: str) -> set[tuple[str, str]]:
        given = server.client.get("/v1/judge", params={"who": who, "n": 8}).json()
        assert given["refused"] is None
        for pair in given["pairs"]:
            ends = {end: pair[end]["item_id"] for end in ("a", "b")}
            kept = {**ends, "label": "substitute", "who": who, "source": pair["source"]}
            assert server.client.post("/v1/judgements", json=kept).json() == {"kept": True}
        left = server.client.get("/v1/judge", params={"who": who, "n": 50}).json()
        assert left["judged"] == 8
        return {(pair["a"]["item_id"], pair["b"]["item_id"]) for pair in left["pairs"]}

    with ThreadPoolExecutor() as pool:
        left = list(pool.map(judge, ("anna", "ben", "chris")))
    judgements = read_judgements(trained_copy.root / FILE).to_pylist()
    assert len(judgements) == 24
    for who, pairs in zip(("anna", "ben", "chris"), left, strict=True):
        assert not {(row["a"], row["b"]) for row in judgements if row["who"] == who} & pairs
    gold = mmsc("label", "--model", "rules", "--gold", trained_copy.root / FILE, "-w", trained_copy.root, "--json")
    assert json.loads(gold.out)["counts"]["gold"]["pairs"] == len({(row["a"], row["b"]) for row in judgements})


def test_what_is_no_judgement_is_refused(served: Served, item_ids: list[str]) -> None:
    judgement = {"a": item_ids[0], "b": item_ids[1], "label": "substitute", "who": "anna", "source": "random"}
    for wrong, status in (
        ({"a": "NOWHERE"}, 404),
        ({"b": item_ids[0]}, 422),
        ({"label": "both"}, 422),
        ({"who": " "}, 422),
        ({"source": "me"}, 422),
        ({"time": "now"}, 422),
    ):
        assert served.client.post("/v1/judgements", json={**judgement, **wrong}).status_code == status


def test_pages_of_other_origins_write_nothing(
    serve_for: ServeFor, trained_copy: Workspace, item_ids: list[str]
) -> None:
    client = serve_for(trained_copy.root, "--cors", "https://shop.example").client
    judgement = {"a": item_ids[0], "b": item_ids[1], "label": "neither", "who": "anna", "source": "random"}
    own = str(client.base_url).rstrip("/")
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": own, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": own}, 200),
        ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({}, 200),
    ):
        assert client.post("/v1/judgements", json=judgement, headers=headers).status_code == status
        assert client.put("/v1/stock", json={"ids": []}, headers=headers).status_code == status
    assert len(read_judgements(trained_copy.root / FILE)) == 4


def test_strangers_do_not_judge(serve_for: ServeFor, trained_copy: Workspace, item_ids: list[str]) -> None:
    client = serve_for(trained_copy.root, "--host", "0.0.0.0", "--no-auth").client
    judgement = {"a": item_ids[0], "b": item_ids[1], "label": "neither", "who": "anna", "source": "random"}

    assert "--no-auth" in client.get("/v1/judge").json()["refused"]
    assert client.post("/v1/judgements", json=judgement).status_code == 403
    assert not (trained_copy.root / FILE).exists()


def test_a_workspace_that_can_only_be_read_takes_no_judgements(
    trained: Workspace, item_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmsc_cli.serve.judging import Desk
    from mmsc_cli.serve.problems import RefusedError
    from mmsc_cli.serve.questions import JudgementBody, PairsQuery

    monkeypatch.setattr("os.access", lambda *_: False)  # as on a file system that is mounted read-only
    desk = Desk(Path(trained.root), is_open=True)

    given = desk.pairs(PairsQuery())
    assert given["pairs"] == []
    assert "may only read" in given["refused"]
    with pytest.raises(RefusedError, match="may only read"):
        desk.keep(JudgementBody(a=item_ids[0], b=item_ids[1], label="neither", source="random"))


def test_the_report_is_a_page_that_runs_no_script(serve_for: ServeFor, trained_copy: Workspace, mmsc: Mmsc) -> None:
    client = serve_for(trained_copy.root).client
    assert client.get("/report").status_code == 404
    assert client.get("/version").json()["report"] is False
    mmsc("evaluate", "--baselines", "none", "-w", trained_copy.root, "-q")

    report = client.get("/report")
    assert report.text == (trained_copy.root / "report.html").read_text()
    (policy,) = report.headers.get_list("content-security-policy")
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert client.get("/version").json()["report"] is True
