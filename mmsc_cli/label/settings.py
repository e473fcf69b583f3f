"""How candidate pairs are chosen and labelled."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.settings import EFFORT, AboveZero, Count, NotNegative, PathText, Positive, Settings


class CandidateMix(Settings):
    """Weights by which the label budget is divided between reasons to label a pair."""

    ambiguous: NotNegative = Field(default=0.25, description="seen in both relations")
    weak: NotNegative = Field(default=0.15, description="seen in one relation only, weakly")
    far: NotNegative = Field(default=0.1, description="seen together, but the texts have little in common")
    similar: NotNegative = Field(default=0.15, description="similar text, no behaviour")
    look_alike: NotNegative = Field(default=0.1, description="similar image, no behaviour; needs `encode` first")
    transfer: NotNegative = Field(default=0.15, description="bought with a similar item, not with this one")
    random: NotNegative = Field(default=0.1, description="any two items, for calibration")

    @model_validator(mode="after")
    def _asks_something(self) -> CandidateMix:
        if not sum(self.model_dump().values()) > 0:
            raise ValueError("at least one weight must be above 0")
        return self


class CaptionSettings(Settings):
    """Words for pictures, which are read as text of the items; `label` says how the model is served and asked."""

    model: PathText | None = Field(
        default=None, description="a model that sees, such as qwen-vl: asked what each picture shows; none: nobody is"
    )


class LabelSettings(Settings):
    """How candidate pairs are chosen and labelled."""

    model: PathText = Field(
        default="llama", description="llama, qwen, qwen-vl, mistral, a model's name or path, rules, or oracle:ACCURACY"
    )
    budget: Positive = Field(default=20_000, description="pairs to label, in all rounds together")
    rounds: Positive = Field(
        default=1, description="rounds of the budget: later ones ask about what a model trained in between would show"
    )
    pictures: bool = Field(default=False, description="show both items' images, to a model that sees")
    propose: bool = Field(default=False, description="also ask which product types go with each type or replace it")
    mix: CandidateMix = CandidateMix()
    server: ServerSettings = ServerSettings()
    concurrency: Annotated[Positive, EFFORT] = Field(default=64, description="questions asked at the same time")
    max_failures: Annotated[Positive, EFFORT] = Field(
        default=20, description="failed questions after which the command stops"
    )
    least_mass: Annotated[Annotated[float, Field(ge=0, le=1)], EFFORT] = Field(
        default=0.5, description="mean fraction of the model's probability on the options below which the command stops"
    )
    retries: Count = Field(default=4, description="further attempts after a failed question")
    backoff: Annotated[NotNegative, EFFORT] = Field(
        default=0.5, description="seconds before the first retry; doubles with each"
    )
    timeout: AboveZero = Field(
        default=600.0, description="seconds until an answer must be there, waiting in the server's queue included"
    )
    shard_pairs: Annotated[Positive, EFFORT] = Field(
        default=1_000, description="pairs whose answers are saved together; a kill loses at most these"
    )
