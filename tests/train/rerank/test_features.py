from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmsc_cli.model.features import Attributes, ItemFeatures
from mmsc_cli.model.graph import neighbour_graph
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.blend import FirstStage
from mmsc_cli.train.linear_branch import linear_rows
from mmsc_cli.train.rerank.features import CandidateEvidence
from mmsc_cli.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def catalogue(prepared: Workspace) -> tuple[Pairs, ItemFeatures]:
    items = read_items(prepared.path("items.parquet"))
    embeddings = Embeddings.open(prepared.path("embeddings"))
    features = Attributes.fit(items).features(items, embeddings.text, embeddings.image, np.array(embeddings.mask))
    return Pairs.read(prepared.path("pairs.parquet")), features


def gathered(pairs: Pairs, features: ItemFeatures) -> CandidateEvidence:
    count = len(features)
    semantic = semantic_vectors(features.text, features.image, features.present)
    found, likeness = nearest_items(semantic, semantic, torch.ones(count, dtype=torch.bool), 5, torch.arange(count))
    similar = neighbour_graph(found, likeness, count).as_sparse()
    adjacency = {relation: pairs.of("train").adjacency(relation, count) for relation in RELATIONS}
    linear = {relation: linear_rows(adjacency, relation, similar, count, keep=20) for relation in RELATIONS}
    draw = np.random.default_rng(0)
    vectors = {relation: draw.normal(size=(count, 4)).astype(np.float32) for relation in RELATIONS}
    weight = {relation: np.ones(count, np.float32) for relation in RELATIONS}
    return CandidateEvidence(pairs, features, similar, FirstStage(vectors, vectors, linear, weight))


def test_held_out_pairs_are_no_evidence(catalogue: tuple[Pairs, ItemFeatures]) -> None:
    pairs, features = catalogue
    queries, candidates = np.arange(10), np.random.default_rng(0).permutation(len(features))[:80].reshape(10, 8)
    whole = gathered(pairs, features).of(queries, candidates)
    blind = gathered(pairs.of("train"), features).of(queries, candidates)
    np.testing.assert_array_equal(whole, blind)


def test_partners_held_out_look_more_related_than_strangers(catalogue: tuple[Pairs, ItemFeatures]) -> None:
    pairs, features = catalogue
    valid = pairs.of("valid")
    evidence = gathered(pairs, features)
    strangers = np.random.default_rng(0).integers(0, len(features), len(valid))
    both = evidence.of(valid.a.astype(np.int64), np.stack([valid.b.astype(np.int64), strangers], axis=1))
    assert np.isfinite(both).all()
    # The walks through shared neighbours, within and across relations, stand after the looked-up linear scores.
    walks = both[:, :, 4:8].mean(axis=0)
    assert (walks[0] > walks[1]).all()


def test_a_query_without_behaviour_has_no_neighbours_to_share(catalogue: tuple[Pairs, ItemFeatures]) -> None:
    pairs, features = catalogue
    lonely = 0
    kept = replace(pairs, split=np.where((pairs.a == lonely) | (pairs.b == lonely), "test", pairs.split))
    found = gathered(kept, features).of(np.array([lonely]), np.arange(1, 30)[None, :])
    assert not found[0, :, 4:8].any()
