"""Text of the classic encoder: TF-IDF reduced by a truncated SVD (latent semantic analysis).

Source: Deerwester et al., "Indexing by latent semantic analysis", JASIS 41 (1990). The axes are weighted by
the square root of their singular values instead of the values themselves (Bullinaria & Levy, "Extracting
semantic representations from word co-occurrence statistics", Behavior Research Methods 44 (2012)), which gives rare
words more weight.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.rows import unit_rows
from mmsc_cli.arrays.term_weights import term_weights

MAX_TERMS = 100_000
SMALL_CATALOGUE = 1_000
_AXIS_POWER = 0.5
_WORD = re.compile(r"\b\w+\b")


class LatentSemanticText:
    """Weighted words, projected on the main axes of the catalogue they were fitted on."""

    def __init__(self, terms: list[str], idf: NDArray[np.float32], projection: NDArray[np.float32]) -> None:
        """Take the fitted `idf`, (terms,), and `projection`, (terms, dim)."""
        self.terms = terms
        self.idf = idf
        self.projection = projection
        self.dim = int(projection.shape[1])
        self._columns = {term: column for column, term in enumerate(terms)}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, (texts, dim); zero where no word of a text is known."""
        if not self.terms:
            return np.zeros((len(texts), self.dim), np.float32)
        return unit_rows(term_weights([_words(text) for text in texts], self._columns, self.idf) @ self.projection)


def fit_text(texts: Sequence[str], dim: int, seed: int) -> LatentSemanticText:
    """Fit on non-empty texts. The width is `dim`, or the rank of the TF-IDF matrix if that is less.

    Words that occur once connect no two items and are left out, except in a catalogue of less than 1,000 texts. If no
    word is left, the width is `dim` and every vector is zero.

    Args:
        texts: one per item.
        dim: the width of a vector.
        seed: of the randomised SVD, below 2**32.
    """
    from sklearn.decomposition import TruncatedSVD  # noqa: PLC0415  slow to import, and nights that fit nothing need it not
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415  as above

    for min_df in (2, 1) if len(texts) >= SMALL_CATALOGUE else (1,):
        vectorizer = TfidfVectorizer(
            analyzer=_words, sublinear_tf=True, dtype=np.float32, min_df=min_df, max_features=MAX_TERMS
        )
        try:
            weights = vectorizer.fit_transform(texts)
            break
        except ValueError:  # no term is left
            continue
    else:
        return LatentSemanticText([], np.zeros(0, np.float32), np.zeros((0, dim), np.float32))
    if weights.shape[1] == 1:  # scikit-learn decomposes no single column
        projection = np.ones((1, 1))
    else:
        svd = TruncatedSVD(min(dim, *weights.shape), n_iter=5, random_state=seed).fit(weights)
        strength = svd.singular_values_
        kept = strength > strength.max() * 1e-5
        projection = svd.components_[kept].T * strength[kept] ** (_AXIS_POWER - 1)
    return LatentSemanticText(
        vectorizer.get_feature_names_out().tolist(),
        vectorizer.idf_.astype(np.float32),
        np.ascontiguousarray(projection, dtype=np.float32),
    )


def _words(text: str) -> list[str]:
    """The words of a text, in lower case and without accents."""
    # Single words were better than single words and pairs at every width up to 512 (Amazon Beauty: substitute NDCG@10
    # .283 against .270 at 512). One-letter words stay: they are sizes and vitamins.
    lower = text.lower()
    if not lower.isascii():
        lower = "".join(sign for sign in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(sign))
    return _WORD.findall(lower)
