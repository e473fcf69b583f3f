"""Denoising: how reliable each behaviour pair is, learned without labels.

A small network sees what the *rest* of the data says of a pair (shared neighbours and partners of look-alikes, which
never include the pair itself; how often their categories are related, the pair itself not counted; likeness of the
ends; strengths) and learns to tell observed pairs from pairs drawn at random by popularity. A pair that looks like
chance (a bestseller in every basket, an accidental view) gets a low reliability. Labels, where there are any, are
further targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional

from mmsc_cli.model.category import CategoryAffinity
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed, numpy_generator, torch_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.train.known import Catalogue
from mmsc_cli.train.label_supervision import Supervision
from mmsc_cli.train.linear_branch import Sparse

PAIR_FEATURES = 13
ROWS = 256
STEPS = 200
BATCH = 2_048
LEARNING_RATE = 0.01


class PairEvidence:
    """Evidence for a pair from everything but the pair itself."""

    def __init__(self, catalogue: Catalogue, pairs: Pairs, similar: Sparse) -> None:
        """Take metadata, the visible pairs, and content neighbours (n_items, n_items), rows summing to one."""
        n_items = len(catalogue)
        strengths = [pairs.adjacency(relation, n_items) for relation in RELATIONS]
        view, purchase = ((matrix > 0).astype(np.float32) for matrix in strengths)
        self._degree = [np.diff(matrix.indptr).astype(np.float32) for matrix in (view, purchase)]
        # Neighbours that two items share count less the more neighbours they have (Adamic & Adar, 2003).
        rare_view, rare_purchase = (
            sparse.diags_array(1 / np.log(2 + degree)) @ matrix
            for matrix, degree in zip((view, purchase), self._degree, strict=True)
        )
        middle = sparse.diags_array(1 / np.sqrt(np.log(2 + self._degree[0]) * np.log(2 + self._degree[1])))
        backward = similar.T.tocsr()
        # Each feature is a sum of walks; their entry at (a, b) never passes through the pair itself.
        self._walks: list[tuple[float, list[tuple[Any, Any]]]] = [
            (1, [(view, rare_view)]),
            (1, [(purchase, rare_purchase)]),
            (1, [(view, middle @ purchase), (purchase, middle @ view)]),
            *((10.0, [(similar, matrix), (matrix, backward)]) for matrix in (view, purchase)),
        ]
        self._semantic = catalogue.semantic.numpy()
        self._paths = catalogue.paths
        self._brand = catalogue.items.brand.numpy()
        leaf = self._paths.max(axis=1)
        self._affinity = [CategoryAffinity(matrix, leaf) for matrix in strengths]

    def features(
        self, a: NDArray[np.int64], b: NDArray[np.int64], holds: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """(pairs, PAIR_FEATURES): shared neighbours, partners of look-alikes, category affinity, likeness, degrees.

        `holds` (pairs, 2): in which relations each pair is itself among the visible pairs; None for none.
        """
        holds = np.zeros((len(a), 2), np.bool_) if holds is None else holds
        features = np.empty((len(a), PAIR_FEATURES), np.float32)
        # In the order of a, so that each row of a walk is computed once.
        order = np.argsort(a, kind="stable")
        rows = np.unique(a)
        blocks = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        ends = np.searchsorted(a[order], [block[-1] for block in blocks], side="right")
        parts = np.split(order, ends[:-1])

        def look(number: int) -> NDArray[np.float32]:
            pair_rows = parts[number]
            return self._block(blocks[number], a[pair_rows], b[pair_rows], holds[pair_rows])

        for pair_rows, block in zip(parts, map_blocks(look, range(len(blocks))), strict=False):
            features[pair_rows] = block
        return features

    def _block(
        self, rows: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], holds: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        scratch = np.zeros((len(rows), len(self._brand)), np.float32)
        at = np.searchsorted(rows, a)
        walks = []
        for factor, products in self._walks:
            sums = np.zeros(len(a), np.float32)
            for left, right in products:
                walked = sparse.csr_array(left[rows] @ right)
                filled = np.repeat(np.arange(len(rows)), np.diff(walked.indptr)), walked.indices
                scratch[filled] = walked.data
                sums += scratch[at, b]
                scratch[filled] = 0
            walks.append(np.log1p(factor * sums))
        path, other = self._paths[a], self._paths[b]
        columns = [
            *walks,
            *(affinity.log_ratio(a, b, holds[:, i].astype(np.float32)) for i, affinity in enumerate(self._affinity)),
            np.einsum("ij,ij->i", self._semantic[a], self._semantic[b]),
            ((path == other) & (path > 0)).mean(axis=1),
            (self._brand[a] == self._brand[b]) & (self._brand[a] > 0),
            *(np.log1p(degree[a]) + np.log1p(degree[b]) for degree in self._degree),
            np.abs(np.log1p(self._degree[0][a]) - np.log1p(self._degree[0][b])),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def chance_pairs(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of items drawn by popularity, independently: what noise would look like."""
        weight = self._degree[0] + self._degree[1] + 1.0
        drawn = rng.choice(len(weight), size=(2, count), p=weight / weight.sum())
        return drawn[0], drawn[1]


class _Reliability(nn.Module):
    """Log-odds that a pair holds, for each of the two relations."""

    def __init__(self, observed: torch.Tensor, width: int = 32) -> None:
        """Take mean and scale of the features from the observed pairs, (pairs, PAIR_FEATURES)."""
        super().__init__()
        self._mean, self._scale = observed.mean(dim=0), observed.std(dim=0, correction=0) + 1e-6
        # One per relation: what a pair is in the other one says little of whether it is one in this.
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(PAIR_FEATURES + 1, width), nn.GELU(), nn.Linear(width, 1)) for _ in RELATIONS
        )

    def forward(self, features: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        """Log-odds (pairs, 2) from evidence (pairs, PAIR_FEATURES) and strengths (pairs, 2)."""
        standard = (features - self._mean) / self._scale
        sides = [
            network(torch.cat([standard, strength[:, [column]]], dim=1)) for column, network in enumerate(self.networks)
        ]
        return torch.cat(sides, dim=1)


def fit_reliability(
    evidence: PairEvidence, pairs: Pairs, supervision: Supervision | None, seed: int, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """Fit the network and return the reliabilities of the visible pairs, (pairs, 2) in (0, 1), by relation.

    Chance pairs get strengths drawn from the observed ones, so that strength alone cannot tell them apart.
    """
    if not len(pairs):
        return np.zeros((0, len(RELATIONS)), np.float32)
    strength = torch.from_numpy(np.stack([pairs.strength(relation) for relation in RELATIONS], axis=1))
    a, b = pairs.a.astype(np.int64), pairs.b.astype(np.int64)
    observed = torch.from_numpy(evidence.features(a, b, strength.numpy() > 0))
    count = min(len(a), STEPS * BATCH // 4)
    chance = torch.from_numpy(evidence.features(*evidence.chance_pairs(count, numpy_generator(seed, "chance"))))
    torch.manual_seed(derive_seed(seed, "reliability"))
    network = _Reliability(observed)
    generator = torch_generator(seed, "denoise")
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    with torch.enable_grad(), progress.task("Denoising", STEPS) as task:
        for _ in range(STEPS):
            rows = torch.randint(len(observed), (min(BATCH, len(observed)),), generator=generator)
            others = torch.randint(len(chance), (len(rows),), generator=generator)
            holds = (strength[rows] > 0).float()
            loss = _contrast(network(observed[rows], strength[rows]), torch.ones_like(holds), holds)
            loss = loss + _contrast(network(chance[others], strength[rows]), torch.zeros_like(holds), holds)
            if supervision is not None and len(supervision.on_pairs):
                labelled = supervision.on_pairs
                logits = network(observed[labelled], strength[labelled])
                loss = loss + supervision.strength * _contrast(logits, supervision.believed, supervision.confidence)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            task.advance()
    with torch.no_grad():
        reliability: NDArray[np.float32] = torch.sigmoid(network(observed, strength)).numpy()
    return reliability


def _contrast(logits: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, weight=weight)
