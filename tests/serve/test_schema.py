"""Whatever follows the OpenAPI document, or nearly, is answered without an error of ours."""

from __future__ import annotations

import pytest

from tests.fixtures.server import Served


def test_no_request_that_the_document_allows_ends_in_an_internal_error(served: Served) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    # The first new item brings the encoder, which may take longer than an answer may.
    new = {"questions": [{"new": {"title": "tent"}}]}
    while served.client.post("/v1/answers", json=new).status_code == 503:
        pass
    document = served.client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=15,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: object) -> None:
            response = case.call(base_url=str(served.client.base_url), timeout=60)  # type: ignore[attr-defined]
            assert response.status_code < 500, response.text

        ask()
        tried += 1

    assert tried >= 12


def test_every_path_is_documented(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]

    assert set(paths) == {
        "/v1/items/{item_id}",
        "/v1/items/{item_id}/picture",
        "/v1/items/{item_id}/substitutes",
        "/v1/items/{item_id}/complements",
        "/v1/answers",
        "/v1/pairs",
        "/v1/judge",
        "/v1/judgements",
        "/v1/search",
        "/v1/stock",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/version",
    }
    named = {parameter["name"] for parameter in paths["/v1/items/{item_id}/substitutes"]["get"]["parameters"]}
    assert {"item_id", "k", "novel", "price_within", "explain", "distinct"} <= named
