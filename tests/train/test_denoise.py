from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.metrics import roc_auc_score

from mmsc_cli.model.features import Attributes
from mmsc_cli.model.graph import neighbour_graph
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.train.data import TrainingPairs
from mmsc_cli.train.denoise import EdgeReliability, collect_evidence, fit_reliability
from mmsc_cli.workspace.workspace import Workspace


def nearest(semantic: torch.Tensor) -> sparse.csr_array[Any]:
    items = len(semantic)
    found, similarity = nearest_items(semantic, semantic, torch.ones(items, dtype=torch.bool), 10, torch.arange(items))
    return neighbour_graph(found, similarity, items).as_sparse()


def test_planted_noise_is_trusted_less_than_true_pairs(prepared: Workspace) -> None:
    import pyarrow.parquet as pq

    items, table = read_items(prepared.path("items.parquet")), Pairs.read(prepared.path("pairs.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.text, embeddings.image, np.array(embeddings.mask))
    pairs = TrainingPairs.of(table)
    semantic = semantic_vectors(features.text, features.image, features.present)
    evidence = collect_evidence(features, semantic, nearest(semantic), pairs)
    torch.manual_seed(0)
    reliability = fit_reliability(EdgeReliability(), evidence, pairs, None, seed=1).numpy()

    truth = pq.read_table(prepared.path("truth.parquet"))
    known = dict.fromkeys(zip(truth["a"].to_pylist(), truth["b"].to_pylist(), strict=True), True)
    is_true = np.array([(a, b) in known for a, b in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)])
    assert 0 < is_true.mean() < 1
    for column in range(2):
        holds = pairs.strength[:, column].numpy() > 0
        assert roc_auc_score(is_true[holds], reliability[holds, column]) > 0.7


def test_the_evidence_for_a_pair_leaves_out_the_pair_itself(prepared: Workspace) -> None:
    items, table = read_items(prepared.path("items.parquet")), Pairs.read(prepared.path("pairs.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.text, embeddings.image, np.array(embeddings.mask))
    semantic = semantic_vectors(features.text, features.image, features.present)
    whole = TrainingPairs.of(table)
    # What neighbours, look-alikes and categories say of a pair does not change when it is taken away; degrees do,
    # by one at either end.
    row = int(torch.argmax(whole.strength[:, 0]))
    rest = torch.arange(len(whole)) != row
    without = TrainingPairs(whole.a[rest], whole.b[rest], whole.strength[rest])
    ends = whole.a[row : row + 1].numpy(), whole.b[row : row + 1].numpy()
    similar = nearest(semantic)
    holds = (whole.strength[row : row + 1] > 0).numpy()
    first = collect_evidence(features, semantic, similar, whole).features(*ends, holds)
    second = collect_evidence(features, semantic, similar, without).features(*ends)
    np.testing.assert_allclose(first[:, :7], second[:, :7], rtol=1e-5)
