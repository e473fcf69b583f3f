"""The model's lists as a shopper sees them: how far both relations overlap, and how near the query they stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.top import top_columns
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import RelationProtocol
from mmsc_cli.metrics.retrieval import CUTOFF
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import Relation

QUERIES = 1_000
CHUNK = 100


def describe_lists(
    context: EvaluationContext, scorer: Scorer, protocols: Mapping[Relation, RelationProtocol]
) -> dict[str, Any]:
    """Look at the first ten answers of warm items in both relations, as they are scored; `infer` keeps them apart.

    Returns:
        `queries`, at most QUERIES drawn by seed; `overlap`, the fraction of a query's answers that both lists have;
        and by relation `coverage`, the fraction of warm items that any list has, `same_category`, the fraction of
        answers in the query's own leaf category, and `same_category_held_out`, that fraction of held-out pairs.
        A fraction is None where there is nothing to count; a relation without any pair is left out.
    """
    warm = np.flatnonzero(context.item_split == "warm")
    generator = numpy_generator(context.seed, "evaluate/lists")
    queries = np.sort(generator.choice(warm, min(QUERIES, len(warm)), replace=False))
    leaf_numbers: dict[tuple[str, ...], int] = {}
    # Numbers of the leaf categories, (items,); -1 where there is none.
    numbers = (leaf_numbers.setdefault(tuple(path), len(leaf_numbers)) if path else -1 for path in context.category)
    leaf = np.fromiter(numbers, np.int64, context.n_items)
    shown = {
        relation: _first_answers(scorer, protocol, queries)
        for relation, protocol in protocols.items()
        if context.pairs.holds(relation).any()
    }
    relations = {}
    for relation, answers in shown.items():
        asked = protocols[relation].queries
        relations[relation] = {
            "coverage": _fraction(np.isin(warm, answers.indices).sum(), len(warm)),
            "same_category": _within(leaf, queries, answers),
            "same_category_held_out": _within(leaf, asked, protocols[relation].judgements["plain"].positives[asked]),
        }
    overlap = None
    if len(shown) == 2:
        first, second = shown.values()
        overlap = _fraction(first.multiply(second).nnz, (first.nnz + second.nnz) / 2)
    return {"queries": len(queries), "overlap": overlap, "relations": relations}


def _first_answers(scorer: Scorer, protocol: RelationProtocol, queries: NDArray[np.int64]) -> sparse.csr_array[Any]:
    """The first answers of each query, boolean (queries, items); known pairs are masked."""
    masked = protocol.judgements["plain"].masked
    chunks = []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        scores = np.array(scorer.scores(protocol.relation, chunk), np.float32)
        scores[masked[chunk].nonzero()] = -np.inf
        columns = top_columns(scores, CUTOFF)
        answered = np.take_along_axis(scores, columns, axis=1) > -np.inf
        rows = np.repeat(np.arange(len(chunk)), answered.sum(axis=1))
        entries = (np.ones(len(rows), np.bool_), (rows, columns[answered]))
        chunks.append(sparse.coo_array(entries, shape=scores.shape).tocsr())
    return sparse.csr_array(sparse.vstack(chunks)) if chunks else sparse.csr_array(masked[queries])


def _within(leaf: NDArray[np.int64], queries: NDArray[np.int64], partners: sparse.csr_array[Any]) -> float | None:
    """Fraction of the partners (queries, items) in the query's own leaf category, among queries that have one."""
    row, column = partners.nonzero()
    of_query = leaf[queries[row]]
    known = of_query >= 0
    return _fraction(int((leaf[column] == of_query)[known].sum()), int(known.sum()))


def _fraction(count: float, total: float) -> float | None:
    return float(count / total) if total else None
