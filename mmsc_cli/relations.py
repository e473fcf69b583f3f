"""The two relations and the behaviour each is read from."""

from __future__ import annotations

from typing import Literal, get_args

Relation = Literal["substitute", "complement"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
