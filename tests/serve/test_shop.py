"""Rules of the shop and bestsellers over HTTP: as `mmsc infer` has them, and renewed with their file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from mmsc_cli.index.kept_columns import NAME, write_kept_columns
from mmsc_cli.workspace.checksums import describe
from mmsc_cli.workspace.manifest_file import read_manifest_file, write_manifest_file
from mmsc_cli.workspace.workspace import Workspace
from tests.conftest import Mmsc
from tests.fixtures.server import Served, ServeFor


def _wait_until_told(server: Served, path: str, tag: str) -> None:
    end = time.monotonic() + 60
    while server.client.get(path).headers["etag"] == tag:
        assert time.monotonic() < end, server.log()[-2_000:]
        time.sleep(0.1)


def test_rules_hold_as_in_infer_and_follow_their_file(
    trained: Workspace, item_ids: list[str], mmsc: Mmsc, serve_for: ServeFor, tmp_path: Path
) -> None:
    query, path = item_ids[0], f"/v1/items/{item_ids[0]}/substitutes?k=3"
    rules = tmp_path / "rules.csv"
    rules.write_text(f"rule,item,query,relation,place\npin,{item_ids[-1]},{query},substitute,2\n")
    server = serve_for(trained.root, "--rules", str(rules))
    first = server.client.get(path)
    ran = mmsc("infer", "-w", trained.root, query, "--relation", "substitute", "-k", 3, "--rules", rules, "--json")

    assert first.json() == json.loads(ran.out) | {"rules": {"blocked": 0, "pinned": 1, "boosted": 0}}
    assert [answer["source"] for answer in first.json()["answers"]] == ["model", "pinned", "model"]
    batch = server.client.post("/v1/answers", json={"questions": [{"id": query}], "relation": "substitute", "k": 3})
    assert batch.json()["outcomes"] == [first.json()]
    assert server.client.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert server.client.get("/version").json()["rules"] == 1

    rules.write_text(f"rule,item\nblock,{first.json()['answers'][0]['item']}\n")
    _wait_until_told(server, path, first.headers["etag"])
    second = server.client.get(path)
    assert second.json()["rules"] == {"blocked": 1, "pinned": 0, "boosted": 0}
    assert second.json()["answers"][0]["item"] != first.json()["answers"][0]["item"]

    rules.write_text("rule,item\nban,this\n")
    server.wait_for("rule 'ban' is not one of")
    assert "the rules are wrong, the old rules and the old index go on" in server.log()
    assert "newest rules are wrong" in server.client.get("/health/ready").json()["refused"]
    assert server.client.get(path).json() == second.json()
    rules.unlink()
    server.wait_for("no file of rules")
    assert "newest rules are wrong" in server.client.get("/health/ready").json()["refused"]
    rules.write_text(f"rule,item\nblock,{first.json()['answers'][1]['item']}\n")
    _wait_until_told(server, path, second.headers["etag"])
    assert "refused" not in server.client.get("/health/ready").json()


def test_bestsellers_fill_short_lists(served: Served, item_ids: list[str]) -> None:
    path = f"/v1/items/{item_ids[0]}/complements"
    plain = served.client.get(path, params={"k": 2, "min_score": "1e6"}).json()
    filled = served.client.get(path, params={"k": 2, "min_score": "1e6", "fallback": True}).json()

    assert plain == {"answers": []}
    assert [(answer["score"], answer["source"]) for answer in filled["answers"]] == [(None, "bestseller")] * 2
    question = {"questions": [{"id": item_ids[0]}], "relation": "complement", "k": 2, "min_score": ["1e6"]}
    batch = served.client.post("/v1/answers", json={**question, "fallback": True}).json()
    assert batch["outcomes"] == [filled]


def _keep(workspace: Workspace, ids: list[str], colour: str) -> None:
    """Keep a colour of each item, as `prepare` does: half of them have it, the others are black."""
    fresh = workspace.root / f"{colour}.new"
    write_kept_columns(fresh, ids, {"colour": [colour if row % 2 else "black" for row in range(len(ids))]})
    fresh.rename(workspace.root / NAME)
    content = read_manifest_file(workspace.root)
    assert content is not None
    content["stages"]["prepare"]["files"] |= describe(workspace.root, NAME)
    write_manifest_file(workspace.root, content)


def test_kept_columns_filter_and_are_shown_as_in_infer(
    trained_copy: Workspace, item_ids: list[str], mmsc: Mmsc, serve_for: ServeFor
) -> None:
    _keep(trained_copy, item_ids, "red")
    server = serve_for(trained_copy.root)
    path = f"/v1/items/{item_ids[0]}/substitutes"
    asked: dict[str, Any] = {"k": 3, "where": "colour=red", "columns": "colour,price"}
    first = server.client.get(path, params=asked)
    options = ("-k", 3, "--where", "colour=red", "--columns", "colour,price", "--json")
    ran = mmsc("infer", "-w", trained_copy.root, item_ids[0], "--relation", "substitute", *options)

    assert first.json() == json.loads(ran.out)
    assert [item_ids.index(answer["item"]) % 2 for answer in first.json()["answers"]] == [1, 1, 1]
    assert {answer["colour"] for answer in first.json()["answers"]} == {"red"}
    item = server.client.get(f"/v1/items/{item_ids[1]}").json()["item"]
    assert (item["colour"], item["item_id"]) == ("red", item_ids[1])
    wrong = server.client.get(path, params={"where": "color=red"})
    assert wrong.status_code == 422
    assert "'color' is kept" in wrong.json()["detail"]

    # A kept column alone is renewed: no training, and no restart.
    _keep(trained_copy, item_ids, "pink")
    _wait_until_told(server, path, first.headers["etag"])
    assert server.client.get(path, params=asked).json() == {"answers": []}
    pink = server.client.get(path, params={**asked, "where": ["colour=pink", "colour!=red"]}).json()
    assert [answer["item"] for answer in pink["answers"]] == [answer["item"] for answer in first.json()["answers"]]


def test_a_score_may_be_a_number_a_text_or_a_list(served: Served, item_ids: list[str]) -> None:
    asked: dict[str, Any] = {"questions": [{"id": item_ids[0]}], "k": 5, "relation": "substitute"}
    whole = served.client.post("/v1/answers", json=asked).json()["outcomes"][0]["answers"]
    least = whole[2]["score"] - 1e-3
    for given in (least, str(least), [least], [f"substitute={least}"]):
        some = served.client.post("/v1/answers", json={**asked, "min_score": given}).json()["outcomes"][0]["answers"]
        assert some == whole[:3]
    assert served.client.post("/v1/answers", json={**asked, "min_score": True}).status_code == 422
    assert "no column" in served.client.post("/v1/answers", json={**asked, "where": "colour=red"}).json()["detail"]


def test_baskets_are_answered_as_infer_answers_them(
    served: Served, trained: Workspace, item_ids: list[str], mmsc: Mmsc
) -> None:
    questions = [
        {"basket": item_ids[:2]},
        {"id": item_ids[5]},
        {"basket": [item_ids[0], "NOWHERE"]},
        {"basket": []},
        {"basket": item_ids[:101]},
    ]
    outcomes = served.client.post("/v1/answers", json={"questions": questions, "k": 3}).json()["outcomes"]
    ran = mmsc("infer", "-w", trained.root, "--basket", ",".join(item_ids[:2]), "-k", 3, "--json")

    assert outcomes[0] == json.loads(ran.out)
    assert {answer["query"] for answer in outcomes[1]["answers"]} == {item_ids[5]}
    assert "NOWHERE" in outcomes[2]["problem"]["detail"]
    assert "at least one item" in outcomes[3]["problem"]["detail"]
    assert "at most 100" in outcomes[4]["problem"]["detail"]
    for wrong in (
        {"questions": [{"basket": item_ids[:2], "id": "x"}]},
        {"questions": questions, "relation": "substitute"},
    ):
        assert served.client.post("/v1/answers", json=wrong).status_code == 422
