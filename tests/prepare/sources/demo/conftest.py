"""A small demo catalogue, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.prepare.settings import DemoSource
from mmsc_cli.prepare.sources.demo.generate import DemoCatalogue, generate_demo
from mmsc_cli.prepare.sources.demo.stock import Stock, stock_up
from mmsc_cli.prepare.sources.demo.true_pairs import TruePairs, true_relations

ITEMS = 1_000
SEED = 3


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of `catalogue` lie."""
    return tmp_path_factory.mktemp("demo") / "images"


@pytest.fixture(scope="session")
def catalogue(image_folder: Path) -> DemoCatalogue:
    """1,000 items with pictures."""
    return generate_demo(DemoSource(kind="demo", items=ITEMS), SEED, image_folder)


@pytest.fixture(scope="session")
def stock() -> Stock:
    """The facts behind `catalogue`."""
    return stock_up(ITEMS, SEED)


@pytest.fixture(scope="session")
def truth(stock: Stock) -> TruePairs:
    """The true relations of `stock`."""
    return true_relations(stock)
