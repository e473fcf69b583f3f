from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmsc_cli.encode.stage import run_encode
from mmsc_cli.label.stage import run_label
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.workspace.workspace import Workspace

SETTINGS = (
    "source.items=300",
    "source.images=false",
    "label.budget=400",
    "label.model=oracle:0.9",
    "train.dim=16",
    "train.epochs=3",
)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small demo shop, encoded and labelled, not trained. Read-only: copy it to change it."""
    folder: Path = tmp_path_factory.mktemp("prepared")
    workspace = Workspace(folder)
    recipe = load_recipe("demo", SETTINGS)
    prepare(workspace, recipe)
    run_encode(workspace, recipe, lambda: torch.device("cpu"))
    run_label(workspace, recipe, [])
    return workspace
