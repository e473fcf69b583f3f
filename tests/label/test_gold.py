from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmsc_cli.label.gold import Gold, calibrate, judge, read_gold
from mmsc_cli.label.opinions import Calibration, Opinions


def test_contradicting_labels_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = ["a,b,label", "x,y,Substitute", "y,x,complement", "x,y,substitute", " x ,z, neither ", "x,GONE,neither"]
    (tmp_path / "gold.csv").write_text("\n".join(rows))
    gold = read_gold(tmp_path / "gold.csv", ["x", "y", "z"])
    assert (gold.a.tolist(), gold.b.tolist(), gold.label.tolist()) == ([0], [2], [2])
    assert (gold.contradicting, gold.unknown) == (1, 1)


def test_a_label_given_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "gold.csv").write_text("a,b,label\nx,y,neither\ny,x,neither\n")
    gold = read_gold(tmp_path / "gold.csv", ["x", "y"])
    assert (len(gold.a), gold.contradicting) == (1, 0)


def test_ids_that_became_floats_are_the_whole_numbers_they_were(tmp_path: Path) -> None:
    table = pa.table({"a": [101.0, 102.0, None], "b": [102.0, 103.0, 103.0], "label": ["neither"] * 3})
    pq.write_table(table, tmp_path / "gold.parquet")
    (tmp_path / "gold.csv").write_text("a,b,label\n101.0,102.0,neither\n102.0,103.0,neither\n,103.0,neither\n")
    for name in ("gold.parquet", "gold.csv"):
        gold = read_gold(tmp_path / name, ["101", "102", "103"])
        assert (gold.a.tolist(), gold.b.tolist(), gold.unknown) == ([0, 1], [1, 2], 1)


def _overconfident(pairs: int, right: float) -> tuple[Opinions, Gold]:
    """Answers of probability 0.98, of which a fraction is right, and human labels of all."""
    generator = np.random.default_rng(3)
    human = generator.integers(0, 3, pairs)
    answer = np.where(generator.random(pairs) < right, human, (human + generator.integers(1, 3, pairs)) % 3)
    p = np.full((pairs, 3), 0.01)
    p[np.arange(pairs), answer] = 0.98
    a, b = np.arange(pairs, dtype=np.int32), np.arange(pairs, dtype=np.int32) + 1
    both = np.full(pairs, "both")
    return Opinions.of_one_order(a, b, p, both, annotator="judge", version="1"), Gold(a, b, human)


def test_enough_human_labels_calibrate_and_few_do_not() -> None:
    for pairs, error in ((400, 0.05), (60, 0.5)):
        opinions, gold = _overconfident(pairs, 0.7)
        candidates = Calibration.of_candidates(opinions.mean())
        verdict = judge(opinions, candidates, gold, 1_000, seed=1)
        assert verdict["calibration_error"] < error
        assert (calibrate(opinions, candidates, gold, 1_000) is candidates) == (pairs < 100)
    assert verdict["calibration_error"] > 0.1
    low, high = verdict["calibration_error_ci"]
    assert low <= verdict["calibration_error"] <= high


def test_no_answer_is_judged_with_a_fit_that_saw_its_human_label() -> None:
    opinions, gold = _overconfident(150, 1 / 3)  # it knows nothing
    verdict = judge(opinions, Calibration.of_candidates(opinions.mean()), gold, 1_000, seed=1)
    assert verdict["accuracy"] < 0.45
