"""The two relations, and the three classes of a labelled pair."""

from __future__ import annotations

from typing import Literal, get_args

Relation = Literal["substitute", "complement"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
CLASSES = (*RELATIONS, "neither")
# What shoppers did with the pairs that a relation is learned from, in words.
EVIDENCE: dict[Relation, str] = {"substitute": "co-view", "complement": "co-purchase"}
BEHAVIOUR: dict[Relation, str] = {"substitute": "view", "complement": "buy"}
