"""Labels of known accuracy: from an oracle that is right as often as it is told to be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsc_cli.label.stage import run_label
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.inputs import Plan
from mmsc_cli.train.label_supervision import label_trust
from mmsc_cli.train.loop.data import TrainingPairs
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

BUDGET = 1_500
ITEMS = 300


def labels_of(prepared: Workspace, folder: Path, accuracy: float) -> Path:
    workspace = Workspace(folder / "labelled")
    shutil.copytree(prepared.root, workspace.root)
    settings = (f"source.items={ITEMS}", "source.images=false", f"label.budget={BUDGET}")
    run_label(workspace, load_recipe("demo", (*settings, f"label.model=oracle:{accuracy}")), [])
    return workspace.path("labels.parquet")


def mean_validation(prepared: Workspace, labels: Path | None, folder: Path, seed: int) -> float:
    folder.mkdir(parents=True)
    settings = TrainSettings(dim=16, epochs=3, batch_queries=128)
    counts = train(prepared, settings, Plan(seed, (), labels, serve=False), folder, torch.device("cpu"))
    return float(np.mean([value for value in counts["validation"].values() if value is not None]))


def test_labels_of_which_30_percent_are_wrong_do_no_harm(prepared: Workspace, tmp_path: Path) -> None:
    labels = labels_of(prepared, tmp_path, 0.7)
    seeds = (1, 2, 3)
    gains = [
        mean_validation(prepared, labels, tmp_path / f"with {seed}", seed)
        - mean_validation(prepared, None, tmp_path / f"without {seed}", seed)
        for seed in seeds
    ]
    # Not worse: the mean is above 0, or so little below that the seeds cannot tell it from 0.
    assert np.mean(gains) > -max(0.01, float(np.std(gains)) / len(seeds) ** 0.5)


def test_labels_are_followed_as_far_as_they_are_right(prepared: Workspace, tmp_path: Path) -> None:
    pairs = TrainingPairs.of(Pairs.read(prepared.path("pairs.parquet")).of("train"))
    right, mostly, dice = (
        label_trust(Labels.read(labels_of(prepared, tmp_path / str(share), share)), pairs, ITEMS)
        for share in (1.0, 0.7, 1 / 3)
    )
    assert right > mostly > dice
    assert right > 0.25
    assert dice == pytest.approx(0, abs=0.1)


def test_labels_that_say_the_opposite_are_not_followed(prepared: Workspace, tmp_path: Path) -> None:
    labels = Labels.read(labels_of(prepared, tmp_path, 1.0))
    columns = dict(vars(labels))
    columns["p_substitute"], columns["p_complement"] = labels.p_complement, labels.p_substitute
    columns["p_neither"] = 1 - labels.p_neither
    pairs = TrainingPairs.of(Pairs.read(prepared.path("pairs.parquet")).of("train"))
    assert label_trust(Labels(**columns), pairs, ITEMS) == 0
