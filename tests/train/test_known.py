from __future__ import annotations

import numpy as np

from mmsc_cli.model.features import Attributes
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items
from mmsc_cli.train.known import Catalogue
from mmsc_cli.workspace.workspace import Workspace


def test_candidates_that_join_later_are_found_like_those_known_from_the_start(prepared: Workspace) -> None:
    items = read_items(prepared.path("items.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.sides, np.array(embeddings.mask))
    everyone = np.ones(len(items), np.bool_)
    first = np.random.default_rng(0).random(len(items)) < 0.8

    widened = Catalogue(features, first, 10).widened(everyone)

    for allowed in (everyone, first):
        found = widened.similar(allowed).as_sparse().toarray()
        expected = Catalogue(features, everyone, 10).similar(allowed).as_sparse().toarray()
        # Equally similar items may stand in for one another.
        np.testing.assert_allclose(np.sort(found, axis=1), np.sort(expected, axis=1), atol=1e-6)
