from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.model.category import category_paths
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.content_branch import Description, content_rows
from mmsc_cli.train.linear_branch import Sparse

ITEMS = 60


def described(category: np.ndarray, text: np.ndarray | None = None) -> Description:
    items = ItemFeatures(
        text=torch.zeros(ITEMS, 3) if text is None else torch.from_numpy(text),
        image=torch.zeros(ITEMS, 2, dtype=torch.float16),
        joint=torch.zeros(ITEMS, 0),
        present=torch.zeros(ITEMS, 2, dtype=torch.bool),
        category=torch.from_numpy(category),
        category_start=torch.arange(ITEMS),
        brand=torch.zeros(ITEMS, dtype=torch.long),
        price=torch.zeros(ITEMS, 2),
    )
    return Description(items, category_paths(items))


def shop() -> tuple[np.ndarray, dict[Relation, Sparse], np.ndarray]:
    """Three categories: items of one are substitutes, those of the first two are complements; ten items are cold."""
    category = np.arange(ITEMS) % 3 + 1
    a, b = np.triu_indices(ITEMS, 1)
    warm = np.arange(ITEMS) < ITEMS - 10
    seen = warm[a] & warm[b] & (np.random.default_rng(0).random(len(a)) < 0.5)
    alike = category[a] == category[b]
    adjacency = {
        relation: symmetric_matrix(a[holds], b[holds], np.ones(int(holds.sum()), np.float32), ITEMS)
        for relation, holds in zip(
            RELATIONS, (seen & alike, seen & ~alike & (category[a] + category[b] == 3)), strict=True
        )
    }
    return category, adjacency, warm


def test_items_without_behaviour_get_the_partners_of_their_kind() -> None:
    category, adjacency, warm = shop()
    rows = content_rows(described(category), adjacency, warm, keep=8)
    for cold in np.flatnonzero(~warm):
        substitutes = rows["substitute"].columns[cold]
        assert (category[substitutes[substitutes >= 0]] == category[cold]).all()
        assert warm[substitutes[substitutes >= 0]].all()
    # Categories 1 and 2 go together: nothing alike is a complement of either.
    first_complements = rows["complement"].columns[np.flatnonzero(~warm & (category == 1)), 0]
    assert (category[first_complements] == 2).all()


def test_items_with_behaviour_get_no_answers_by_content() -> None:
    category, adjacency, warm = shop()
    for rows in content_rows(described(category), adjacency, warm, keep=8).values():
        assert (rows.columns[warm] == -1).all()
        assert not rows.values[warm].any()


def test_answers_do_not_depend_on_the_length_of_an_encoders_vectors() -> None:
    _, adjacency, warm = shop()
    text = np.random.default_rng(1).standard_normal((ITEMS, 3)).astype(np.float32)
    nothing = np.zeros(ITEMS, np.int64)
    short, long = (content_rows(described(nothing, scale * text), adjacency, warm, keep=8) for scale in (0.01, 100))
    np.testing.assert_array_equal(short["substitute"].columns, long["substitute"].columns)


def test_a_catalogue_without_content_or_without_cold_items_is_no_error() -> None:
    _, adjacency, _ = shop()
    nothing = described(np.zeros(ITEMS, np.int64))
    assert (content_rows(nothing, adjacency, np.ones(ITEMS, np.bool_), keep=100)["substitute"].columns == -1).all()
    empty: dict[Relation, Sparse] = {
        relation: sparse.csr_array(np.zeros((ITEMS, ITEMS), np.float32)) for relation in RELATIONS
    }
    assert (content_rows(nothing, empty, np.zeros(ITEMS, np.bool_), keep=5)["complement"].columns == -1).all()
