"""What a recipe says about rules of the shop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmsc_cli.errors import InputError
from mmsc_cli.index.shop_rules import RuleKind, ShopRule
from mmsc_cli.runtime.settings import AboveZero, Positive, Settings

RuleName = Annotated[str, Field(min_length=1, max_length=4_096)]


class _RuleSettings(Settings):
    """For which queries a rule holds."""

    query: RuleName | None = Field(default=None, description="the only item as query; none: see query_category")
    query_category: RuleName | None = Field(
        default=None, description="only queries of this category path and all below it; neither: every query"
    )

    def _check(self, kind: RuleKind) -> None:
        try:
            ShopRule(kind, **self.model_dump())
        except InputError as error:
            raise ValueError(error.message) from error


class BlockSettings(_RuleSettings):
    """Answers that are never shown."""

    item: RuleName | None = Field(default=None, description="the answer that is left out; or")
    category: RuleName | None = Field(default=None, description="the category path whose items are left out")
    relation: Literal["substitute", "complement", "both"] = Field(default="both", description="in which lists")

    @model_validator(mode="after")
    def _is_a_rule(self) -> BlockSettings:
        self._check("block")
        return self


class PinSettings(_RuleSettings):
    """An answer that stands at a place; with a query or a query_category."""

    item: RuleName = Field(description="the answer that is pinned")
    relation: Literal["substitute", "complement"] = Field(description="in which list")
    place: Positive = Field(description="its rank")

    @model_validator(mode="after")
    def _is_a_rule(self) -> PinSettings:
        self._check("pin")
        return self


class BoostSettings(_RuleSettings):
    """Answers whose odds are multiplied."""

    item: RuleName | None = Field(default=None, description="the answer whose odds are multiplied; or")
    category: RuleName | None = Field(default=None, description="the category path whose items' odds are")
    relation: Literal["substitute", "complement", "both"] = Field(default="both", description="in which lists")
    factor: AboveZero = Field(description="of the odds; below 1, answers move down")

    @model_validator(mode="after")
    def _is_a_rule(self) -> BoostSettings:
        self._check("boost")
        return self


class RulesSettings(Settings):
    """Rules of the shop, which `infer` and `serve` apply."""

    block: list[BlockSettings] = Field(default=[], description="answers that are never shown: {item = ...}")
    pin: list[PinSettings] = Field(
        default=[], description="answers at a place: {item = ..., query = ..., relation = ..., place = 1}"
    )
    boost: list[BoostSettings] = Field(
        default=[], description="answers whose odds are multiplied: {category = ..., factor = 2}"
    )
