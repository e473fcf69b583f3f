"""A small index with everything in it, made by hand, so that every right answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.index.storage import Strings
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.relations import RELATIONS

ITEMS = 12
CATEGORIES = ["Home > Lamps", "Home > Pans", "Toys"]
# Item n scores -n as an answer to item 0, so that answers come in the order of ids unless something is left out.
CATEGORY = [1, 1, 1, 0, 0, 2, -1, 1, 0, 2, 2, 2]
PRICE = [100, 80, 79.99, 120, 121, np.nan, 100, 10, 100, 100, 100, 100]


def hand_made_tensors() -> dict[str, NDArray[Any]]:
    """One dimension, no linear branch but for one entry; items 0 and 1 are a known pair, and share item 2."""
    tensors: dict[str, NDArray[Any]] = {
        "known.indptr": np.array([0, 2, 4, 6, *[6] * (ITEMS - 3)]),
        "known.indices": np.array([1, 2, 0, 2, 0, 1], np.int32),
        "price": np.array(PRICE, np.float32),
        "category": np.array(CATEGORY, np.int32),
        "labels.indptr": np.array([0, 1, 2, *[2] * (ITEMS - 2)]),
        "labels.indices": np.array([1, 0], np.int32),
        "labels.probabilities": np.array([[0.1, 0.7, 0.2]] * 2, np.float32),
        "labels.model": np.zeros(2, np.int32),
        "gate": np.tile(np.array([0.5, 1.5], np.float16), (ITEMS, 4, 1)),
    }
    texts = {"ids": [f"I{n:02}" for n in range(ITEMS)], "titles": [f"item {n}" for n in range(ITEMS)]}
    for name, values in (texts | {"categories": CATEGORIES}).items():
        tensors[f"{name}.bytes"], tensors[f"{name}.offsets"] = Strings.pack(values)
    for relation in RELATIONS:
        tensors[f"known.strength.{relation}"] = np.array([1, 0.5, 1, 0.25, 0.5, 0.25], np.float32)
        tensors[f"known.reliability.{relation}"] = np.array([0.9, 0.8, 0.9, np.nan, 0.8, np.nan], np.float32)
        tensors[f"{relation}.query"] = np.ones((ITEMS, 1), np.float32)
        tensors[f"{relation}.key"] = -np.arange(ITEMS, dtype=np.float32)[:, None]
        tensors[f"{relation}.linear.indptr"] = np.array([0, 1, *[1] * (ITEMS - 1)])
        tensors[f"{relation}.linear.indices"] = np.array([1], np.int32)
        tensors[f"{relation}.linear.values"] = np.array([0.25], np.float32)
    return tensors


@pytest.fixture
def hand_made(tmp_path: Path) -> Recommender:
    """A recommender over the index, without a workspace around it."""
    (tmp_path / "index").mkdir()
    write_index(tmp_path / "index", hand_made_tensors(), {"label_models": ["judge"], "channels": ["item", "view"]})
    return Recommender(Index.open(tmp_path / "index"), tmp_path)
