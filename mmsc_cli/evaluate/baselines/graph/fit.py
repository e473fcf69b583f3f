"""How each graph baseline is fitted, and its grid. torch is imported when one is fitted."""

from __future__ import annotations

from typing import Literal

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every
from mmsc_cli.runtime.seeds import derive_seed

# So that an item without behaviour is answered as those in training that were played as having none.
ISOLATED = 0.5

LIGHTGCN_GRID = every(layers=(3, 2, 4), hide=(0.0,))
GRAPHSAGE_GRID = every(layers=(2,), item_vectors=(False, True))
DECGCN_GRID = every(layers=(2,), hide=(0.0, 0.5))
SCOMGNN_GRID = every(hide=(0.0, 0.5))


def fit_lightgcn(task: FittingTask, *, layers: int, hide: float) -> ScoreRows:
    """LightGCN over the relation's pairs; `hide` as in `train`, here and below."""
    return _train(task, "LightGcn", hide, layers=layers)


def fit_graphsage(task: FittingTask, *, layers: int, item_vectors: bool) -> ScoreRows:
    """GraphSAGE from embeddings, and item vectors if asked for; half of the items are isolated in each view."""
    return _train(task, "GraphSage", 0.0, ISOLATED, layers=layers, item_vectors=item_vectors)


def fit_decgcn(task: FittingTask, *, layers: int, hide: float) -> ScoreRows:
    """DecGCN over the pairs of both relations, read out in the space of the task's."""
    return _train(task, "DecGcn", hide, layers=layers)


def fit_scomgnn(task: FittingTask, *, hide: float) -> ScoreRows:
    """SComGNN over the relation's pairs."""
    return _train(task, "ScomGnn", hide)


def _train(
    task: FittingTask,
    network: Literal["LightGcn", "GraphSage", "DecGcn", "ScomGnn"],
    hide: float,
    isolate: float = 0.0,
    **setting: float,
) -> ScoreRows:
    import torch  # noqa: PLC0415  torch is slow to import

    from mmsc_cli.evaluate.baselines.graph import networks, training  # noqa: PLC0415  they import torch

    # torch draws initial weights from its global stream.
    torch.manual_seed(derive_seed(task.context.seed, f"baseline/weights/{task.relation}"))
    return training.train(task, getattr(networks, network)(task, **setting), hide=hide, isolate=isolate)
