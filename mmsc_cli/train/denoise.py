"""Fitting the edge reliabilities: observed pairs against chance, and LLM labels where there are any."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.model.category import category_paths
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator, torch_generator
from mmsc_cli.train.pairs import TrainingPairs
from mmsc_cli.train.reliability import EdgeReliability, PairEvidence
from mmsc_cli.train.supervision import Supervision

STEPS = 300
BATCH = 8_192
LEARNING_RATE = 0.01


def fit_reliability(
    network: EdgeReliability,
    evidence: PairEvidence,
    pairs: TrainingPairs,
    supervision: Supervision | None,
    seed: int,
    progress: Progress = SILENT,
) -> torch.Tensor:
    """Train the reliability network and return the reliabilities of the training pairs, (pairs, 2) in (0, 1).

    Chance pairs get strengths drawn from the observed ones, so that strength alone cannot tell them apart.
    """
    a, b = pairs.a.numpy(), pairs.b.numpy()
    observed = torch.from_numpy(evidence.features(a, b, (pairs.strength > 0).numpy()))
    chance = torch.from_numpy(evidence.features(*evidence.chance_pairs(len(a), numpy_generator(seed, "chance"))))
    network.standardise(observed)
    generator = torch_generator(seed, "denoise")
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    with torch.enable_grad(), progress.task("Denoising", STEPS) as task:
        for _ in range(STEPS):
            rows = torch.randint(len(observed), (min(BATCH, len(observed)),), generator=generator)
            others = torch.randint(len(chance), (len(rows),), generator=generator)
            holds = (pairs.strength[rows] > 0).float()
            loss = _contrast(network(observed[rows], pairs.strength[rows]), torch.ones_like(holds), holds)
            loss = loss + _contrast(network(chance[others], pairs.strength[rows]), torch.zeros_like(holds), holds)
            if supervision is not None and len(supervision.on_pairs):
                labelled = supervision.on_pairs
                logits = network(observed[labelled], pairs.strength[labelled])
                loss = loss + supervision.strength * _contrast(logits, supervision.believed, supervision.confidence)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            task.advance()
    with torch.no_grad():
        return torch.sigmoid(network(observed, pairs.strength))


def collect_evidence(
    items: ItemFeatures, semantic: torch.Tensor, similar: sparse.csr_array[Any], pairs: TrainingPairs
) -> PairEvidence:
    """Gather what `PairEvidence` compares, from training data alone."""
    count = len(items)
    adjacency: list[sparse.csr_array[Any]] = []
    a, b = pairs.a.numpy(), pairs.b.numpy()
    for column in range(2):
        strength = pairs.strength[:, column].numpy()
        keep = strength > 0
        adjacency.append(symmetric_matrix(a[keep], b[keep], strength[keep], count))
    sizes = np.diff(np.append(items.category_start.numpy(), len(items.category)))
    membership = sparse.csr_array(
        (
            np.repeat(1 / np.sqrt(sizes), sizes).astype(np.float32) * (items.category.numpy() > 0),
            items.category.numpy(),
            np.append(items.category_start.numpy(), len(items.category)),
        ),
        shape=(count, int(items.category.max()) + 1),
    )
    leaf = category_paths(items).max(axis=1)
    return PairEvidence((adjacency[0], adjacency[1]), semantic.numpy(), membership, items.brand.numpy(), similar, leaf)


def _contrast(logits: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, weight=weight)
