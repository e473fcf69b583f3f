"""What following the student costs in behaviour and gains in truth: figures of the model at several weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import RelationProtocol, Slice, relation_protocol
from mmsc_cli.evaluate.rank import rank_catalogue
from mmsc_cli.evaluate.truth_mode import KnownTruth, with_truth
from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.retrieval import NDCG
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import RELATIONS

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# Queries of each slice, drawn by seed: the curve is a comparison with itself.
QUERIES = 1_000
DRAWN = ("all", "clean", "cold", "true_warm", "true_cold")


def following_curve(
    context: EvaluationContext, index: Index, truth: KnownTruth | None, progress: Progress = SILENT
) -> dict[str, Any] | None:
    """NDCG@10 at every weight of the student; None where the index has none.

    Returns:
        `weights`; `chosen`, the weight of the index in each relation; `ndcg@10` by relation and slice, one value a
        weight, None where a slice has no query.
    """
    # An index of an earlier version may have a half of what it takes.
    if any(index.optional(f"{RELATIONS[0]}.linear.{name}") is None for name in ("truth", "behaviour")):
        return None
    figures: dict[str, dict[str, list[float | None]]] = {}
    for relation in RELATIONS:
        protocol = relation_protocol(relation, context.pairs, context.item_split)
        if truth is not None:
            protocol = with_truth(protocol, truth, context.item_split)
        protocol = _fewer_queries(protocol, context.seed)
        lines: dict[str, list[float | None]] = {name: [] for name in protocol.slices}
        for weight in WEIGHTS:
            followed = index.with_follow_labels({relation: weight})
            ranking = rank_catalogue(followed, protocol, name=f"mmsc, following {weight:g}", progress=progress)
            for name in protocol.slices:
                values = ranking.of_slice(name)[:, NDCG]
                lines[name].append(round(float(values.mean()), 4) if len(values) else None)
        figures[relation] = lines
    return {"weights": list(WEIGHTS), "chosen": index.about.get("follow_labels", {}), "ndcg@10": figures}


def _fewer_queries(protocol: RelationProtocol, seed: int) -> RelationProtocol:
    """The slices of the curve, with at most QUERIES queries each."""
    slices = {}
    for name, part in protocol.slices.items():
        if name in DRAWN:
            draw = numpy_generator(seed, f"evaluate/following/{protocol.relation}/{name}")
            queries = draw.permutation(part.queries)[:QUERIES]
            slices[name] = Slice(part.judgement, np.sort(queries))
    return RelationProtocol(protocol.relation, protocol.judgements, slices)
