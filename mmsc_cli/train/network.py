"""The representation network: trained on one look at the catalogue, asked again about another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.model.mmsc import Mmsc, Shape, Vectors
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import derive_seed
from mmsc_cli.tables.relations import Relation
from mmsc_cli.train.inputs import Inputs, Plan
from mmsc_cli.train.known import Known
from mmsc_cli.train.label_supervision import Supervision, read_supervision
from mmsc_cli.train.loop.data import Problem, TrainingPairs
from mmsc_cli.train.loop.trainer import answer, fit
from mmsc_cli.train.reliability import PairEvidence, Reliability, fit_reliability
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student.student import Student


@dataclass(frozen=True)
class Denoised:
    """The visible pairs as the network sees them.

    `reliability` (pairs, 2) by relation, and `denoiser`, which estimated it, None where denoising is left out;
    `supervision` None without labels.
    """

    problem: Problem
    reliability: NDArray[np.float32] | None
    denoiser: Reliability | None
    supervision: Supervision | None


@dataclass(frozen=True)
class Network:
    """A trained network: its weights, its vectors of all items, and the figures of every epoch."""

    model: Mmsc
    shape: Shape
    vectors: Vectors
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Weights:
    """What a network has learned, to be asked about any look at the catalogue.

    `trained` (n_items,) bool: the items whose own vectors were trained; the others' stay hidden. `history`: the figures
    of every epoch.
    """

    model: Mmsc
    shape: Shape
    trained: NDArray[np.bool_]
    history: list[dict[str, float]]

    def asked_about(self, problem: Problem) -> Network:
        """Ask about the problem of a look, on the device of the weights."""
        shown = torch.from_numpy(self.trained).to(problem.weight.device).float().unsqueeze(1)
        around = replace(problem.everything_seen(), has_item_vector=shown)
        return Network(self.model, self.shape, answer(self.model, problem, around), self.history)


def sides(vectors: Vectors) -> dict[Relation, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Per relation query and key vectors, (n_items, dim), for numpy."""
    return {
        relation: (query.float().cpu().numpy(), key.float().cpu().numpy()) for relation, (query, key) in vectors.items()
    }


class NetworkScorer:
    """The network alone, as a scorer."""

    def __init__(self, vectors: Vectors) -> None:
        """Take query and key vectors (n_items, dim) of each relation."""
        self._sides = sides(vectors)

    def scores(self, relation: Relation, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """(queries, n_items)."""
        query, key = self._sides[relation]
        return np.asarray(query[queries] @ key.T)


def denoise(
    known: Known,
    student: Student | None,
    settings: TrainSettings,
    plan: Plan,
    denoiser: Reliability | None = None,
    progress: Progress = SILENT,
) -> Denoised:
    """Weigh the visible pairs by strengths, reliabilities and the labels that the student has cleaned.

    `denoiser` None: one is fitted on these pairs.
    """
    pairs = known.visible.pairs
    observed = TrainingPairs.of(pairs)
    supervision = _supervision(student, observed, known.visible.has_behaviour, settings)
    reliability = None
    weight = observed.strength
    if "denoise" not in plan.without:
        evidence = PairEvidence(known.catalogue, pairs, known.similar)
        if denoiser is None and len(pairs):
            denoiser = fit_reliability(evidence, pairs, supervision, plan.seed, progress)
        reliability = denoiser.of(evidence, pairs) if denoiser else np.zeros((0, 2), np.float32)
        # Even a doubtful pair keeps half its weight: behaviour is judged by behaviour, and that holds noise too.
        weight = observed.strength * (1 + torch.from_numpy(reliability)) / 2
    items, similar = known.catalogue.items, known.similar_graph
    if supervision is None:
        return Denoised(Problem(items, observed, weight, weight, similar), reliability, denoiser, None)
    # Pairs that only the labels know are predicted, never propagated over: they are opinions, not behaviour.
    added = supervision.added
    target_weight = torch.cat([weight * supervision.target_factor(len(observed)), added.strength])
    weight = torch.cat([weight, torch.zeros(len(added), 2)])
    problem = Problem(items, observed.joined(added), weight, target_weight, similar)
    return Denoised(problem, reliability, denoiser, supervision)


def shape_of(inputs: Inputs, dim: int) -> Shape:
    """The sizes of a network of these items, with vectors of `dim`."""
    text_dim, image_dim, joint_dim = (side.shape[1] for side in inputs.features.sides)
    categories, brands = len(inputs.attributes.categories), len(inputs.attributes.brands)
    return Shape(len(inputs), text_dim, image_dim, categories, brands, dim, joint_dim)


def train_network(
    inputs: Inputs,
    problem: Problem,
    settings: TrainSettings,
    plan: Plan,
    validate: Callable[[Vectors], dict[str, float]] | None,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> Network:
    """Train the network on one look at the catalogue; `problem` lies on the device to compute on."""
    torch.manual_seed(derive_seed(plan.seed, "weights"))
    shape = shape_of(inputs, settings.dim)
    model = Mmsc(shape, plan.without).to(problem.weight.device)
    if "network" in plan.without:
        with torch.no_grad():
            model.log_scale.fill_(-torch.inf)  # its products are 0 then, and it orders nothing
        return Network(model, shape, answer(model, problem, problem.everything_seen()), [])
    use_agreement = "denoise" not in plan.without
    fitted = fit(model, problem, settings, validate, plan.seed, use_agreement, checkpoints, progress)
    return Network(model, shape, fitted.vectors, fitted.history)


def _supervision(
    student: Student | None, observed: TrainingPairs, has_behaviour: NDArray[np.bool_], settings: TrainSettings
) -> Supervision | None:
    if student is None or student.cleaned is None:
        return None
    strength = settings.llm * student.trust
    return read_supervision(student.cleaned, observed, torch.from_numpy(has_behaviour), strength)
