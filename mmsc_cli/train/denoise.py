"""Denoising: how far each behaviour pair can be believed, learned without labels.

Ours: a small network sees what the *rest* of the data says of a pair (shared neighbours and partners of look-alikes,
which never include the pair itself; how often their categories are related, the pair itself not counted; likeness of
the ends; strengths) and learns to tell observed pairs from pairs drawn at random by popularity.
A pair that looks like chance (a bestseller in every basket, an accidental view) gets a low reliability. LLM labels,
where there are any, are further targets.

Fitting the edge reliabilities: observed pairs against chance, and LLM labels where there are any."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional

from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.model.category import CategoryAffinity, category_paths
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator, torch_generator
from mmsc_cli.train.data import TrainingPairs
from mmsc_cli.train.label_supervision import Supervision

PAIR_FEATURES = 13
BLOCK = 200_000


class PairEvidence:
    """Evidence for a pair from everything but the pair itself."""

    def __init__(
        self,
        adjacency: tuple[sparse.csr_array[Any], sparse.csr_array[Any]],
        semantic: NDArray[np.float32],
        category: sparse.csr_array[Any],
        brand: NDArray[np.int64],
        similar: sparse.csr_array[Any],
        leaf: NDArray[np.int64],
    ) -> None:
        """Take the training data.

        Args:
            adjacency: symmetric (items, items) strengths of co-view and of co-purchase.
            semantic: (items, dim) unit vectors of content.
            category: (items, nodes) membership, rows normalised.
            brand: (items,) brand numbers, 0 unknown.
            similar: (items, items) content neighbours, rows summing to one.
            leaf: (items,) category numbers, 0 unknown.
        """
        self._binary = [(matrix > 0).astype(np.float32) for matrix in adjacency]
        self._degree = [np.asarray(matrix.sum(axis=1)).ravel() for matrix in self._binary]
        damped = [1 / np.log(2 + degree) for degree in self._degree]
        self._damped = [
            sparse.csr_array(matrix @ sparse.diags_array(np.sqrt(damp)))
            for matrix, damp in zip(self._binary, damped, strict=True)
        ]
        self._semantic = semantic
        self._category = category
        self._brand = brand
        self._similar = similar
        self._affinity = [CategoryAffinity(matrix, leaf) for matrix in adjacency]

    def features(
        self, a: NDArray[np.int64], b: NDArray[np.int64], holds: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """(pairs, PAIR_FEATURES): Adamic-Adar within and across relations, look-alikes, likeness, categories, degrees.

        `holds` (pairs, 2): in which relations each pair is itself among the training pairs; None for none.
        """
        holds = np.zeros((len(a), 2), np.bool_) if holds is None else holds
        parts = [slice(start, start + BLOCK) for start in range(0, len(a), BLOCK)]
        blocks = [self._block(a[part], b[part], holds[part]) for part in parts]
        return np.concatenate(blocks) if blocks else np.empty((0, PAIR_FEATURES), np.float32)

    def _block(self, a: NDArray[np.int64], b: NDArray[np.int64], holds: NDArray[np.bool_]) -> NDArray[np.float32]:
        view, buy = self._damped
        shared = [_row_dots(left[a], right[b]) for left, right in ((view, view), (buy, buy), (view, buy), (buy, view))]
        columns = [
            np.log1p(shared[0]),
            np.log1p(shared[1]),
            np.log1p(shared[2] + shared[3]),
            *(
                np.log1p(10 * (_row_dots(self._similar[a], matrix[b]) + _row_dots(matrix[a], self._similar[b])))
                for matrix in self._binary
            ),
            *(affinity.log_ratio(a, b, holds[:, i].astype(np.float32)) for i, affinity in enumerate(self._affinity)),
            np.einsum("ij,ij->i", self._semantic[a], self._semantic[b]),
            _row_dots(self._category[a], self._category[b]),
            (self._brand[a] == self._brand[b]) & (self._brand[a] > 0),
            *(np.log1p(degree[a]) + np.log1p(degree[b]) for degree in self._degree),
            np.abs(np.log1p(self._degree[0][a]) - np.log1p(self._degree[0][b])),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def chance_pairs(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of items drawn by popularity, independently: what noise would look like."""
        degree = self._degree[0] + self._degree[1] + 1
        drawn = rng.choice(len(degree), size=(2, count), p=degree / degree.sum())
        return drawn[0], drawn[1]


def _row_dots(left: sparse.csr_array[Any], right: sparse.csr_array[Any]) -> NDArray[np.float32]:
    return np.asarray(left.multiply(right).sum(axis=1), dtype=np.float32).ravel()


class EdgeReliability(nn.Module):
    """Log-odds that a pair truly holds, for each of the two relations."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(PAIR_FEATURES))
        self.register_buffer("scale", torch.ones(PAIR_FEATURES))
        # One per relation: what a pair is in the other one says little of whether it is one in this.
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(PAIR_FEATURES + 1, width), nn.GELU(), nn.Linear(width, 1)) for _ in range(2)
        )

    def standardise(self, features: torch.Tensor) -> None:
        """Take mean and scale of the features from the training pairs, (pairs, PAIR_FEATURES)."""
        self.mean = features.mean(dim=0)
        self.scale = features.std(dim=0) + 1e-6

    def forward(self, features: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        """Log-odds (pairs, 2) from evidence (pairs, PAIR_FEATURES) and strengths (pairs, 2)."""
        standard = (features - self.mean) / self.scale
        sides = [
            network(torch.cat([standard, strength[:, [column]]], dim=1)) for column, network in enumerate(self.networks)
        ]
        return torch.cat(sides, dim=1)


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
