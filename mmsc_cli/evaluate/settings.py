"""What the evaluation covers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmsc_cli.runtime.settings import Positive, Settings

DEFAULT_BASELINES = ("ease", "knn-transfer", "resource-allocation")


class EvaluateSettings(Settings):
    """What the evaluation covers."""

    baselines: list[str] | Literal["all", "none"] = Field(
        default=list(DEFAULT_BASELINES),
        description="models fitted on the same data, to compare with",
    )
    negatives: Positive = Field(default=1_000, description="random negatives per query in the sampled protocol")
    bootstrap: Positive = Field(default=1_000, description="resamples for the 95 % intervals")
