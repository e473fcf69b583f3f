"""Which product types go with a type and which replace it: hundreds of questions for millions of pairs of items.

A product type is a category path of the catalogue. An annotator without a language model proposes what pairs of items
show; a language model names types, which are matched to those of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from mmsc_cli.arrays.rows import divide
from mmsc_cli.arrays.sparse_rows import both_directions
from mmsc_cli.arrays.top import rank_in_group
from mmsc_cli.tables.proposals import PROPOSAL_SCHEMA
from mmsc_cli.tables.relations import RELATIONS, Relation

MOST_PROPOSED = 8  # types for one type and relation
MOST_EXAMPLES = 3  # titles that show what a type is
LEAST_WEIGHT = 0.1
PRIOR_PAIRS = 3.0  # pairs that two types must have beyond chance to count for one half
LEAST_SIMILARITY = 0.4  # cosine of the character n-grams of two names below which they are different types
# From product type, to product type, relation, weight from 0 to 1.
Proposal = tuple[int, int, Relation, float]


class RelatedPairs(Protocol):
    """Pairs of item rows, each end of shape (pairs,), and which of them hold a relation."""

    @property
    def a(self) -> NDArray[np.int32]:
        """One end."""

    @property
    def b(self) -> NDArray[np.int32]:
        """The other end."""

    def holds(self, relation: Relation) -> NDArray[np.bool_]:
        """Whether each pair holds the relation, shape (pairs,)."""


@dataclass(frozen=True)
class ProductTypes:
    """The category paths of a catalogue, the most frequent first.

    Attributes:
        paths: shape (types,).
        of_item: number of each item's type, -1 without a category, shape (n_items,).
        examples: titles of some items of each type.
    """

    paths: list[tuple[str, ...]]
    of_item: NDArray[np.int64]
    examples: list[list[str]]

    @classmethod
    def of_catalogue(cls, item_table: pa.Table) -> ProductTypes:
        """Collect the types of the item table."""
        categories = [tuple(path) for path in item_table["category"].to_pylist()]
        counted: dict[tuple[str, ...], list[int]] = {}
        for row, path in enumerate(categories):
            if path:
                counted.setdefault(path, []).append(row)
        paths = sorted(counted, key=lambda path: (-len(counted[path]), path))
        number = {path: position for position, path in enumerate(paths)}
        titles = item_table["title"].to_pylist()
        return cls(
            paths,
            np.array([number.get(path, -1) for path in categories], np.int64),
            [[titles[row] for row in counted[path][:MOST_EXAMPLES]] for path in paths],
        )

    def __len__(self) -> int:
        return len(self.paths)


def proposed_by_pairs(types: ProductTypes, pairs: RelatedPairs) -> list[Proposal]:
    """Propose what pairs of items show, such as those of the training behaviour.

    weight = share of the relation among the pairs of two types * n / (n + expected n by chance + PRIOR_PAIRS)

    Args:
        types: the product types.
        pairs: pairs of items and the relations that they hold.
    """
    if not len(types):
        return []
    shape = (len(types), len(types))
    counted: dict[Relation, sparse.csr_array[Any]] = {}
    for relation in RELATIONS:
        held = pairs.holds(relation)
        a, b = types.of_item[pairs.a[held]], types.of_item[pairs.b[held]]
        known = (a >= 0) & (b >= 0)
        coordinates = both_directions(a[known], b[known])
        counted[relation] = sparse.coo_array((np.ones(2 * int(known.sum())), coordinates), shape=shape).tocsr()
    together = sparse.csr_array(counted["substitute"] + counted["complement"])
    degree = np.asarray(together.sum(axis=1)).ravel()
    entries = together.tocoo()
    source, target, observed = entries.row, entries.col, entries.data
    expected = divide(degree[source] * degree[target], degree.sum())
    related = observed / (observed + expected + PRIOR_PAIRS)
    proposals: list[Proposal] = []
    for relation in RELATIONS:
        share = (np.asarray(counted[relation][source, target]).ravel() + 1) / (observed + 2)
        weight = related * share
        order = np.lexsort((target, -weight, source))
        order = order[(rank_in_group(source[order]) < MOST_PROPOSED) & (weight[order] >= LEAST_WEIGHT)]
        proposals += [(int(source[row]), int(target[row]), relation, float(weight[row])) for row in order]
    return proposals


def matched_types(types: ProductTypes, named: Sequence[str]) -> list[tuple[int, float] | None]:
    """The catalogue's type that is most like each name, and how like it is; None where none is like it.

    A name is compared with whole paths and with their last level, by its words and their beginnings.
    """
    if not named or not len(types):
        return [None] * len(named)
    texts = [" ".join(path) for path in types.paths] + [path[-1] for path in types.paths]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32)
    vectors = vectorizer.fit_transform(texts)
    similarity = (vectorizer.transform(named) @ vectors.T).toarray().reshape(len(named), 2, len(types)).max(axis=1)
    best = similarity.argmax(axis=1)
    best_similarity = similarity[np.arange(len(named)), best]
    return [
        (int(number), float(value)) if value >= LEAST_SIMILARITY else None
        for number, value in zip(best, best_similarity, strict=True)
    ]


def as_table(types: ProductTypes, proposals: Iterable[Proposal], annotator: str) -> pa.Table:
    """Proposals as a table of PROPOSAL_SCHEMA; of repeated ones the greatest weight counts."""
    best: dict[tuple[int, int, Relation], float] = {}
    for source, target, relation, weight in proposals:
        best[source, target, relation] = max(weight, best.get((source, target, relation), 0.0))
    rows = [
        {
            "category": list(types.paths[source]),
            "other": list(types.paths[target]),
            "relation": relation,
            "weight": weight,
            "model": annotator,
        }
        for (source, target, relation), weight in sorted(best.items())
    ]
    return pa.Table.from_pylist(rows, schema=PROPOSAL_SCHEMA)
