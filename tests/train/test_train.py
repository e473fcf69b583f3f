from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmsc_cli.index.index_file import Index
from mmsc_cli.model.parts import Part
from mmsc_cli.tables.edges import Edges
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.inputs import Plan
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

SETTINGS = TrainSettings(dim=16, epochs=2, batch_queries=128)


def fit(
    workspace: Workspace, folder: Path, seed: int = 1, without: Sequence[Part] = (), settings: TrainSettings = SETTINGS
) -> tuple[Index, dict[str, Any]]:
    """The judged index, and the counts."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(seed, without, workspace.path("labels.parquet"), serve=False)
    counts = train(workspace, settings, plan, folder, torch.device("cpu"))
    return Index.open(folder / "judged"), counts


def scores(index: Index) -> np.ndarray:
    return np.stack([index.scores(relation, np.arange(20)) for relation in RELATIONS])


@pytest.fixture(scope="module")
def trained(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, dict[str, Any]]:
    return fit(prepared, tmp_path_factory.mktemp("trained"))


def test_the_same_seed_gives_the_same_index_and_another_seed_another(
    prepared: Workspace, trained: tuple[Index, dict[str, Any]], tmp_path: Path
) -> None:
    again, _ = fit(prepared, tmp_path / "again")
    other, _ = fit(prepared, tmp_path / "other", seed=2)
    np.testing.assert_array_equal(scores(trained[0]), scores(again))
    assert not np.allclose(scores(trained[0]), scores(other))


def test_test_pairs_are_never_read(prepared: Workspace, trained: tuple[Index, dict[str, Any]], tmp_path: Path) -> None:
    blind = Workspace(tmp_path / "blind")
    shutil.copytree(prepared.root, blind.root)
    pairs = Pairs.read(blind.path("pairs.parquet"))
    pairs.select(pairs.split != "test").write(blind.path("pairs.parquet"))
    without_test, _ = fit(blind, tmp_path / "out")
    np.testing.assert_array_equal(scores(trained[0]), scores(without_test))


@pytest.mark.parametrize(
    "part", ["network", "denoise", "aggregation", "outside", "rerank", "llm", "image", "text", "id"]
)
def test_every_part_can_be_left_out(
    prepared: Workspace, trained: tuple[Index, dict[str, Any]], tmp_path: Path, part: Part
) -> None:
    index, counts = fit(prepared, tmp_path, without=(part,))
    assert counts["without"] == [part]
    assert np.isfinite(scores(index)).all()
    # The small shop of these tests has no images and no partners outside, so leaving them out changes nothing.
    assert np.array_equal(scores(index), scores(trained[0])) is (part in ("image", "outside"))


def test_a_longer_training_beats_popularity_on_validation(prepared: Workspace, tmp_path: Path) -> None:
    _, counts = fit(prepared, tmp_path, settings=TrainSettings(dim=32, epochs=6, batch_queries=64))
    assert counts["validation"]["substitute warm"] > 0.3
    assert counts["validation"]["complement warm"] > 0.2


def test_known_pairs_are_those_it_was_made_from(prepared: Workspace, trained: tuple[Index, dict[str, Any]]) -> None:
    index = trained[0]
    pairs = Pairs.read(prepared.path("pairs.parquet")).of("train", "valid")
    warm = item_splits(read_items(prepared.path("items.parquet"))) == "warm"
    seen = pairs.select(warm[pairs.a] & warm[pairs.b])
    expected = {(a, b) for a, b in zip(seen.a.tolist(), seen.b.tolist(), strict=True)}
    known = {
        (row, int(column))
        for row in range(len(index))
        for column in index.known.indices[index.known.row(row)]
        if row < column
    }
    assert known == expected


def test_the_reliabilities_of_the_training_pairs_are_kept(prepared: Workspace, tmp_path: Path) -> None:
    fit(prepared, tmp_path / "whole")
    edges = Edges.read(tmp_path / "whole" / "model" / "edges.parquet")
    train_pairs = Pairs.read(prepared.path("pairs.parquet")).of("train")
    np.testing.assert_array_equal(edges.a, train_pairs.a)
    np.testing.assert_array_equal(edges.b, train_pairs.b)
    for relation in RELATIONS:
        np.testing.assert_array_equal(edges.strength[relation], train_pairs.strength(relation))
        seen = train_pairs.holds(relation)
        believed = edges.reliability[relation][seen]
        assert 0 < believed.min() < believed.max() < 1
        assert np.isnan(edges.reliability[relation][~seen]).all()
    fit(prepared, tmp_path / "plain", without=("denoise",))
    assert not (tmp_path / "plain" / "model" / "edges.parquet").exists()


def test_the_served_index_knows_all_pairs_and_answers_with_all_items(prepared: Workspace, tmp_path: Path) -> None:
    counts = train(prepared, SETTINGS, Plan(1), tmp_path, torch.device("cpu"))
    judged, served = Index.open(tmp_path / "judged"), Index.open(tmp_path / "index")
    pairs = Pairs.read(prepared.path("pairs.parquet"))
    assert len(served.known.indices) == 2 * len(pairs) == 2 * counts["served_pairs"]
    cold = item_splits(read_items(prepared.path("items.parquet"))) == "cold_test"
    for relation in RELATIONS:
        answers = [np.isin(np.flatnonzero(cold), index.vectors(relation).linear.indices) for index in (judged, served)]
        assert not answers[0].any()
        assert answers[1].mean() > 0.5
    # The same choices: probabilities of the served index are those that were chosen on the split.
    assert judged.about["calibration"] == served.about["calibration"]


def test_without_validation_pairs_there_is_a_ranker_and_a_probability(prepared: Workspace, tmp_path: Path) -> None:
    blind = Workspace(tmp_path / "blind")
    shutil.copytree(prepared.root, blind.root)
    pairs = Pairs.read(blind.path("pairs.parquet"))
    pairs.select(pairs.split == "train").write(blind.path("pairs.parquet"))
    index, counts = fit(blind, tmp_path / "out")
    assert counts["ranked"] == ["complement", "substitute"]
    assert index.about["calibration"]["examples"] == 0
    assert index.about["calibration"]["width"] > 0
