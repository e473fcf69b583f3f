from __future__ import annotations

import re

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mmsc_cli.arrays.term_weights import inverse_frequencies, term_weights

TEXTS = ["red red lamp", "lamp for a desk", "", "blue desk desk desk", "étagère bleue, 1,2 m"]


def test_weights_are_those_of_scikit_learn() -> None:
    theirs = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, token_pattern=r"\b\w+\b")
    wanted = theirs.fit_transform(TEXTS)
    columns = {term: column for column, term in enumerate(theirs.get_feature_names_out())}
    words = [re.findall(r"\w+", text) for text in TEXTS]
    idf = inverse_frequencies(words, columns)
    np.testing.assert_array_equal(idf, theirs.idf_)
    np.testing.assert_array_equal(term_weights(words, columns, idf).toarray(), wanted.toarray())


def test_unknown_words_are_passed_over() -> None:
    weights = term_weights([["red", "new"], ["new"]], {"red": 0, "lamp": 1}, np.ones(2, np.float32))
    np.testing.assert_array_equal(weights.toarray(), [[1, 0], [0, 0]])


def test_a_catalogue_without_words_has_no_weights() -> None:
    assert inverse_frequencies([[], []], {}).shape == (0,)
    assert term_weights([[], []], {}, np.zeros(0, np.float32)).shape == (2, 0)
