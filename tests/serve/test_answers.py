"""What `mmsc serve` answers: the same as `mmsc infer`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from mmsc_cli.index.index_file import write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.hand_made_index import ITEMS, hand_made_tensors
from tests.fixtures.server import Served, ServeFor

if TYPE_CHECKING:
    from tests.conftest import Mmsc

# As parameters of a request, and as options of a command.
CHOICES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"k": 3}, ["-k", "3"]),
    ({"novel": True, "same_category": True}, ["--novel", "--same-category"]),
    ({"other_category": True, "variants": True}, ["--other-category", "--variants"]),
    ({"min_score": "0.5"}, ["--min-score", "0.5"]),
    ({"columns": "price,brand,category"}, ["--columns", "price,brand,category"]),
    ({"explain": True, "k": 4}, ["--explain", "-k", "4"]),
]
STRANGE = ["a/b", "%2F", "<script>alert(1)</script>", "a?b#c", "é ü", "..", "x" * 300, "'\"\\", "\u202eabc", " "]


def _infer(mmsc: Mmsc, root: Path, *arguments: str) -> Any:
    ran = mmsc("infer", "-w", root, *arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


@pytest.mark.parametrize(("asked", "options"), CHOICES)
def test_answers_are_those_of_infer(
    served: Served, mmsc: Mmsc, trained: Workspace, item_ids: list[str], asked: dict[str, Any], options: list[str]
) -> None:
    for item_id in item_ids[:3]:
        for relation in ("substitute", "complement"):
            response = served.client.get(f"/v1/items/{item_id}/{relation}s", params=asked)

            assert response.status_code == 200, response.text
            assert response.json() == _infer(mmsc, trained.root, item_id, "--relation", relation, *options)


def test_a_batch_is_answered_as_infer_answers_both_relations(
    served: Served, mmsc: Mmsc, trained: Workspace, item_ids: list[str]
) -> None:
    body = {"questions": [{"id": item_id} for item_id in item_ids[:5]], "diversify": True, "price_within": "30%"}
    outcomes = served.client.post("/v1/answers", json=body).json()["outcomes"]

    expected = _infer(mmsc, trained.root, *item_ids[:5], "--diversify", "--price-within", "30%")["answers"]
    assert [answer for outcome in outcomes for answer in outcome["answers"]] == expected


def test_an_unknown_item_of_a_batch_leaves_the_others_answered(served: Served, item_ids: list[str]) -> None:
    body = {"questions": [{"id": item_ids[0]}, {"id": item_ids[1] + "X"}, {"id": item_ids[2]}], "k": 1}
    first, second, third = served.client.post("/v1/answers", json=body).json()["outcomes"]

    assert first["answers"]
    assert third["answers"]
    assert second["problem"]["status"] == 404
    assert item_ids[1] in second["problem"]["nearest"]


def test_a_new_item_is_answered_as_infer_answers_it(
    served: Served, mmsc: Mmsc, trained: Workspace, tmp_path: Path
) -> None:
    new = {"id": "N1", "title": "tunnel tent for four", "price": 80}
    (tmp_path / "new.jsonl").write_text(json.dumps(new))

    response = served.client.post("/v1/answers", json={"questions": [{"new": new}], "k": 5})

    (outcome,) = response.json()["outcomes"]
    assert outcome == _infer(mmsc, trained.root, "--new", str(tmp_path / "new.jsonl"), "-k", "5")


def test_a_new_item_cannot_name_a_file_of_the_server(served: Served) -> None:
    body = {"questions": [{"new": {"title": "tent", "image_path": "/etc/passwd"}}]}

    assert served.client.post("/v1/answers", json=body).status_code == 422


def test_pairs_are_judged_as_infer_judges_them(
    served: Served, mmsc: Mmsc, trained: Workspace, item_ids: list[str], tmp_path: Path
) -> None:
    pairs = [[item_ids[0], item_ids[1]], [item_ids[2], item_ids[9]]]
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))

    response = served.client.post("/v1/pairs", json={"pairs": pairs, "explain": True})

    expected = _infer(mmsc, trained.root, "--pairs", str(tmp_path / "pairs.tsv"), "--explain")["answers"]
    assert response.json()["opinions"] == expected


def test_an_unknown_item_is_a_problem_with_the_nearest_ids(served: Served, item_ids: list[str]) -> None:
    response = served.client.get(f"/v1/items/{item_ids[0]}X/substitutes")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json()["type"] == "urn:mmsc:unknown-item"
    assert item_ids[0] in response.json()["nearest"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("k=0", "k must be at least 1"),
        ("k=100000", "k must be at most"),
        ("k=many", "k must be a whole number"),
        ("kk=3", "kk is not known"),
        ("min_score=1&min_score=2&min_score=3", "min_score must have at most 2 items"),
        ("price_within=" + "9" * 50, "price_within must have at most 40 characters"),
        ("k=3&k=4", "twice"),
        ("price_within=0.2", "did you mean 20%"),
        ("diversify=true", "diversify"),
        ("min_score=abc", "min_score"),
        ("columns=prize", "price"),
        ("distinct=2", "distinct"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(served: Served, item_ids: list[str], query: str, named: str) -> None:
    response = served.client.get(f"/v1/items/{item_ids[0]}/substitutes?{query}")

    assert response.status_code == 422
    assert named in response.json()["detail"]
    assert "--" not in response.json()["detail"]
    assert not re.search("Input should|Extra inputs|should have|validation|parse", response.json()["detail"])


def test_the_etag_is_the_digest_of_the_index(served: Served, trained: Workspace, item_ids: list[str]) -> None:
    digest = trained.manifest().stages["train"].outputs["index"]
    path = f"/v1/items/{item_ids[0]}/substitutes"
    first = served.client.get(path)
    again = served.client.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["etag"] == f'"{digest}"'
    assert (again.status_code, again.content) == (304, b"")
    assert served.client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    assert served.client.get("/version").json()["index"] == digest


def test_only_what_is_in_stock_is_answered_where_that_is_asked(
    serve_for: ServeFor, mmsc: Mmsc, trained: Workspace, item_ids: list[str], tmp_path: Path
) -> None:
    client = serve_for(trained.root, "--workers", "2").client
    path = f"/v1/items/{item_ids[0]}/substitutes?in_stock=true"
    stock = item_ids[5:60]
    (tmp_path / "stock.txt").write_text("\n".join(stock))

    assert client.get(path).status_code == 409
    assert client.put("/v1/stock", json={"ids": [*stock, "GONE"]}).json() == {"in_stock": len(stock) + 1}
    expected = _infer(
        mmsc, trained.root, item_ids[0], "--relation", "substitute", "--in-stock", str(tmp_path / "stock.txt")
    )
    for _ in range(6):  # by either process
        with httpx.Client(base_url=client.base_url, trust_env=False) as other:
            answered = other.get(path)
            assert answered.json() == expected
    client.put("/v1/stock", json={"ids": stock[:20]})
    assert client.get(path).headers["etag"] != answered.headers["etag"]


def test_distinct_changes_the_answers_as_the_index_of_that_share_would(
    served: Served, trained: Workspace, item_ids: list[str]
) -> None:
    from mmsc_cli.infer.recommender import Recommender

    recommender = Recommender.open(trained.root)
    for share in (0.0, 1.0):
        shifted = recommender.with_distinct(share)
        for item_id in item_ids[:5]:
            answered = served.client.get(f"/v1/items/{item_id}/complements", params={"distinct": share}).json()
            assert [(row["item"], row["score"]) for row in answered["answers"]] == [
                (answer.item, answer.score) for answer in shifted.complements(item_id)
            ]


def test_items_are_found_by_words_and_by_ids(served: Served, items: Any) -> None:
    item = items.slice(7, 1).to_pylist()[0]
    words = item["title"].upper().split()[:2]

    by_title = served.client.get("/v1/search", params={"q": " ".join(words), "k": 100}).json()["items"]
    by_id = served.client.get("/v1/search", params={"q": item["item_id"].lower()}).json()["items"]

    assert {"item": item["item_id"], "title": item["title"]} in by_title
    assert all(word.lower() in found["title"].lower() for found in by_title for word in words)
    assert by_id[0]["item"] == item["item_id"]
    assert served.client.get("/v1/search", params={"q": ".*"}).json()["items"] == []


def test_an_item_shows_its_columns_its_pairs_and_its_picture(served: Served, items: Any) -> None:
    item = next(row for row in items.to_pylist() if row["image_path"])
    shown = served.client.get(f"/v1/items/{item['item_id']}").json()
    picture = served.client.get(f"/v1/items/{item['item_id']}/picture")

    assert {name: shown["item"][name] for name in ("title", "brand", "category")} == {
        name: item[name] for name in ("title", "brand", "category")
    }
    assert all(pair["strength"] > 0 and pair["title"] for pair in shown["pairs"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert picture.content.startswith(b"\x89PNG")


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A workspace with nothing but an index of strange ids and titles."""
    tensors = hand_made_tensors()
    ids = sorted([*STRANGE, *(f"I{n}" for n in range(ITEMS - len(STRANGE)))])
    for name in ("ids", "titles"):
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(ids)
    (tmp_path / "index").mkdir()
    write_index(tmp_path / "index", tensors, {"label_models": ["judge"], "channels": ["item", "view"]})
    return tmp_path


def test_strange_ids_are_ids_like_others(serve_for: ServeFor, strange: Path) -> None:
    client = serve_for(strange).client

    for item_id in STRANGE:
        body = {"questions": [{"id": item_id}], "relation": "substitute", "k": 2}
        (outcome,) = client.post("/v1/answers", json=body).json()["outcomes"]
        assert outcome["answers"][0]["query"] == item_id
        if item_id != "..":  # which a client takes for the folder above
            path = f"/v1/items/{quote(item_id, safe='')}/substitutes?k=2"
            assert client.get(path).json() == outcome
    for path in ("/v1/items/%00/substitutes", "/v1/items/%ff%fe/substitutes", "/v1/items/%/substitutes"):
        assert client.get(path).status_code == 404
    assert client.get("/version").json()["figures"] is None
