"""What labels gain: NDCG@10 against the truth and against behaviour, by annotator, budget and way of drawing pairs.

python -m benchmarks.annotator --items 2000 --seeds 1,2,3
python -m benchmarks.annotator --seeds 1 --variants none,rules:2000:shown,0.8:500:shown,0.8:2000:systematic

Every seed is a generated shop of its own. A variant is `none`, or ANNOTATOR:BUDGET:DRAWING. The annotator is `rules`,
or the share of right answers of one that knows the truth. `mix` draws pairs as the first round of `mmsc label`, `shown`
as a later round, from the answers of the model without labels; `systematic` draws as `shown`, but every wrong answer is
that of a whole cell of two categories and a class. No pair with a held-out item is asked about. One model is trained on
each label table; its judged index is ranked as training left it (`default`) and following the student fully (`fully`).
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.evaluate.protocol import SliceName, TrueSliceName, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.truth_mode import KnownTruth, with_truth
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.candidates import choose_candidates
from mmsc_cli.label.opinions import Calibration, Opinions
from mmsc_cli.label.oracle import consult
from mmsc_cli.label.rules import annotate
from mmsc_cli.label.settings import CandidateMix
from mmsc_cli.label.shown import choose_shown
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.tables.truth import Truth
from mmsc_cli.train.inputs import Inputs, Plan, read_inputs
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

JUDGED: tuple[SliceName | TrueSliceName, ...] = ("true_warm", "true_cold", "all")
VARIANTS = (
    "none,rules:2000:shown,0.8:100:shown,0.8:500:mix,0.8:500:shown,0.8:2000:mix,0.8:2000:shown,0.8:2000:systematic,"
    "0.7:2000:shown,0.9:2000:shown,1.0:2000:shown,0.8:5000:shown"
)
# Figures of one shop: by how far the student is followed, then by relation and slice.
Figures = dict[str, dict[tuple[str, str], float]]


@dataclass(frozen=True)
class Variant:
    """Labels to train on: `annotator` is `rules` or an accuracy."""

    annotator: str
    budget: int
    drawing: str

    @classmethod
    def parse(cls, text: str) -> Variant | None:
        """From the command line; None for `none`."""
        if text == "none":
            return None
        annotator, budget, drawing = text.split(":")
        return cls(annotator, int(budget), drawing)


def main() -> None:
    """Train, judge, and write the table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.annotator"
    )
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--seeds", type=whole_numbers, default=[1, 2, 3], metavar="1,2,3")
    parser.add_argument("--variants", default=VARIANTS)
    given = parser.parse_args()
    logging.getLogger("mmsc_cli").setLevel(logging.WARNING)
    names = given.variants.split(",")
    if names[0] != "none":
        names = ["none", *names]  # whose answers are asked about
    found: dict[str, list[tuple[Figures, dict[str, Any]]]] = {name: [] for name in names}
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            shop = _Shop(Path(folder), given.items, seed)
            for name in names:
                found[name].append(shop.judge(Variant.parse(name)))
                sys.stderr.write(f"shop {seed}, {name}: {found[name][-1]}\n")
    sys.stdout.write(f"generated shops of {given.items:,} items, seeds {given.seeds}; {machine()}\n\n{_table(found)}")


class _Shop:
    """One generated shop, and the answers of its model without labels."""

    def __init__(self, folder: Path, items: int, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._workspace = Workspace(folder)
        common = ("-w", folder, "--seed", seed, "-q")
        run_mmsc("prepare", "demo", "--set", f"source.items={items}", *common)
        run_mmsc("encode", "--encoder", "classic", *common)
        self._inputs: Inputs = read_inputs(self._workspace, Plan(seed))
        self._truth = Truth.read(self._workspace.path("truth.parquet"))
        self._unlabelled: Index | None = None
        self._trained = 0

    def judge(self, variant: Variant | None) -> tuple[Figures, dict[str, Any]]:
        """Figures of a model that was trained with such labels, and what training measured of the student."""
        labels = None
        if variant is not None:
            labels = self._folder / "variant.parquet"
            self._label(variant).write(labels)
        self._trained += 1
        out = self._folder / f"trained {self._trained}"
        plan = Plan(self._seed, (), labels, serve=False)
        counts = train(self._workspace, TrainSettings(), plan, out, torch.device("cpu"))
        index = Index.open(out / "judged")
        if variant is None:
            self._unlabelled = index
        fully = index.with_follow_labels(dict.fromkeys(RELATIONS, 1.0))
        about = {"follow_labels": counts["follow_labels"], "student": counts["student"]}
        return {"default": self._figures(index), "fully": self._figures(fully)}, about

    def _figures(self, index: Index) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for relation in RELATIONS:
            protocol = relation_protocol(relation, self._inputs.pairs, self._inputs.item_splits)
            protocol = with_truth(protocol, KnownTruth(self._truth), self._inputs.item_splits)
            ranking = rank_catalogue(index, protocol, name="mmsc")
            for part in JUDGED:
                found[relation, part] = float(ranking.of_slice(part)[:, NDCG].mean())
        return found

    def _label(self, variant: Variant) -> Labels:
        inputs, n_items = self._inputs, len(self._inputs)
        spare = 2 * variant.budget  # pairs with held-out items are dropped
        if variant.drawing == "mix":
            chosen = choose_candidates(inputs.items, inputs.pairs, spare, CandidateMix(), seed=self._seed)
        else:
            assert self._unlabelled is not None
            train_pairs = inputs.pairs.of("train")
            degree = np.bincount(np.concatenate([train_pairs.a, train_pairs.b]), minlength=n_items)
            chosen = choose_shown(self._unlabelled, degree, np.zeros(0, np.int64), spare, self._seed)
        warm = inputs.item_splits == "warm"
        allowed = np.flatnonzero(warm[chosen.a] & warm[chosen.b])
        rows = np.sort(np.random.default_rng(self._seed).permutation(allowed)[: variant.budget])
        a, b = chosen.a[rows], chosen.b[rows]
        if variant.annotator == "rules":
            opinions = annotate(inputs.items, a, b)
        else:
            accuracy = float(variant.annotator)
            ask = 1.0 if variant.drawing == "systematic" else accuracy
            opinions = consult(self._truth, a, b, accuracy=ask, n_items=n_items, seed=self._seed)
            if variant.drawing == "systematic":
                opinions = self._err_by_cell(opinions, accuracy)
        return opinions.labels(Calibration.of_candidates(opinions.mean()))

    def _err_by_cell(self, right: Opinions, accuracy: float) -> Opinions:
        """Answers that are wrong, always in the same way, for whole cells of two categories and a class."""
        draw = np.random.default_rng(self._seed)
        paths = np.array([" > ".join(path) for path in self._inputs.items["category"].to_pylist()])
        leaf = np.unique(paths, return_inverse=True)[1]
        true = right.mean().argmax(axis=1)
        first, second = np.minimum(leaf[right.a], leaf[right.b]), np.maximum(leaf[right.a], leaf[right.b])
        cells, cell = np.unique((first * (leaf.max() + 1) + second) * 3 + true, return_inverse=True)
        order = draw.permutation(len(cells))
        wrong = np.zeros(len(cells), np.bool_)
        wrong[order] = np.cumsum(np.bincount(cell)[order]) <= (1 - accuracy) * len(true)
        step = draw.integers(1, 3, len(cells))
        said: NDArray[np.int64] = np.where(wrong[cell], (true + step[cell]) % 3, true)
        p = np.full((len(true), 3), (1 - accuracy) / 2)
        p[np.arange(len(true)), said] = accuracy
        return Opinions.of_one_order(
            right.a, right.b, p, right.direction, annotator="systematic", version="1", states_accuracy=True
        )


def _table(found: dict[str, list[tuple[Figures, dict[str, Any]]]]) -> str:
    """Means over the shops: warm / cold against the truth, and all test pairs, by relation and weight."""
    rows = []
    for name, shops in found.items():
        cells = []
        for followed in ("default", "fully"):
            for relation in RELATIONS:
                warm, cold, noisy = (
                    float(np.mean([figures[followed][relation, part] for figures, _ in shops])) for part in JUDGED
                )
                cells.append(f"{warm:.3f} / {cold:.3f}, {noisy:.3f}")
        rows.append([name, *cells])
    heads = [f"{relation}, {followed}" for followed in ("default", "fully") for relation in RELATIONS]
    return markdown_table(["labels", *heads], rows)


if __name__ == "__main__":
    main()
