"""Labels of known accuracy: from an oracle that is right as often as it is told to be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsc_cli.label.stage import run_label
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.tables.truth import Truth
from mmsc_cli.train.inputs import Plan, read_inputs
from mmsc_cli.train.known import Catalogue, Known
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student import student
from mmsc_cli.train.student.student import Student, teach
from mmsc_cli.train.student.views import PairViews
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

BUDGET = 1_500
ITEMS = 300


def labels_of(prepared: Workspace, folder: Path, accuracy: float) -> Path:
    return labels_by(f"oracle:{accuracy}", prepared, folder)


def labels_by(model: str, prepared: Workspace, folder: Path) -> Path:
    workspace = Workspace(folder / "labelled")
    shutil.copytree(prepared.root, workspace.root)
    settings = (f"source.items={ITEMS}", "source.images=false", f"label.budget={BUDGET}")
    run_label(workspace, load_recipe("demo", (*settings, f"label.model={model}")), [])
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


def taught(prepared: Workspace, labels: Path) -> Student:
    inputs = read_inputs(prepared, Plan(1, (), labels))
    visible = inputs.training()
    known = Known(Catalogue(inputs.features, visible.has_behaviour, 20), visible, 128)
    student = teach(PairViews(Evidence(known), PairRules(inputs.items), 64), inputs.labels, seed=1)
    assert student is not None
    return student


def test_labels_are_followed_as_far_as_they_are_right(prepared: Workspace, tmp_path: Path) -> None:
    right, mostly, dice = (
        taught(prepared, labels_of(prepared, tmp_path / str(share), share)) for share in (1.0, 0.7, 1 / 3)
    )
    assert right.trust > mostly.trust > dice.trust == 0
    assert right.trust > 0.9
    assert dice.by_labels is None
    assert mostly.about is not None
    assert mostly.about["same_errors"] < 0.05  # its errors are random


def test_what_the_student_of_labels_is_worth_has_intervals(prepared: Workspace, tmp_path: Path) -> None:
    about = taught(prepared, labels_of(prepared, tmp_path, 0.8)).about
    assert about is not None
    for figure in ("accuracy", "calibration_error"):
        low, high = about[f"{figure}_ci"]
        assert 0 <= low < high <= 1
        assert about[figure] < high


def test_labels_that_say_the_opposite_are_not_followed(prepared: Workspace, tmp_path: Path) -> None:
    path = labels_of(prepared, tmp_path, 1.0)
    labels = Labels.read(path)
    columns = dict(vars(labels))
    columns["p_substitute"], columns["p_complement"] = labels.p_complement, labels.p_substitute
    Labels(**columns).write(path)
    assert taught(prepared, path).by_labels is None


def test_cleaned_labels_are_right_more_often_than_the_annotator(prepared: Workspace, tmp_path: Path) -> None:
    path = labels_of(prepared, tmp_path, 0.8)
    given, cleaned = Labels.read(path), taught(prepared, path).cleaned
    assert cleaned is not None
    truth = Truth.read(prepared.path("truth.parquet"))
    substitute, complement = (truth.of_pairs(relation, given.a, given.b, ITEMS) for relation in RELATIONS)
    true = np.select([substitute, complement], [0, 1], 2)
    before, after = (float((labels.probabilities().argmax(axis=1) == true).mean()) for labels in (given, cleaned))
    assert after > before + 0.04


def test_students_without_labels_hold_out_against_errors_that_are_always_the_same(
    prepared: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth cell of two categories and a class gets another class, always the same."""
    path = labels_of(prepared, tmp_path, 1.0)
    given = Labels.read(path)
    inputs = read_inputs(prepared, Plan(1))
    names = [" > ".join(category) for category in inputs.items["category"].to_pylist()]
    leaf = np.unique(names, return_inverse=True)[1]
    true = given.probabilities().argmax(axis=1)
    ends = np.sort(np.stack([leaf[given.a], leaf[given.b]]), axis=0)
    cells, cell = np.unique((ends[0] * len(names) + ends[1]) * 3 + true, return_inverse=True)
    wrong = np.random.default_rng(0).random(len(cells)) < 0.25
    said = np.where(wrong[cell], (true + 1) % 3, true)
    said_p = np.full((len(said), 3), 0.1, np.float32)
    said_p[np.arange(len(said)), said] = 0.8
    substitute, complement, neither = said_p.T
    replace(given, p_substitute=substitute, p_complement=complement, p_neither=neither).write(path)
    wary = taught(prepared, path)
    monkeypatch.setattr(student, "MOST_WITHOUT_LABELS", 0.0)
    trusting = taught(prepared, path)
    assert wary.about is not None
    assert wary.about["same_errors"] > 0.1
    assert wary.unseen is not None
    assert trusting.unseen is not None
    right = [(unseen.argmax(axis=1) == true)[wrong[cell]].mean() for unseen in (wary.unseen, trusting.unseen)]
    assert right[0] > right[1]


def test_the_student_does_not_copy_the_rules(prepared: Workspace, tmp_path: Path) -> None:
    labels = labels_by("rules", prepared, tmp_path)
    assert set(Labels.read(labels).model.tolist()) == {"rules"}
    assert taught(prepared, labels).by_labels is None
