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

from mmsc_cli.arrays.sparse_rows import row_products
from mmsc_cli.arrays.top import top_columns

MEMORY_MIB = 128
PAIRS_PER_BLOCK = 100_000
ITEMS_PER_BLOCK, QUERIES_PER_BLOCK = 16_384, 512


def text_vectors(item_table: pa.Table) -> sparse.csr_matrix[Any] | None:
    """TF-IDF vectors, (n_items, words), unit rows or empty; None where the whole catalogue has no text.

    Words in more than a twentieth of a large catalogue say nothing about likeness and are left out, which also keeps
    a search from comparing everything with everything.
    """
    columns = (item_table[name].to_pylist() for name in ("title", "brand", "category"))
    texts = [" ".join((title, brand, *category)) for title, brand, category in zip(*columns, strict=True)]
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, max_df=max(1_000, len(texts) // 20))
    try:
        vectors: sparse.csr_matrix[Any] = vectorizer.fit_transform(texts)
    except ValueError:
        return None
    return vectors


def pair_similarity(vectors: sparse.csr_matrix[Any], a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine of each pair of item rows, shape (pairs,); 1 where an item has no text, as nothing is known of it."""
    similarity = np.ones(len(a), np.float32)
    has_text = np.diff(vectors.indptr) > 0
    for start in range(0, len(a), PAIRS_PER_BLOCK):
        block = slice(start, start + PAIRS_PER_BLOCK)
        products = row_products(vectors[a[block]], vectors[b[block]])
        similarity[block] = np.where(has_text[a[block]] & has_text[b[block]], products, 1)
    return similarity


def similar_texts(
    vectors: sparse.csr_matrix[Any], queries: NDArray[np.int64], neighbours: int
) -> sparse.csr_array[Any]:
    """Find the items most similar in text to the queries.

    Args:
        vectors: of `text_vectors`.
        queries: item rows, shape (queries,).
        neighbours: number of similar items sought for each.

    Returns:
        (queries, n_items) cosine similarities, at most `neighbours` per row, above 0, never the item itself.
    """
    n_items = vectors.shape[0]
    if not len(queries):
        return sparse.csr_array(np.empty((0, n_items), np.float32))
    with config_context(working_memory=MEMORY_MIB):
        search = NearestNeighbors(n_neighbors=min(neighbours + 1, n_items), metric="cosine", algorithm="brute")
        distances, columns = search.fit(vectors).kneighbors(vectors[queries])
    return _as_matrix(1 - distances, columns, queries, n_items)


def similar_images(vectors: NDArray[np.float16], queries: NDArray[np.int64], neighbours: int) -> sparse.csr_array[Any]:
    """The same by image, for memory-mapped unit rows of shape (n_items, width); zero rows are similar to nothing."""
    n_items = len(vectors)
    wanted = min(neighbours + 1, n_items)
    best = np.full((len(queries), 0), -np.inf, np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for start in range(0, n_items, ITEMS_PER_BLOCK):
        block = np.asarray(vectors[start : start + ITEMS_PER_BLOCK], np.float32).T
        for_queries = []
        for asked in np.array_split(queries, max(1, len(queries) // QUERIES_PER_BLOCK)):
            scores = np.asarray(vectors[asked], np.float32) @ block
            columns = top_columns(scores, wanted)
            for_queries.append((np.take_along_axis(scores, columns, axis=1), start + columns))
        # The best of the blocks before, then those of this one.
        best = np.hstack([best, np.concatenate([scores for scores, _ in for_queries])])
        rows = np.hstack([rows, np.concatenate([columns for _, columns in for_queries])])
        columns = top_columns(best, wanted)
        best, rows = np.take_along_axis(best, columns, axis=1), np.take_along_axis(rows, columns, axis=1)
    return _as_matrix(best, rows, queries, n_items)


def _as_matrix(
    similarity: NDArray[Any], columns: NDArray[Any], queries: NDArray[np.int64], n_items: int
) -> sparse.csr_array[Any]:
    """Matrix (queries, n_items) of (queries, neighbours) values and their columns, without the item itself."""
    rows = np.repeat(np.arange(len(queries)), similarity.shape[1])
    values, columns = similarity.astype(np.float32).ravel(), columns.ravel()
    keep = (values > 1e-6) & (columns != queries[rows])
    return sparse.coo_array((values[keep], (rows[keep], columns[keep])), shape=(len(queries), n_items)).tocsr()
