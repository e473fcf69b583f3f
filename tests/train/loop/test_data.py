from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.loop.data import Problem, TrainingPairs, View, masked_views

ITEMS = 60


def random_pairs(items: int) -> TrainingPairs:
    """About ten pairs an item, half of them in each relation."""
    random = np.random.default_rng(0)
    keys = np.unique(random.integers(0, items * items, 10 * items))
    a, b = keys // items, keys % items
    keep = a < b
    size = (int(keep.sum()), 2)
    strength = (random.random(size) * random.integers(0, 2, size)).astype(np.float32)
    return TrainingPairs(torch.from_numpy(a[keep]), torch.from_numpy(b[keep]), torch.from_numpy(strength))


@pytest.fixture
def pairs() -> TrainingPairs:
    return random_pairs(ITEMS)


def draw(pairs: TrainingPairs, play_cold: float, seed: int = 0) -> tuple[View, View]:
    similar: Graph = neighbour_graph(torch.zeros(ITEMS, 1, dtype=torch.long), torch.ones(ITEMS, 1), ITEMS)
    items: Any = range(ITEMS)  # of which only the number counts here
    problem = Problem(items, pairs, pairs.strength, pairs.strength, similar)
    assert bool(problem.has_behaviour.all())
    return masked_views(problem, play_cold, torch.Generator().manual_seed(seed))


def test_no_pair_is_both_seen_and_predicted(pairs: TrainingPairs) -> None:
    for view in draw(pairs, play_cold=0.2):
        graphs = (view.around.view, view.around.purchase)
        for relation, graph in zip(RELATIONS, graphs, strict=True):
            shown = graph.as_sparse().tocoo()
            seen = set(zip(shown.row.tolist(), shown.col.tolist(), strict=True))
            wanted = view.targets[relation].tocoo()
            assert not seen & set(zip(wanted.row.tolist(), wanted.col.tolist(), strict=True))
            hidden = view.hidden[relation].tocoo()
            assert seen == set(zip(hidden.row.tolist(), hidden.col.tolist(), strict=True))


def test_every_pair_is_predicted_in_one_view_at_least_and_in_both_directions(pairs: TrainingPairs) -> None:
    views = draw(pairs, play_cold=0.2)
    for column, relation in enumerate(RELATIONS):
        predicted = views[0].targets[relation] + views[1].targets[relation]
        holds = pairs.strength[:, column] > 0
        a, b = pairs.a[holds].numpy().copy(), pairs.b[holds].numpy().copy()
        assert (predicted[a, b] > 0).all()
        assert (predicted[b, a] > 0).all()
        assert predicted.nnz == 2 * int(holds.sum())


def test_items_that_play_cold_are_seen_nowhere_and_predicted_everywhere(pairs: TrainingPairs) -> None:
    views = draw(pairs, play_cold=0.3)
    cold = views[0].around.has_item_vector.squeeze(1) == 0
    assert 0 < int(cold.sum()) < ITEMS
    for view in views:
        assert not view.around.degree[cold].any()
        wanted = view.targets["substitute"][np.flatnonzero(cold.numpy())]
        of_cold = (cold[pairs.a] | cold[pairs.b]) & (pairs.strength[:, 0] > 0)
        assert (wanted.nnz > 0) is bool(of_cold.any())


def test_views_change_with_the_random_stream_alone(pairs: TrainingPairs) -> None:
    def halves(seed: int) -> list[float]:
        return [float(view.targets["substitute"].sum()) for view in draw(pairs, 0.2, seed)]

    assert halves(1) == halves(1)
    assert halves(1) != halves(2)
