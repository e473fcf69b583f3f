"""Denoising: how reliable each behaviour pair is, learned without labels.

A small network sees what the *rest* of the data says of a pair (shared neighbours and partners of look-alikes, which
never include the pair itself; how often their categories are related, the pair itself not counted; likeness of the
ends; strengths) and learns to tell observed pairs from pairs drawn at random by popularity. A pair that looks like
chance (a bestseller in every basket, an accidental view) gets a low reliability. Labels, where there are any, are
further targets. It is fitted once, on training pairs, and estimates the pairs of every index.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from mmsc_cli.arrays.rows import paired_dots
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
CHUNK = 8_192
STEPS = 150
BATCH = 512
LEARNING_RATE = 0.02


class PairEvidence:
    """Evidence for a pair from everything but the pair itself."""

    def __init__(self, catalogue: Catalogue, pairs: Pairs, similar: Sparse) -> None:
        """Take metadata, the visible pairs, and content neighbours (n_items, n_items), rows summing to one."""
        strengths = [pairs.adjacency(relation, len(catalogue)) for relation in RELATIONS]
        self._view, self._purchase = ((matrix > 0).astype(np.float32) for matrix in strengths)
        self._similar = similar
        self._degree = [np.diff(matrix.indptr).astype(np.float32) for matrix in strengths]
        # Neighbours that two items share count less the more neighbours they have (Adamic & Adar, 2003).
        rarity = [1 / np.log(2 + degree) for degree in self._degree]
        self._rarity = [*rarity, np.sqrt(rarity[0] * rarity[1])]
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

        def look(start: int) -> NDArray[np.float32]:
            chunk = slice(start, start + CHUNK)
            return self._chunk(a[chunk], b[chunk], holds[chunk])

        chunks = list(map_blocks(look, range(0, len(a), CHUNK)))
        return np.concatenate(chunks) if chunks else np.empty((0, PAIR_FEATURES), np.float32)

    def _chunk(self, a: NDArray[np.int64], b: NDArray[np.int64], holds: NDArray[np.bool_]) -> NDArray[np.float32]:
        path, other = self._paths[a], self._paths[b]
        columns = [
            *self._walks(a, b),
            *(affinity.log_ratio(a, b, holds[:, i].astype(np.float32)) for i, affinity in enumerate(self._affinity)),
            paired_dots(self._semantic, a, b),
            ((path == other) & (path > 0)).mean(axis=1),
            (self._brand[a] == self._brand[b]) & (self._brand[a] > 0),
            *(np.log1p(degree[a]) + np.log1p(degree[b]) for degree in self._degree),
            np.abs(np.log1p(self._degree[0][a]) - np.log1p(self._degree[0][b])),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def _walks(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Sums over the items in the middle of walks of two steps from a to b; none passes through the pair itself."""
        from_a, from_b = ([matrix[end] for matrix in (self._view, self._purchase, self._similar)] for end in (a, b))
        everyone = np.ones(len(self._brand), np.float32)

        def walked(first: int, second: int, weight: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(from_a[first].multiply(from_b[second]) @ weight)

        view, purchase, similar = range(3)
        sums = [
            walked(view, view, self._rarity[0]),
            walked(purchase, purchase, self._rarity[1]),
            walked(view, purchase, self._rarity[2]) + walked(purchase, view, self._rarity[2]),
            *(
                10 * (walked(similar, relation, everyone) + walked(relation, similar, everyone))
                for relation in (view, purchase)
            ),
        ]
        return [np.log1p(total) for total in sums]

    def chance_pairs(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of items drawn by popularity, independently: what noise would look like."""
        weight = self._degree[0] + self._degree[1] + 1.0
        drawn = rng.choice(len(weight), size=(2, count), p=weight / weight.sum())
        return drawn[0], drawn[1]


class Reliability(nn.Module):
    """Log-odds that a pair holds, for each of the two relations."""

    _mean: torch.Tensor
    _scale: torch.Tensor

    def __init__(self, observed: torch.Tensor, width: int = 32) -> None:
        """Take mean and scale of the features from the observed pairs, (pairs, PAIR_FEATURES)."""
        super().__init__()
        self.register_buffer("_mean", observed.mean(dim=0))
        self.register_buffer("_scale", observed.std(dim=0, correction=0) + 1e-6)
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

    @torch.no_grad()
    def of(self, evidence: PairEvidence, pairs: Pairs) -> NDArray[np.float32]:
        """The reliabilities of visible pairs, (pairs, 2) in (0, 1), by relation; `evidence` is of those pairs."""
        reliability: NDArray[np.float32] = torch.sigmoid(self(*_observed(evidence, pairs))).numpy()
        return reliability


def fit_reliability(
    evidence: PairEvidence, pairs: Pairs, supervision: Supervision | None, seed: int, progress: Progress = SILENT
) -> Reliability:
    """Fit the network on visible pairs, of which there is one at least.

    Chance pairs get strengths drawn from the observed ones, so that strength alone cannot tell them apart.
    """
    observed, strength = _observed(evidence, pairs)
    count = min(len(pairs), STEPS * BATCH // 2)
    chance = torch.from_numpy(evidence.features(*evidence.chance_pairs(count, numpy_generator(seed, "chance"))))
    torch.manual_seed(derive_seed(seed, "reliability"))
    network = Reliability(observed)
    generator = torch_generator(seed, "denoise")
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
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
            schedule.step()
            task.advance()
    return network


def _observed(evidence: PairEvidence, pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Evidence (pairs, PAIR_FEATURES) and strengths (pairs, 2) of visible pairs."""
    strength = np.stack([pairs.strength(relation) for relation in RELATIONS], axis=1)
    features = evidence.features(pairs.a.astype(np.int64), pairs.b.astype(np.int64), strength > 0)
    return torch.from_numpy(features), torch.from_numpy(strength)


def _contrast(logits: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, weight=weight)
