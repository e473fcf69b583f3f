"""What `/openapi.json` says of each path: parameters, bodies, responses, problems."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mmsc_cli.serve.problems import MEDIA_TYPE
from mmsc_cli.serve.questions import Choosing, parameters

_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "nearest": {"type": "array", "items": _TEXT},
    },
}
_STATUSES = {
    401: "No key, or a wrong one",
    403: "Not from this page, or nobody can judge here",
    404: "Unknown item or path",
    409: "Nobody has said what is in stock",
    413: "The body is too large",
    415: "The body is not JSON",
    421: "Another host was meant",
    422: "The request is not what it must be",
    503: "Too busy, or the workspace cannot answer this",
}


def _list_of(name: str, items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": items}}}


_ANSWER = {
    "type": "object",
    "required": ["query", "relation", "rank", "item", "score", "title"],
    "properties": {
        "query": _TEXT,
        "relation": {"enum": ["substitute", "complement"]},
        "rank": {"type": "integer", "minimum": 1},
        "item": _TEXT,
        "score": {"type": ["number", "null"]},
        "title": _TEXT,
        "source": {"enum": ["model", "boosted", "pinned", "bestseller"]},
    },
}
_DONE = {name: {"type": "integer", "minimum": 0} for name in ("blocked", "pinned", "boosted")}
_ANSWERS = {
    "type": "object",
    "required": ["answers"],
    "properties": {
        "answers": {"type": "array", "items": _ANSWER},
        "rules": {"type": "object", "description": "What rules of the shop did, if there are any", "properties": _DONE},
    },
}
_PROBABILITIES = {name: {"type": "number"} for name in ("p_substitute", "p_complement", "p_neither")}
_RESPONSES: dict[str, dict[str, Any]] = {
    "Answers": _ANSWERS,
    "AnswersOfMany": _list_of("outcomes", {"oneOf": [_ANSWERS, {"type": "object", "required": ["problem"]}]}),
    "Opinions": _list_of("opinions", {"type": "object", "properties": {"a": _TEXT, "b": _TEXT, **_PROBABILITIES}}),
    "StockKept": {"type": "object", "required": ["in_stock"], "properties": {"in_stock": {"type": "integer"}}},
    "Item": {
        "type": "object",
        "required": ["item", "pairs"],
        "properties": {"item": _OBJECT, "pairs": {"type": "array", "items": _OBJECT}},
    },
    "Found": _list_of("items", {"type": "object", "properties": {"item": _TEXT, "title": _TEXT}}),
    "PairsToJudge": {
        "type": "object",
        "required": ["pairs", "judged", "refused"],
        "properties": {
            "pairs": {
                "type": "array",
                "items": {"type": "object", "properties": {"a": _OBJECT, "b": _OBJECT, "source": _TEXT}},
            },
            "judged": {"type": "integer", "description": "Pairs that this person has judged already."},
            "refused": {"type": ["string", "null"], "description": "Why nobody can judge here."},
        },
    },
    "JudgementKept": {"type": "object", "required": ["kept"], "properties": {"kept": {"type": "boolean"}}},
    "Health": {"type": "object", "required": ["status"], "properties": {"status": _TEXT}},
    "Version": {"type": "object", "required": ["mmsc", "index", "items"]},
}
_ITEM_ID = {
    "name": "item_id",
    "in": "path",
    "required": True,
    "description": "An item's id, with everything but letters and digits percent-encoded.",
    "schema": {"type": "string", "minLength": 1},
}


def item_path(summary: str, response: str | None) -> dict[str, Any]:
    """What a path with an item's id says of itself; see `json_response`."""
    return json_response(summary, response) | {"openapi_extra": {"parameters": [_ITEM_ID]}}


def json_response(summary: str, response: str | None) -> dict[str, Any]:
    """What a path says of itself; `response` names what it answers with, None where that is not JSON."""
    content = {"application/json": {"schema": _RESPONSES[response]}} if response else {}
    problems = {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
        for status, text in _STATUSES.items()
    }
    return {
        "summary": summary,
        "responses": {200: {"description": summary, "content": content}, **problems},
        "openapi_extra": {},
    }


def query_of(model: type[BaseModel], summary: str, response: str) -> dict[str, Any]:
    """The same for a path with query parameters."""
    return json_response(summary, response) | {"openapi_extra": {"parameters": parameters(model)}}


def answers_of_item(summary: str) -> dict[str, Any]:
    """The same for the answers to an item."""
    whole = json_response(summary, "Answers") | {"openapi_extra": {"parameters": [_ITEM_ID, *parameters(Choosing)]}}
    whole["responses"][304] = {"description": "The client has the answers already (If-None-Match)"}
    return whole


def body_of(model: type[BaseModel], summary: str, response: str) -> dict[str, Any]:
    """The same for a path that takes a body."""
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    content = {"application/json": {"schema": _inlined(schema, schema.get("$defs", {}))}}
    return json_response(summary, response) | {"openapi_extra": {"requestBody": {"required": True, "content": content}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, which would have to stand elsewhere in the document."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(part, definitions) for name, part in schema.items() if name != "$defs"}
