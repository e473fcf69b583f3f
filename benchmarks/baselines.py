"""The tables of docs/baselines.md: every baseline, tuned and judged on one data set, without a model beside it.

python -m benchmarks.baselines amazon-beauty --input meta_Beauty_5core.json.gz
python -m benchmarks.baselines demo --baselines ease,ppr,knn-transfer
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.evaluate.baselines.named import applicable, fit_baseline
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import SLICES, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.stage import read_context
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.workspace import Workspace


def main() -> None:
    """Prepare and encode the data set, then write a table per relation to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.baselines"
    )
    parser.add_argument("recipe")
    parser.add_argument("--input", action="append", default=[], metavar="FILE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--baselines", default="all")
    given = parser.parse_args()
    sys.stdout.write(f"{machine()}; NDCG@10; seconds of processor time for tuning and fitting\n")
    with tempfile.TemporaryDirectory() as folder:
        common = ["-w", folder, "--seed", given.seed, "-q"]
        files = [part for path in given.input for part in ("--input", path)]
        run_mmsc("prepare", given.recipe, *files, *common)
        run_mmsc("encode", "--encoder", "classic", *common)
        context = read_context(Workspace(Path(folder)), given.seed)
        names, _ = applicable(given.baselines, context.for_fitting("train"))
        for relation in RELATIONS:
            rows = [_judge(name, context, relation) for name in names]
            sys.stdout.write("\n" + markdown_table([relation, *SLICES, "s"], rows))
            sys.stdout.flush()


def _judge(name: str, context: EvaluationContext, relation: Relation) -> list[str]:
    scorer = fit_baseline(name, context)
    started = time.process_time()
    scorer.fit(relation)
    seconds = time.process_time() - started
    ranking = rank_catalogue(scorer, relation_protocol(relation, context.pairs, context.item_split), name=name)
    figures = [ranking.of_slice(part)[:, NDCG] for part in SLICES]
    cells = [f"{values.mean():.3f}".lstrip("0") if len(values) else "–" for values in figures]
    return [f"`{name}`", *cells, f"{seconds:.0f}"]


if __name__ == "__main__":
    main()
