"""How each graph baseline is fitted, and its grid. torch is imported when one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsc_cli.evaluate.baselines.baseline import FittingTask, ScoreRows, every
from mmsc_cli.runtime.seeds import derive_seed

if TYPE_CHECKING:
    from mmsc_cli.evaluate.baselines.graph.content import Content

DIM = 128
HEADS = 4
# So that an item without behaviour is answered as those in training that were played as having none.
ISOLATED = 0.5

LIGHTGCN_GRID = every(layers=(3, 2, 4), hide=(0.0,))
GRAPHSAGE_GRID = every(layers=(2,), item_vectors=(False, True))
GAT_GRID = every(layers=(1,), hide=(0.0,), item_vectors=(False, True))
DECGCN_GRID = every(layers=(2,), hide=(0.0, 0.5))
SCOMGNN_GRID = every(hide=(0.0, 0.5))


def fit_lightgcn(task: FittingTask, *, layers: int, hide: float) -> ScoreRows:
    """LightGCN over the relation's pairs; `hide` as in `train`, here and below."""
    from mmsc_cli.evaluate.baselines.graph.lightgcn import LightGcn
    from mmsc_cli.evaluate.baselines.graph.training import train

    _seed(task)
    return train(task, LightGcn(task.context.items, DIM, layers), hide=hide)


def fit_graphsage(task: FittingTask, *, layers: int, item_vectors: bool) -> ScoreRows:
    """GraphSAGE from embeddings, and item vectors if asked for; half of the items are isolated in each view."""
    from mmsc_cli.evaluate.baselines.graph.graphsage import GraphSage
    from mmsc_cli.evaluate.baselines.graph.training import train

    _seed(task)
    network = GraphSage(_content(task, item_vectors=item_vectors), DIM, layers)
    return train(task, network, hide=0.0, isolate=ISOLATED)


def fit_gat(task: FittingTask, *, layers: int, hide: float, item_vectors: bool) -> ScoreRows:
    """GAT from embeddings, and item vectors if asked for."""
    from mmsc_cli.evaluate.baselines.graph.gat import Gat
    from mmsc_cli.evaluate.baselines.graph.training import train

    _seed(task)
    return train(task, Gat(_content(task, item_vectors=item_vectors), DIM, layers, HEADS), hide=hide)


def fit_decgcn(task: FittingTask, *, layers: int, hide: float) -> ScoreRows:
    """DecGCN over the pairs of both relations, read off in the space of the task's."""
    from mmsc_cli.evaluate.baselines.graph.decgcn import DecGcn
    from mmsc_cli.evaluate.baselines.graph.training import train

    _seed(task)
    own, other = (_content(task, item_vectors=True) for _ in range(2))
    return train(task, DecGcn(own, other, DIM, layers), hide=hide)


def fit_scomgnn(task: FittingTask, *, hide: float) -> ScoreRows:
    """SComGNN over the relation's pairs."""
    from mmsc_cli.evaluate.baselines.graph.scomgnn import ScomGnn
    from mmsc_cli.evaluate.baselines.graph.training import train

    _seed(task)
    return train(task, ScomGnn(_content(task, item_vectors=True), DIM), hide=hide)


def _content(task: FittingTask, *, item_vectors: bool) -> Content:
    from mmsc_cli.evaluate.baselines.graph.content import Content

    return Content(task.context, DIM, item_vectors=item_vectors)


def _seed(task: FittingTask) -> None:
    """torch draws initial weights from its global stream."""
    import torch

    torch.manual_seed(derive_seed(task.context.seed, f"baseline/weights/{task.relation}"))
