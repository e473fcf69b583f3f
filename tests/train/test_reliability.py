from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmsc_cli.model.features import Attributes
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.known import Catalogue
from mmsc_cli.train.reliability import PairEvidence, fit_reliability
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def catalogue(prepared: Workspace) -> Catalogue:
    items = read_items(prepared.path("items.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.sides, np.array(embeddings.mask))
    return Catalogue(features, np.ones(len(items), np.bool_), 10)


def gathered(catalogue: Catalogue, pairs: Pairs) -> PairEvidence:
    return PairEvidence(catalogue, pairs, catalogue.similar(np.ones(len(catalogue), np.bool_)).as_sparse())


def test_planted_noise_is_trusted_less_than_true_pairs(prepared: Workspace, catalogue: Catalogue) -> None:
    import pyarrow.parquet as pq

    pairs = Pairs.read(prepared.path("pairs.parquet")).of("train")
    evidence = gathered(catalogue, pairs)
    reliability = fit_reliability(evidence, pairs, None, seed=1).of(evidence, pairs)

    truth = pq.read_table(prepared.path("truth.parquet"))
    known = dict.fromkeys(zip(truth["a"].to_pylist(), truth["b"].to_pylist(), strict=True), True)
    is_true = np.array([(a, b) in known for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)])
    assert 0 < is_true.mean() < 1
    for column, relation in enumerate(RELATIONS):
        holds = pairs.holds(relation)
        assert roc_auc_score(is_true[holds], reliability[holds, column]) > 0.7


def test_the_evidence_for_a_pair_leaves_out_the_pair_itself(prepared: Workspace, catalogue: Catalogue) -> None:
    whole = Pairs.read(prepared.path("pairs.parquet")).of("train")
    # What neighbours, look-alikes and categories say of a pair does not change when it is taken away; degrees do,
    # by one at either end.
    row = int(np.argmax(whole.strength("substitute")))
    without = whole.select(np.arange(len(whole)) != row)
    a, b = whole.a[row : row + 1].astype(np.int64), whole.b[row : row + 1].astype(np.int64)
    holds = np.stack([whole.holds(relation)[row : row + 1] for relation in RELATIONS], axis=1)
    first = gathered(catalogue, whole).features(a, b, holds)
    second = gathered(catalogue, without).features(a, b)
    np.testing.assert_allclose(first[:, :7], second[:, :7], rtol=1e-5)


def test_the_order_of_pairs_does_not_matter(prepared: Workspace, catalogue: Catalogue) -> None:
    pairs = Pairs.read(prepared.path("pairs.parquet")).of("train")
    a, b = pairs.a[:500].astype(np.int64), pairs.b[:500].astype(np.int64)
    evidence, order = gathered(catalogue, pairs), np.random.default_rng(0).permutation(500)
    np.testing.assert_allclose(evidence.features(a, b)[order], evidence.features(a[order], b[order]), rtol=1e-6)


def test_walks_are_those_of_whole_matrix_products(prepared: Workspace, catalogue: Catalogue) -> None:
    pairs = Pairs.read(prepared.path("pairs.parquet")).of("train")
    a, b = pairs.a.astype(np.int64), pairs.b.astype(np.int64)
    view, purchase = ((pairs.adjacency(relation, len(catalogue)) > 0).toarray().astype(float) for relation in RELATIONS)
    similar = catalogue.similar(np.ones(len(catalogue), np.bool_)).as_sparse().toarray()
    rarity = [1 / np.sqrt(np.log(2 + matrix.sum(axis=0))) for matrix in (view, purchase)]
    mixed = (view * rarity[0] * rarity[1]) @ purchase
    expected = [
        (view * rarity[0] ** 2) @ view,
        (purchase * rarity[1] ** 2) @ purchase,
        mixed + mixed.T,
        *(10 * (similar @ matrix + matrix @ similar.T) for matrix in (view, purchase)),
    ]
    walks = gathered(catalogue, pairs).features(a, b)[:, :5]
    np.testing.assert_allclose(walks, np.stack([np.log1p(matrix[a, b]) for matrix in expected], axis=1), rtol=1e-4)
