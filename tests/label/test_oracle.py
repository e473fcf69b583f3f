from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.label.opinions import Calibration
from mmsc_cli.label.oracle import consult, oracle_accuracy
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import CLASSES, RELATIONS
from mmsc_cli.tables.truth import Truth
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Mmsc

PAIRS = 9_000
A, B = np.arange(PAIRS, dtype=np.int32), np.arange(PAIRS, dtype=np.int32) + 1
TRUE = np.arange(PAIRS) % 3


@pytest.fixture
def truth() -> Truth:
    """Every third pair a substitute, every third a complement of the first item, the rest nothing."""
    rows = TRUE < 2
    direction = np.where(TRUE == 1, "a_to_b", "")
    return Truth(A[rows], B[rows], TRUE[rows] == 0, TRUE[rows] == 1, direction[rows])


def _ask(truth: Truth, accuracy: float, seed: int = 1) -> Labels:
    opinions = consult(truth, A, B, accuracy=accuracy, n_items=PAIRS + 1, seed=seed)
    return opinions.labels(Calibration.of_candidates(opinions.mean()))


@pytest.mark.parametrize("accuracy", [0.0, 0.4, 0.6, 0.9, 1.0])
def test_it_is_right_as_often_as_it_claims_and_says_so(truth: Truth, accuracy: float) -> None:
    labels = _ask(truth, accuracy)
    probabilities = labels.probabilities()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    # What it says of the true class, it says rightly: among answers with probability p, a share p is right.
    claimed = probabilities[np.arange(PAIRS), TRUE]
    np.testing.assert_allclose((np.abs(claimed - accuracy) < 1e-6).mean(), accuracy, atol=0.02)
    assert set(labels.model) == {f"oracle:{accuracy:g}"}


def test_wrong_answers_are_the_two_others_equally_often(truth: Truth) -> None:
    answers = _ask(truth, 0.6).probabilities().argmax(axis=1)
    for true in range(len(CLASSES)):
        counts = np.bincount(answers[true == TRUE], minlength=3) / np.count_nonzero(true == TRUE)
        np.testing.assert_allclose(np.delete(counts, true), 0.2, atol=0.03)


def test_a_better_oracle_is_right_wherever_a_worse_one_is(truth: Truth) -> None:
    worse, better = (_ask(truth, accuracy).probabilities().argmax(axis=1) == TRUE for accuracy in (0.6, 0.8))
    assert not np.any(worse & ~better)
    assert not np.array_equal(worse, _ask(truth, 0.6, seed=2).probabilities().argmax(axis=1) == TRUE)


def test_directions_are_true_ones_or_none(truth: Truth) -> None:
    labels = _ask(truth, 0.7)
    complement = labels.probabilities().argmax(axis=1) == 1
    assert set(labels.direction[~complement]) == {""}
    assert set(labels.direction[complement & (TRUE == 1)]) == {"a_to_b"}
    assert set(labels.direction[complement & (TRUE != 1)]) == {"both"}


@pytest.mark.parametrize("model", ["rules", "llama", "oracle-labs/judge-7b", "/models/oracle"])
def test_other_models_are_not_oracles(model: str) -> None:
    assert oracle_accuracy(model) is None


@pytest.mark.parametrize("model", ["oracle", "oracle:", "oracle:2", "oracle:-0.1", "oracle:x", "oracle:nan"])
def test_a_name_that_makes_no_sense_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="accuracy between 0 and 1") as error:
        oracle_accuracy(model)
    assert "oracle:0.8" in (error.value.hint or "")


def test_a_synthetic_workspace_is_labelled_by_its_truth(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    ran = mmsc("label", "--model", "oracle:1", "--budget", 200, "--json", "-q", "-w", prepared_copy.root)
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["counts"]["annotator"] == "oracle:1 (knows the truth, no LLM)"
    labels, truth = (
        Labels.read(prepared_copy.path("labels.parquet")),
        Truth.read(prepared_copy.path("truth.parquet")),
    )
    items = 300
    for column, relation in enumerate(RELATIONS):
        np.testing.assert_array_equal(
            labels.probabilities()[:, column] == 1, truth.of_pairs(relation, labels.a, labels.b, items)
        )
    assert "truth.parquet" in prepared_copy.manifest().stages["label"].inputs


def test_a_dry_run_asks_an_oracle_nothing(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    ran = mmsc("label", "--model", "oracle:0.7", "--dry-run", "--json", "-q", "-w", prepared_copy.root)
    plan = json.loads(ran.out)
    assert (plan["annotator"], plan["questions"]) == ("oracle:0.7 (knows the truth, no LLM)", 0)


def test_a_real_catalogue_has_no_oracle(mmsc: Mmsc, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"I{n},thing {n}\n" for n in range(9)))
    (tmp_path / "pairs.csv").write_text("a,b,co_view\n" + "".join(f"I{n},I{n + 1},1\n" for n in range(8)))
    recipe = tmp_path / "shop.toml"
    recipe.write_text('name = "shop"\n[source]\nkind = "table"\nitems = "items.csv"\npairs = "pairs.csv"\n')
    workspace = tmp_path / "workspace"
    assert mmsc("prepare", recipe, "-q", "-w", workspace).code == 0
    for command in ("label --model oracle:0.8", "label --model oracle:0.8 --dry-run"):
        ran = mmsc(*command.split(), "-q", "-w", workspace)
        assert (ran.code, ran.out) == (2, "")
        assert "no truth.parquet" in ran.err
        assert "mmsc prepare demo" in ran.err
        assert len(ran.err.splitlines()) == 2


@pytest.mark.parametrize("model", ["oracle:2", "oracle:x"])
def test_a_bad_accuracy_is_told_in_two_lines(mmsc: Mmsc, prepared: Workspace, model: str) -> None:
    ran = mmsc("label", "--model", model, "-q", "-w", prepared.root)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 2)
    assert model in ran.err
