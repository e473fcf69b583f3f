"""Weights of words in texts (TF-IDF), as scikit-learn computes them. To load that costs more than a night of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


def term_weights(
    texts: Sequence[Sequence[str]], columns: Mapping[str, int], idf: NDArray[np.float32]
) -> sparse.csr_matrix[Any]:
    """The weights of words, (texts, terms): 1 + ln(count) times `idf`, in rows of length one.

    Args:
        texts: the words of each.
        columns: the column of each term; other words are passed over.
        idf: how rare each term is, (terms,).
    """
    row, column, counts = _counts(texts, columns)
    weights = (np.log(counts.astype(np.float32)) + np.float32(1)) * idf[column]
    lengths = np.sqrt(np.bincount(row, weights.astype(np.float64) ** 2, minlength=len(texts)))
    values = (weights / lengths[row]).astype(np.float32)
    return sparse.csr_matrix((values, (row, column)), shape=(len(texts), len(columns)))


def inverse_frequencies(texts: Sequence[Sequence[str]], columns: Mapping[str, int]) -> NDArray[np.float32]:
    """How rare each term is among texts, given by their words, (terms,): 1 + ln((1 + texts) / (1 + texts with it))."""
    _, column, _ = _counts(texts, columns)
    with_term = np.bincount(column, minlength=len(columns)).astype(np.float32)
    idf: NDArray[np.float32] = np.log(np.float32(1 + len(texts)) / (1 + with_term)) + np.float32(1)
    return idf


def _counts(
    texts: Sequence[Sequence[str]], columns: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Text, term and count of every term of a text, (entries,) each, in this order."""
    found = [[columns[word] for word in words if word in columns] for words in texts]
    row = np.repeat(np.arange(len(found)), [len(terms) for terms in found])
    column = np.fromiter(chain.from_iterable(found), np.int64, len(row))
    width = max(len(columns), 1)
    entries, counts = np.unique(row * width + column, return_counts=True)
    return *np.divmod(entries, width), counts
