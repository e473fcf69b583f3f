"""Which items read alike: TF-IDF over title, brand and category, for the items that have least behaviour."""

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


def similar_items(items: pa.Table, queries: NDArray[np.int64], neighbours: int) -> sparse.csr_array[Any]:
    """Find the items most similar in text to some of them.

    Words that stand in more than a twentieth of a large catalogue say nothing about likeness and are left
    out, which also keeps the search from comparing everything with everything.

    Args:
        items: the item table.
        queries: item rows, shape (queries,).
        neighbours: how many similar items to look for.

    Returns:
        (queries, items) cosine similarities, at most `neighbours` per row, above 0, never the item itself.
    """
    vectors = _text_vectors(items)
    shape = (len(queries), items.num_rows)
    wanted = min(neighbours + 1, items.num_rows)
    if vectors is None or not len(queries):
        return sparse.csr_array(shape, dtype=np.float32)
    with config_context(working_memory=MEMORY_MIB):
        search = NearestNeighbors(n_neighbors=wanted, metric="cosine", algorithm="brute").fit(vectors)
        distances, columns = search.kneighbors(vectors[queries])
    rows = np.repeat(np.arange(len(queries)), wanted)
    similarity = (1 - distances).astype(np.float32).ravel()
    keep = (similarity > 1e-6) & (columns.ravel() != queries[rows])
    found = sparse.coo_array((similarity[keep], (rows[keep], columns.ravel()[keep])), shape=shape)
    return found.tocsr()


def _text_vectors(items: pa.Table) -> sparse.csr_matrix[Any] | None:
    columns = (items[name].to_pylist() for name in ("title", "brand", "category"))
    texts = [" ".join((title, brand, *category)) for title, brand, category in zip(*columns, strict=True)]
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, max_df=max(1_000, len(texts) // 20))
    try:
        vectors: sparse.csr_matrix[Any] = vectorizer.fit_transform(texts)
    except ValueError:  # no text in the whole catalogue
        return None
    return vectors
