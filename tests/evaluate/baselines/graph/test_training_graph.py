from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmsc_cli.evaluate.baselines.baseline import FittingTask
from mmsc_cli.evaluate.baselines.graph.training_graph import TrainingGraph
from mmsc_cli.evaluate.context import EvaluationContext, FittingContext
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation


def _graph(context: EvaluationContext, relation: Relation) -> TrainingGraph:
    return TrainingGraph(FittingTask(context.for_fitting("train"), relation, "under test"), torch.device("cpu"))


def _dense(graph: torch.Tensor) -> NDArray[np.float32]:
    return graph.to_dense().numpy()


def _seen(graph: torch.Tensor) -> set[tuple[int, int]]:
    rows, columns = np.nonzero(_dense(graph))
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def test_a_hidden_pair_is_hidden_in_both_directions_and_relations(planted: EvaluationContext) -> None:
    pairs = _graph(planted, "complement")
    view, targets = pairs.masked(0.5, 0.0, torch.Generator().manual_seed(1))
    hidden = {(int(a), int(b)) for a, b in targets.T}
    hidden |= {(b, a) for a, b in hidden}
    visible = _seen(view.own) | _seen(view.other)
    assert hidden
    assert not hidden & visible
    assert _seen(pairs.whole().own) == hidden | _seen(view.own)


def test_isolated_items_have_no_pair_and_no_vector(planted: EvaluationContext) -> None:
    pairs = _graph(planted, "substitute")
    view, targets = pairs.masked(0.0, 0.5, torch.Generator().manual_seed(1))
    shown = view.connected[:, 0].numpy() > 0
    assert 0.3 < shown[planted.item_split == "warm"].mean() < 0.7
    for graph in (view.own, view.other):
        assert not _dense(graph)[~shown].any()
    ends = targets.numpy()
    assert (~shown[ends]).any(axis=0).all(), "every pair of an isolated item is to be predicted, and no other"


def test_with_nothing_hidden_all_pairs_are_seen_and_predicted(planted: EvaluationContext) -> None:
    pairs = _graph(planted, "substitute")
    view, targets = pairs.masked(0.0, 0.0, torch.Generator().manual_seed(1))
    assert 2 * targets.shape[1] == len(_seen(view.own))
    np.testing.assert_array_equal(_dense(view.own), _dense(pairs.whole().own))


def test_cold_items_are_no_candidates(planted: EvaluationContext) -> None:
    candidates = _graph(planted, "substitute").candidates.numpy()
    assert set(planted.item_split[candidates]) == {"warm"}


@pytest.mark.parametrize("kind", ["own", "own_mean"])
def test_products_and_gradients_are_those_of_the_dense_matrix(
    kind: str, pair_table: Callable[..., Pairs], hand_context: EvaluationContext
) -> None:
    fitting: FittingContext = hand_context.for_fitting("train")
    graph: torch.Tensor = getattr(_graph(hand_context, "substitute").whole(), kind)
    adjacency = fitting.pairs.adjacency("substitute", fitting.n_items).toarray()
    degree = np.maximum(adjacency.sum(axis=1), 1e-6)
    expected = adjacency / degree[:, None] if kind == "own_mean" else adjacency / np.sqrt(np.outer(degree, degree))
    start = torch.randn(fitting.n_items, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.randn(fitting.n_items, 4, generator=torch.Generator().manual_seed(2))
    product = graph @ start
    (product * weight).sum().backward()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(product.detach(), expected @ start.detach().numpy(), atol=1e-6)
    assert start.grad is not None
    np.testing.assert_allclose(start.grad, expected.T @ weight.numpy(), atol=1e-6)
