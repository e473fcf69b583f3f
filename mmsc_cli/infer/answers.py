"""Answers, and the relations that can be asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mmsc_cli.tables.relations import RELATIONS, Relation

if TYPE_CHECKING:
    from mmsc_cli.infer.entries import AnswerSource
    from mmsc_cli.infer.explain import Explanation

Asked = Literal["substitute", "complement", "both"]
COLUMNS = ("query", "relation", "rank", "item", "score", "title")


class Answer(NamedTuple):
    """One line of output; the first fields in the order of COLUMNS.

    `score` is None for a bestseller, which the model did not rank. `modalities` names the inputs that a new item was
    read from, joined by `+`; it is None for an item of the catalogue. `why` is None unless explanations were asked for.
    """

    query: str
    relation: Relation
    rank: int
    item: str
    score: float | None
    title: str
    modalities: str | None = None
    why: Explanation | None = None
    source: AnswerSource = "model"


class Answers(list[Answer]):
    """The answers to one question; `blocked` is how many more there would have been without rules of the shop."""

    def __init__(self, answers: Iterable[Answer] = (), blocked: int = 0) -> None:
        super().__init__(answers)
        self.blocked = blocked


def asked_relations(asked: Asked) -> Sequence[Relation]:
    """The relations behind a --relation value."""
    return RELATIONS if asked == "both" else (asked,)


def record(row: Mapping[str, Any], columns: Collection[str]) -> dict[str, Any]:
    """Return the columns of an answer as a program reads them: an explanation gives one for each reason."""
    if "why" not in columns:
        return {name: row[name] for name in columns}
    whole: dict[str, Any] = {}
    for name in columns:
        value = row[name]
        whole |= vars(value) if is_dataclass(value) else {name: value}
    return whole
