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
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

SETTINGS = TrainSettings(dim=16, epochs=2, batch_queries=128)


def fit(
    workspace: Workspace, folder: Path, seed: int = 1, without: Sequence[Part] = (), settings: TrainSettings = SETTINGS
) -> tuple[Index, dict[str, Any]]:
    model, index = folder / "model", folder / "index"
    model.mkdir(parents=True)
    index.mkdir()
    counts = train(
        workspace,
        settings,
        labels=workspace.path("labels.parquet"),
        seed=seed,
        without=without,
        model=model,
        index=index,
        device=torch.device("cpu"),
    )
    return Index.open(index), counts


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


@pytest.mark.parametrize("part", ["llm", "denoise", "aggregation", "image", "text", "id"])
def test_every_part_can_be_left_out(
    prepared: Workspace, trained: tuple[Index, dict[str, Any]], tmp_path: Path, part: Part
) -> None:
    index, counts = fit(prepared, tmp_path, without=(part,))
    assert counts["without"] == [part]
    assert np.isfinite(scores(index)).all()
    # The small shop of these tests has no images, so leaving them out changes nothing.
    assert np.array_equal(scores(index), scores(trained[0])) is (part == "image")


def test_a_longer_training_beats_popularity_on_validation(prepared: Workspace, tmp_path: Path) -> None:
    _, counts = fit(prepared, tmp_path, settings=TrainSettings(dim=32, epochs=6, batch_queries=64))
    assert counts["validation"]["substitute warm"] > 0.3
    assert counts["validation"]["complement warm"] > 0.2


def test_known_pairs_are_the_training_pairs(prepared: Workspace, trained: tuple[Index, dict[str, Any]]) -> None:
    index = trained[0]
    train_pairs = Pairs.read(prepared.path("pairs.parquet")).of("train")
    expected = {(a, b) for a, b in zip(train_pairs.a.tolist(), train_pairs.b.tolist(), strict=True)}
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
