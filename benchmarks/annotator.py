"""From which accuracy on do labels pay? NDCG@10 against the accuracy of an annotator, on generated shops.

python -m benchmarks.annotator --items 1000 --seeds 1,2,3 --plot annotator.svg

Every seed is a shop of its own. In each, the same candidate pairs are labelled by an oracle of every accuracy; one
model is trained on each of these label tables and one without labels. All are ranked against the noisy test pairs
(`all`, `clean`, `cold`) and against the true relations (`true_…`; in `true_…_unasked` the pairs that the annotator was
asked about are masked, so that what it gave away is not counted as found). Differences are per query, pooled over the
shops; the interval is the wider of two: the paired bootstrap over queries, and 1.96 standard errors of the mean over
the shops. One training can take another turn than the next (the weight of the linear branch is chosen on noisy
validation pairs), and shifts all queries of its shop together: an interval over queries alone does not see that.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.evaluate.protocol import SliceName, TrueSliceName, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.stage import read_context, read_known_truth
from mmsc_cli.evaluate.truth_mode import with_truth
from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.bootstrap import bootstrap_interval
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.workspace import Workspace

Annotator = float | Literal["none"]
Question = tuple[Relation, SliceName | TrueSliceName]
# One array per shop, of the NDCG@10 of each query.
Figures = dict[Annotator, dict[Question, list[NDArray[np.float64]]]]
DRAWN: tuple[SliceName | TrueSliceName, ...] = ("all", "cold", "true_warm_unasked", "true_cold_unasked")
JUDGED: tuple[SliceName | TrueSliceName, ...] = ("all", "clean", "cold", "true_warm", "true_cold", *DRAWN[2:])


def main() -> None:
    """Train, judge, and write the table to stdout and the plot to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.annotator"
    )
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--seeds", type=whole_numbers, default=[1, 2, 3], metavar="1,2,3")
    parser.add_argument("--budget", type=int, default=4_000, help="pairs to label")
    parser.add_argument("--accuracies", default="0.6,0.7,0.8,0.9,1.0")
    parser.add_argument("--plot", type=Path, default=Path("annotator.svg"), help="a .svg or .png to write")
    given = parser.parse_args()
    logging.getLogger("mmsc_cli").setLevel(logging.WARNING)
    accuracies = [float(part) for part in given.accuracies.split(",")]
    per_shop = [_judge_shop(seed, given.items, given.budget, accuracies) for seed in given.seeds]
    figures: Figures = {
        annotator: {question: [shop[annotator][question] for shop in per_shop] for question in asked}
        for annotator, asked in per_shop[0].items()
    }
    shops = f"generated shops: {len(given.seeds)}, each of {given.items:,} items with {given.budget:,} labels"
    sys.stdout.write(f"{shops}; {machine()}\n\n")
    sys.stdout.write(_table(figures, accuracies))
    _draw(figures, accuracies, shops, given.plot)


def _judge_shop(
    seed: int, items: int, budget: int, accuracies: list[float]
) -> dict[Annotator, dict[Question, NDArray[np.float64]]]:
    """NDCG@10 per query of every annotator and question, in one shop."""
    with tempfile.TemporaryDirectory() as folder:
        common = ("-w", folder, "--seed", seed, "-q")
        run_mmsc("prepare", "demo", "--set", f"source.items={items}", *common)
        run_mmsc("encode", "--encoder", "classic", *common)
        figures: dict[Annotator, dict[Question, NDArray[np.float64]]] = {}
        for accuracy in accuracies:
            run_mmsc("label", "--model", f"oracle:{accuracy:g}", "--budget", budget, *common)
            run_mmsc("train", *common)
            figures[accuracy] = _rank(Workspace(Path(folder)))
        # The labels still lie there, so that the same pairs are masked.
        run_mmsc("train", "--without", "llm", *common)
        figures["none"] = _rank(Workspace(Path(folder)))
        return figures


def _rank(workspace: Workspace) -> dict[Question, NDArray[np.float64]]:
    context = read_context(workspace, 1)
    known = read_known_truth(workspace, workspace.inputs_of("evaluate"), workspace.manifest().stages["train"])
    assert known is not None, "a generated shop has a truth"
    index = Index.open(workspace.path("index"))
    found: dict[Question, NDArray[np.float64]] = {}
    for relation in RELATIONS:
        protocol = relation_protocol(relation, context.pairs, context.item_split)
        ranking = rank_catalogue(index, with_truth(protocol, known, context.item_split), name="mmsc")
        for part in JUDGED:
            found[relation, part] = ranking.of_slice(part)[:, NDCG]
    return found


def _difference(figures: Figures, annotator: Annotator, question: Question) -> tuple[float, float, float]:
    """Mean difference from no labels, and its interval."""
    shops = [own - none for own, none in zip(figures[annotator][question], figures["none"][question], strict=True)]
    values = np.concatenate(shops)
    interval = bootstrap_interval(values, numpy_generator(1, f"benchmarks/annotator/{question}"))
    assert interval is not None, "every shop has queries of every kind"
    mean = float(values.mean())
    means = np.asarray([shop.mean() for shop in shops])
    half = 1.96 * float(means.std(ddof=1)) / len(means) ** 0.5 if len(means) > 1 else 0.0
    return mean, min(interval[0], mean - half), max(interval[1], mean + half)


def _table(figures: Figures, accuracies: list[float]) -> str:
    rows = []
    for question in figures["none"]:
        none = np.concatenate(figures["none"][question])
        cells = []
        pays_from: float | None = None
        for accuracy in sorted(accuracies):
            mean, low, high = _difference(figures, accuracy, question)
            cells.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})")
            # From here on it pays: also at every higher accuracy.
            pays_from = (pays_from or accuracy) if low > 0 else None
        verdict = "–" if pays_from is None else f"{pays_from:g}"
        rows.append([*question, str(len(none)), f"{none.mean():.3f}", *cells, verdict])
    head = ["relation", "slice", "queries", "no labels", *(f"oracle:{a:g}" for a in sorted(accuracies)), "pays from"]
    return markdown_table(head, rows)


def _draw(figures: Figures, accuracies: list[float], title: str, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(RELATIONS), figsize=(11, 4.5), layout="constrained", sharey=True)
    styles: Mapping[str, Any] = dict(zip(DRAWN, ("o-", "s--", "^-.", "D:"), strict=True))
    for axis, relation in zip(axes, RELATIONS, strict=True):
        for part in DRAWN:
            found = [_difference(figures, accuracy, (relation, part)) for accuracy in accuracies]
            mean, low, high = (np.asarray(column) for column in zip(*found, strict=True))
            axis.errorbar(accuracies, mean, [mean - low, high - mean], fmt=styles[part], capsize=3, label=part)
        axis.axhline(0, color="black", linewidth=1)
        axis.set(title=f"{relation}s", xlabel="accuracy of the annotator")
    axes[0].set_ylabel("NDCG@10 gained over no labels")
    axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
