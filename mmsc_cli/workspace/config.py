"""The settings a stage is run with, and which optional inputs it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from mmsc_cli.errors import InputError
from mmsc_cli.recipe.settings import Part, Recipe
from mmsc_cli.workspace.stages import Stage
from mmsc_cli.workspace.workspace import Workspace


def stage_config(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """What the manifest records of a stage, and what decides whether it is up to date."""
    return {"seed": recipe.seed, stage: recipe.as_config()[stage]}


def current_labels(workspace: Workspace, inputs: Mapping[str, str]) -> Path | None:
    """The label table, where it is among the checked inputs of a training."""
    return workspace.path("labels.parquet") if "labels.parquet" in inputs else None


def known_truth(workspace: Workspace, inputs: Mapping[str, str]) -> Path | None:
    """The truth table of a synthetic catalogue, where it is among the checked inputs of a stage."""
    return workspace.path("truth.parquet") if "truth.parquet" in inputs else None


def parse_parts(names: Sequence[str]) -> tuple[Part, ...]:
    known: tuple[Part, ...] = get_args(Part)
    for name in names:
        if name not in known:
            raise InputError(f"there is no part {name!r}", hint=f"parts: {', '.join(known)}")
    return tuple(part for part in known if part in names)
