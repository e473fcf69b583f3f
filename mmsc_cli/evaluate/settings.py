"""What the evaluation covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from mmsc_cli.runtime.settings import Positive, Settings
from mmsc_cli.workspace.config import StageRecipe, stage_config

DEFAULT_BASELINES = ("ease", "knn-transfer", "resource-allocation")


class EvaluateSettings(Settings):
    """What the evaluation covers."""

    baselines: list[str] | Literal["all", "none"] = Field(
        default=list(DEFAULT_BASELINES),
        description="models fitted on the same data, to compare with",
    )
    negatives: Positive = Field(default=1_000, description="random negatives per query in the sampled protocol")
    bootstrap: Positive = Field(default=1_000, description="resamples for the 95 % intervals")


def evaluate_config(recipe: StageRecipe, without_each: Sequence[str] = (), seeds: int = 1) -> dict[str, Any]:
    """What the manifest records of this stage's settings; of the shop's rules too, whose effects the report counts.

    Args:
        recipe: the recipe.
        without_each: parts of the model that are left out in turn.
        seeds: the number of seeds that each model is trained from.
    """
    config = stage_config("evaluate", recipe) | {"ablate": list(without_each), "seeds": seeds}
    rules = recipe.as_config()["rules"]
    return config | ({"rules": rules} if any(rules.values()) else {})
