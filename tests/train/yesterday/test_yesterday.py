from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import load_file

from mmsc_cli.index.index_file import Index
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items, write_items
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.inputs import Inputs, Plan, read_inputs
from mmsc_cli.train.known import Visible
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.stage import run_train
from mmsc_cli.train.train import train
from mmsc_cli.train.yesterday.drift import Since, too_far
from mmsc_cli.train.yesterday.learned import FORMAT, item_places, made_with
from mmsc_cli.train.yesterday.sketch import LARGEST, Sketch
from mmsc_cli.train.yesterday.steady import TOLERANCE, Steady
from mmsc_cli.workspace.workspace import Workspace
from tests.train.conftest import SETTINGS as SHOP

SETTINGS = TrainSettings(dim=16, epochs=1, batch_queries=128)
PLAN = Plan(1)
MADE = ("model", "judged", "index")


def fit(
    workspace: Workspace, folder: Path, earlier: Path | None = None, settings: TrainSettings = SETTINGS
) -> dict[str, Any]:
    """Train, from what an earlier training left in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    left = None if earlier is None else {name: earlier / name for name in MADE}
    return train(workspace, settings, PLAN, folder, torch.device("cpu"), None, earlier=left)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def first_answers(index: Index) -> Mapping[tuple[str, str], str]:
    """The first answer of each item in each relation."""
    found: dict[tuple[str, str], str] = {}
    for relation in RELATIONS:
        scores = index.scores(relation, np.arange(len(index)))
        np.fill_diagonal(scores, -np.inf)
        found |= {(relation, index.ids[row]): index.ids[int(best)] for row, best in enumerate(scores.argmax(axis=1))}
    return found


@pytest.fixture(scope="module")
def first(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first training of the small shop left."""
    folder = tmp_path_factory.mktemp("first")
    assert fit(prepared, folder)["start"] == "anew"
    return folder


@pytest.fixture(scope="module")
def inputs(prepared: Workspace) -> Inputs:
    return read_inputs(prepared, PLAN)


@pytest.fixture
def before(prepared: Workspace, tmp_path: Path) -> Workspace:
    """The shop before its items 3 and 40 came."""
    workspace = Workspace(Path(shutil.copytree(prepared.root, tmp_path / "before")))
    items = read_items(workspace.path("items.parquet"))
    stays = np.ones(len(items), np.bool_)
    stays[[3, 40]] = False
    row = np.cumsum(stays) - 1
    embeddings = Embeddings.open(workspace.path("embeddings"), len(items))
    for name in ("text", "image", "mask"):
        np.save(workspace.path("embeddings") / f"{name}.npy", np.asarray(getattr(embeddings, name))[stays])
    pairs = Pairs.read(workspace.path("pairs.parquet"))
    pairs = pairs.select(stays[pairs.a] & stays[pairs.b])
    replace(pairs, a=row[pairs.a].astype(np.int32), b=row[pairs.b].astype(np.int32)).write(
        workspace.path("pairs.parquet")
    )
    write_items(workspace.path("items.parquet"), items.filter(pa.array(stays)))
    return workspace


def test_nothing_changes_where_nothing_has_changed(prepared: Workspace, first: Path, tmp_path: Path) -> None:
    counts = fit(prepared, tmp_path / "second", first)
    assert counts["start"] == "the last time"
    assert files(tmp_path / "second") == files(first)


def test_new_items_are_answered_and_the_others_keep_their_answers(
    prepared: Workspace, before: Workspace, tmp_path: Path
) -> None:
    fit(before, tmp_path / "first")
    counts = fit(prepared, tmp_path / "second", tmp_path / "first")
    assert counts["start"] == "the last time"
    old, new = (Index.open(tmp_path / name / "index") for name in ("first", "second"))
    was, now = first_answers(old), first_answers(new)
    assert {item for _, item in now.keys() - was.keys()} == {new.ids[3], new.ids[40]}
    assert np.mean([was[asked] == now[asked] for asked in was]) > 0.9
    # The own vectors of items are found by their ids, though the rows have moved.
    left = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("first", "second")]
    vectors = [tensors["behaviour.item.weight"] for tensors in left]
    np.testing.assert_array_equal(np.delete(vectors[1], [3, 40], axis=0), vectors[0])


def test_the_stage_starts_from_the_model_in_the_workspace_unless_it_is_told_not_to(
    prepared: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(Path(shutil.copytree(prepared.root, tmp_path / "workspace")))
    recipe = load_recipe("demo", (*SHOP, "train.epochs=1"))
    caplog.set_level("INFO")
    starts, made = [], []
    for fresh in (False, False, True):
        counts = run_train(workspace, recipe, [], lambda: torch.device("cpu"), fresh=fresh)
        starts.append(counts["start"])
        made.append({name: workspace.manifest().stages["train"].outputs[name] for name in ("judged", "index")})
    assert starts == ["anew", "the last time", "anew"]
    assert made[0] == made[1] == made[2]
    assert "train: starts from the last time" in caplog.messages
    assert "train: starts anew, as asked" in caplog.messages


def test_other_features_are_another_format(first: Path) -> None:
    """Whoever changes what rankers, reliabilities or the student read raises FORMAT: old ones would read it wrong."""
    tensors = load_file(first / "model" / "learned.safetensors")
    kept = ("ranker.substitute.mean", "denoiser._mean", "student.by_behaviour.mean", "student.by_rules.mean")
    assert (FORMAT, *(len(tensors[name]) for name in kept)) == (1, 83, 13, 14, 68)


def test_other_settings_start_anew(prepared: Workspace, first: Path, tmp_path: Path) -> None:
    counts = fit(prepared, tmp_path / "second", first, SETTINGS.model_copy(update={"folds": 1}))
    assert (counts["start"], counts["start_because"]) == ("anew", "train.folds 2 → 1")


@pytest.mark.parametrize("name", ["learned.json", "learned.safetensors", "model.safetensors"])
def test_what_cannot_be_read_is_learned_anew(prepared: Workspace, first: Path, tmp_path: Path, name: str) -> None:
    left = Path(shutil.copytree(first, tmp_path / "left"))
    (left / "model" / name).write_bytes(b"{}")
    counts = fit(prepared, tmp_path / "second", left)
    assert counts["start"] == "anew"
    assert json.loads((tmp_path / "second" / "model" / "learned.json").read_bytes())["counts"]["epochs"] == 1


def test_a_catalogue_that_has_drifted_is_learned_anew(inputs: Inputs) -> None:
    since = Since.of(inputs)
    assert too_far(since.drift(inputs)) is None
    ids = inputs.items["item_id"].to_pylist()
    renamed = [f"new {name}" if row % 3 == 0 else name for row, name in enumerate(ids)]
    other = inputs.items.set_column(inputs.items.schema.get_field_index("item_id"), "item_id", pa.array(renamed))
    assert "of the items are new" in str(too_far(since.drift(replace(inputs, items=other))))
    moved = replace(inputs.pairs, split=np.where(inputs.pairs.split == "train", "test", "train"))
    assert "not held out" in str(too_far({**since.drift(replace(inputs, pairs=moved)), "pairs": 0.0}))


def test_labels_too_few_to_teach_leave_what_was_learned(inputs: Inputs) -> None:
    def labelled(pairs: int) -> Inputs:
        a, ones, words = np.arange(pairs, dtype=np.int32), np.ones(pairs, np.float32), np.full(pairs, "judge")
        p = np.eye(3, dtype=np.float32)[a % 3]
        labels = Labels(a, a + 1, p[:, 0], p[:, 1], p[:, 2], words, words, words, ones, ones)
        return replace(inputs, labels=labels)

    few, many = (made_with(labelled(pairs), SETTINGS, PLAN)["labels"] for pairs in (3, 60))
    assert (few, many) == (False, True)
    since = Since.of(inputs)
    assert too_far(since.drift(labelled(3))) is None
    assert "of the labels are new" in str(too_far(since.drift(labelled(60))))


def test_a_sketch_knows_what_share_of_a_large_set_is_new() -> None:
    rng = np.random.default_rng(1)
    old, new = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (4 * LARGEST, LARGEST))
    sketch = Sketch.of(old)
    assert len(sketch.hashes) == LARGEST
    assert sketch.share_known(old) == 1
    assert sketch.share_known(np.concatenate([old, new])) == pytest.approx(0.8, abs=0.01)


class TestSteady:
    @pytest.fixture
    def last(self, first: Path) -> Index:
        return Index.open(first / "index")

    @pytest.fixture
    def candidates(self, last: Index) -> np.ndarray:
        """The first three entries of each item's row."""
        linear = last.vectors("substitute").linear
        return np.stack([linear.columns(row)[:3] for row in range(len(last))]).astype(np.int64)

    @pytest.fixture
    def scores(self, last: Index, candidates: np.ndarray) -> np.ndarray:
        return np.take_along_axis(last.scores("substitute", np.arange(len(last))), candidates, axis=1)

    def test_a_score_follows_todays_at_a_distance(
        self, last: Index, inputs: Inputs, candidates: np.ndarray, scores: np.ndarray
    ) -> None:
        steady = Steady(last, last, item_places(last, inputs), inputs.everything(), inputs.pairs)
        near, far = scores + np.float32(TOLERANCE / 2), scores + 5
        held = steady.hold("substitute", candidates, near)
        np.testing.assert_allclose(held, scores, atol=1e-3)
        np.testing.assert_allclose(steady.hold("substitute", candidates, far), far - TOLERANCE, atol=1e-3)

    def test_what_was_known_of_a_pair_that_is_held_out_now_is_forgotten(
        self, last: Index, inputs: Inputs, candidates: np.ndarray, scores: np.ndarray
    ) -> None:
        linear = last.vectors("substitute").linear
        pair = next(
            row
            for row, (a, b) in enumerate(zip(inputs.pairs.a, inputs.pairs.b, strict=True))
            if b in linear.columns(int(a))
        )
        a, b = int(inputs.pairs.a[pair]), int(inputs.pairs.b[pair])
        asked = candidates.copy()
        asked[a] = b
        before = np.take_along_axis(last.scores("substitute", np.arange(len(last))), asked, axis=1)
        now = before + np.float32(TOLERANCE / 2)
        without = inputs.pairs.select(np.arange(len(inputs.pairs)) != pair)
        visible = Visible.of(without, inputs.outside, np.zeros(len(inputs), np.bool_))
        places = item_places(last, inputs)
        # It is among the pairs of today, but hidden; or it is no pair any more, which may be told.
        hidden = Steady(last, last, places, visible, inputs.pairs).hold("substitute", asked, now)
        gone = Steady(last, last, places, visible, without).hold("substitute", asked, now)
        assert hidden[a, 0] == now[a, 0]
        np.testing.assert_allclose(gone[a, 0], before[a, 0], atol=1e-3)

    def test_a_pair_that_was_held_out_before_stays_put(self, first: Path, inputs: Inputs) -> None:
        judged, served = (Index.open(first / name) for name in ("judged", "index"))
        linear = judged.vectors("substitute").linear
        visible = inputs.judging()
        a, b = next(
            (int(a), int(b))
            for a, b, split in zip(inputs.pairs.a, inputs.pairs.b, inputs.pairs.split, strict=True)
            if split == "test" and not (visible.cold[a] or visible.cold[b]) and b in linear.columns(int(a))
        )
        asked = np.full((len(inputs), 1), -1)
        asked[a] = b
        before = judged.scores("substitute", np.array([a]))[0, b]
        now = np.full((len(inputs), 1), before + np.float32(TOLERANCE / 2), np.float32)
        steady = Steady(judged, served, item_places(judged, inputs), visible, inputs.pairs)
        np.testing.assert_allclose(steady.hold("substitute", asked, now)[a, 0], before, atol=1e-3)

    def test_an_item_that_has_ceased_to_be_related_has_todays_scores(
        self, last: Index, inputs: Inputs, candidates: np.ndarray, scores: np.ndarray
    ) -> None:
        item, cold = int(inputs.pairs.a[-1]), np.zeros(len(inputs), np.bool_)
        cold[item] = True
        now = scores + np.float32(TOLERANCE / 2)
        hidden = Visible.of(inputs.pairs, inputs.outside, cold)
        steady = Steady(last, last, item_places(last, inputs), hidden, inputs.pairs)
        held = steady.hold("substitute", candidates, now)
        np.testing.assert_array_equal(held[item], now[item])
        assert (held != now).any()

    def test_a_new_item_has_todays_scores(
        self, last: Index, inputs: Inputs, candidates: np.ndarray, scores: np.ndarray
    ) -> None:
        places = item_places(last, inputs)
        places[7] = -1
        now = scores + np.float32(TOLERANCE / 2)
        held = Steady(last, last, places, inputs.everything(), inputs.pairs).hold("substitute", candidates, now)
        np.testing.assert_array_equal(held[7], now[7])
        np.testing.assert_array_equal(held[candidates == 7], now[candidates == 7])
