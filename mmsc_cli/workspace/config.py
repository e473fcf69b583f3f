"""The settings a stage is run with, and which optional inputs it has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import Workspace


class StageRecipe(Protocol):
    """What every stage reads of a recipe. A stage adds its own settings; the whole recipe stands above the stages."""

    @property
    def seed(self) -> int:
        """Of all random choices."""

    def as_config(self) -> dict[str, Any]:
        """All settings as JSON values, by stage."""


def stage_config(stage: Stage, recipe: StageRecipe) -> dict[str, Any]:
    """Return what the manifest records of a stage's settings."""
    return {"seed": recipe.seed, stage: recipe.as_config()[stage]}


def current_labels(workspace: Workspace, inputs: Mapping[str, str]) -> Path | None:
    """Return the path of the label table, where it is among the checked inputs of a training."""
    return workspace.path("labels.parquet") if "labels.parquet" in inputs else None


def known_truth(workspace: Workspace, inputs: Mapping[str, str]) -> Path | None:
    """Return the path of a synthetic catalogue's truth table, where it is among the checked inputs of a stage."""
    return workspace.path("truth.parquet") if "truth.parquet" in inputs else None
