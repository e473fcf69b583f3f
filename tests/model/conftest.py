from __future__ import annotations

import pytest
import torch

from mmsc_cli.model.behaviour import Surroundings
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph, neighbour_graph, symmetric_graph
from mmsc_cli.model.mmsc import Mmsc, Shape

ITEMS = 12


@pytest.fixture
def features() -> ItemFeatures:
    random = torch.Generator().manual_seed(0)
    return ItemFeatures(
        text=torch.randn(ITEMS, 6, generator=random),
        image=torch.randn(ITEMS, 4, generator=random),
        joint=torch.zeros(ITEMS, 0),
        present=torch.ones(ITEMS, 2, dtype=torch.bool),
        category=torch.arange(ITEMS) % 3 + 1,
        category_start=torch.arange(ITEMS),
        brand=torch.arange(ITEMS) % 2 + 1,
        price=torch.stack([torch.randn(ITEMS, generator=random), torch.ones(ITEMS)], dim=1),
    )


@pytest.fixture
def similar() -> Graph:
    """Everybody's neighbours are items 0 and 1."""
    return neighbour_graph(torch.tensor([[0, 1]] * ITEMS), torch.ones(ITEMS, 2), ITEMS)


@pytest.fixture
def around(similar: Graph) -> Surroundings:
    """A ring of co-views and a chain of co-purchases over all items but the last, which nobody has met."""
    met = ITEMS - 1
    ring = torch.arange(met), (torch.arange(met) + 1) % met
    chain = torch.arange(met - 1), torch.arange(met - 1) + 1
    graphs = [symmetric_graph(a, b, torch.ones(len(a)), ITEMS) for a, b in (ring, chain)]
    degree = torch.ones(ITEMS, 2, dtype=torch.long)
    degree[-1] = 0
    shown = torch.ones(ITEMS, 1)
    shown[-1] = 0
    return Surroundings(graphs[0], graphs[1], similar, degree, shown)


@pytest.fixture
def model() -> Mmsc:
    torch.manual_seed(1)
    return Mmsc(Shape(ITEMS, text_dim=6, image_dim=4, categories=3, brands=2, dim=8)).eval()
