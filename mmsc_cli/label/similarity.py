"""Which items read alike (TF-IDF over title, brand and category), and which look alike (image vectors)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from sklearn import config_context
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

MEMORY_MIB = 128
PAIRS_AT_A_TIME = 100_000
ITEMS_AT_A_TIME, QUERIES_AT_A_TIME = 16_384, 512


def text_vectors(items: pa.Table) -> sparse.csr_matrix[Any] | None:
    """TF-IDF vectors, (items, words), unit rows or empty; None where there is no text in the whole catalogue.

    Words that stand in more than a twentieth of a large catalogue say nothing about likeness and are left
    out, which also keeps a search from comparing everything with everything.
    """
    columns = (items[name].to_pylist() for name in ("title", "brand", "category"))
    texts = [" ".join((title, brand, *category)) for title, brand, category in zip(*columns, strict=True)]
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, max_df=max(1_000, len(texts) // 20))
    try:
        vectors: sparse.csr_matrix[Any] = vectorizer.fit_transform(texts)
    except ValueError:
        return None
    return vectors


def pair_similarity(vectors: sparse.csr_matrix[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine of each pair of item rows, shape (pairs,); 1 where one has no text, as nothing can be said of it."""
    similarity = np.ones(len(a), np.float32)
    says_something = np.diff(vectors.indptr) > 0
    for start in range(0, len(a), PAIRS_AT_A_TIME):
        part = slice(start, start + PAIRS_AT_A_TIME)
        products = np.asarray(vectors[a[part]].multiply(vectors[b[part]]).sum(axis=1), dtype=np.float32).ravel()
        similarity[part] = np.where(says_something[a[part]] & says_something[b[part]], products, 1)
    return similarity


def similar_texts(
    vectors: sparse.csr_matrix[Any], queries: NDArray[np.int64], neighbours: int
) -> sparse.csr_array[Any]:
    """Find the items most similar in text to some of them.

    Args:
        vectors: of `text_vectors`.
        queries: item rows, shape (queries,).
        neighbours: how many similar items to look for.

    Returns:
        (queries, items) cosine similarities, at most `neighbours` per row, above 0, never the item itself.
    """
    wanted = min(neighbours + 1, vectors.shape[0])
    if not len(queries):
        return _as_matrix(np.empty((0, 1)), np.empty((0, 1), np.int64), queries, vectors.shape[0])
    with config_context(working_memory=MEMORY_MIB):
        search = NearestNeighbors(n_neighbors=wanted, metric="cosine", algorithm="brute").fit(vectors)
        distances, columns = search.kneighbors(vectors[queries])
    return _as_matrix(1 - distances, columns, queries, vectors.shape[0])


def similar_images(vectors: NDArray[np.float16], queries: NDArray[np.int64], neighbours: int) -> sparse.csr_array[Any]:
    """The same by image, for memory-mapped unit rows of shape (items, width); zero rows are similar to nothing."""
    items = len(vectors)
    wanted = min(neighbours + 1, items)
    best = np.full((len(queries), 0), -np.inf, np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for start in range(0, items, ITEMS_AT_A_TIME):
        block = np.asarray(vectors[start : start + ITEMS_AT_A_TIME], np.float32).T
        found = [
            _greatest(np.asarray(vectors[part], np.float32) @ block, wanted)
            for part in np.array_split(queries, max(1, len(queries) // QUERIES_AT_A_TIME))
        ]
        best = np.concatenate([best, np.concatenate([values for values, _ in found])], axis=1)
        rows = np.concatenate([rows, start + np.concatenate([places for _, places in found])], axis=1)
        best, places = _greatest(best, wanted)
        rows = np.take_along_axis(rows, places, axis=1)
    return _as_matrix(best, rows, queries, items)


def _greatest(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `count` greatest values of each row, in no order, and their columns."""
    columns = np.argpartition(-values, min(count, values.shape[1]) - 1, axis=1)[:, :count]
    return np.take_along_axis(values, columns, axis=1), columns


def _as_matrix(
    similarity: NDArray[Any], columns: NDArray[Any], queries: NDArray[np.int64], items: int
) -> sparse.csr_array[Any]:
    rows = np.repeat(np.arange(len(queries)), similarity.shape[1])
    values, columns = similarity.astype(np.float32).ravel(), columns.ravel()
    keep = (values > 1e-6) & (columns != queries[rows])
    found = sparse.coo_array((values[keep], (rows[keep], columns[keep])), shape=(len(queries), items))
    return found.tocsr()
