"""Training: choose on the split, judge what was chosen, then fit the same on everything.

Rankers, weights and probabilities are chosen with evidence from training pairs alone. Then two indexes are made with
the same choices. The judged one knows training and validation pairs, so its figures are those of test pairs and items
that it never saw. The served one knows all pairs and all items.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.calibrate import calibrate
from mmsc_cli.train.export import (
    attribute_tensors,
    behaviour_tensors,
    edge_table,
    gate_tensors,
    index_tensors,
    label_tensors,
    model_identity,
    write_model,
)
from mmsc_cli.train.inputs import Inputs, Plan, read_inputs
from mmsc_cli.train.known import Catalogue, Known, Visible
from mmsc_cli.train.loop.trainer import write_history
from mmsc_cli.train.network import Denoised, Network, denoise, sides, train_network
from mmsc_cli.train.new_items import NetworkScorer, transfer_weights
from mmsc_cli.train.ranking.affinity import choose_affinity_weights, fixed_affinity_weights
from mmsc_cli.train.ranking.answers import answer, compose
from mmsc_cli.train.ranking.choose import choose_rankers, keep_back
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.ranker import Ranker
from mmsc_cli.train.reliability import Reliability
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student.follow import choose_following
from mmsc_cli.train.student.student import Student, teach
from mmsc_cli.train.student.views import PairViews
from mmsc_cli.train.validation import Validations, figures, validations_of
from mmsc_cli.workspace.workspace import Workspace


def train(
    workspace: Workspace,
    settings: TrainSettings,
    plan: Plan,
    folder: Path,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train on a workspace's items, pairs, outside partners, embeddings and labels (if any).

    Args:
        workspace: what to read.
        settings: the recipe's `[train]`.
        plan: seed, parts to leave out, labels, and whether to make the served index.
        folder: gets `model`, `judged` and, if it is to be served, `index`.
        device: where the network computes.
        checkpoints: where the network's training saves its state, and resumes from; None: nowhere.
        progress: shows every part.

    Returns:
        Counts and validation figures for the manifest.
    """
    inputs = read_inputs(workspace, plan)
    making = _Making(inputs, settings, plan, device, progress)
    kept_back = keep_back(inputs.pairs, inputs.first_variants, plan.seed)
    pairs = inputs.pairs.select(inputs.pairs.split != "test")
    questions = validations_of(pairs, inputs.item_splits, plan.seed)

    views = making.views(inputs.training())
    making.student = teach(views, inputs.labels if settings.llm > 0 else None, plan.seed)
    making.lap("student")
    training = making.look(views)
    making.lap("look at the training pairs")
    network = train_network(
        inputs,
        training.denoised.problem.to(device),
        settings,
        plan,
        lambda vectors: figures(NetworkScorer(sides(vectors)), questions),
        checkpoints,
        progress,
    )
    making.lap("network")
    rankers = choose_rankers(training.known, inputs, kept_back, settings, plan, progress)
    # What the rankers learned from is known to them, like training pairs, and no longer a question.
    still_asked = validations_of(_with_examples_as_known(inputs, kept_back), inputs.item_splits, plan.seed)
    making.choose_affinity_weights(training, rankers, still_asked)
    making.lap("rankers")
    scorer = NetworkScorer(sides(network.vectors))
    making.about["transfer_weight"] = transfer_weights(scorer, training.known, questions, settings.linear_top)
    chosen = making.index(training, network, rankers)
    if making.student is not None:
        student, judged = making.student, inputs.votes.clear()
        following = choose_following(
            chosen,
            questions,
            settings.follow_labels,
            student.skill,
            student.of_judged(judged, len(inputs)) if len(judged) else None,
        )
        making.about |= {"follow_labels": following.weights, "followed_by": following.chosen_by}
        chosen = chosen.with_follow_labels(following.weights)
    draw, warm = numpy_generator(plan.seed, "calibrate"), inputs.item_splits == "warm"
    calibration = calibrate(chosen, inputs.pairs.select(kept_back), pairs, warm, draw)
    making.about["calibration"] = calibration
    validation = {f"{relation} {kind}": asked.ndcg(chosen) for (relation, kind), asked in still_asked.items()}
    making.lap("calibration")

    trained = training.known.visible.has_behaviour
    answering = network
    for name, visible in {"judged": inputs.judging(), **({"index": inputs.everything()} if plan.serve else {})}.items():
        look = making.look(making.views(visible), training.denoised.denoiser)
        answering = network.asked_about(look.denoised.problem.to(device), trained)
        making.write(folder / name, making.index(look, answering, rankers))
        making.lap(name)

    (folder / "model").mkdir(parents=True, exist_ok=True)
    about_model = {"seed": plan.seed, "without": list(plan.without), "settings": settings.model_dump()}
    write_model(folder / "model", answering, inputs.attributes, about_model)
    write_history(folder / "model" / "metrics.jsonl", network.history)
    if training.denoised.reliability is not None:
        edges = edge_table(training.known.visible.pairs, training.denoised.reliability)
        edges.write(folder / "model" / "edges.parquet")
    supervision = training.denoised.supervision
    return {
        "epochs": len(network.history),
        "training_pairs": len(training.known.visible.pairs),
        "served_pairs": len(inputs.pairs) if plan.serve else 0,
        "labelled_pairs": len(supervision.on_pairs) if supervision else 0,
        "added_pairs": len(supervision.added) if supervision else 0,
        "label_strength": supervision.strength if supervision else 0.0,
        "student": making.student and making.student.about,
        "follow_labels": making.about.get("follow_labels"),
        "followed_by": making.about.get("followed_by"),
        "without": list(plan.without),
        "ranked": sorted(rankers),
        "affinity_weights": making.affinity_weights,
        "calibration_error": calibration["expected_calibration_error"],
        "calibration_error_ci": calibration["expected_calibration_error_ci"],
        "calibration_width": calibration["width"],
        "validation": validation,
        "cpu_seconds": making.seconds,
        "device": device.type,
    }


@dataclass(frozen=True)
class _Look:
    """What is known of the catalogue from some visible pairs, and those pairs as the network sees them."""

    views: PairViews
    denoised: Denoised

    @property
    def known(self) -> Known:
        """What is known."""
        return self.views.evidence.known


class _Making:
    """What every index of a training is made with; `about` is what `index.json` says of all of them."""

    def __init__(
        self, inputs: Inputs, settings: TrainSettings, plan: Plan, device: torch.device, progress: Progress
    ) -> None:
        self._inputs = inputs
        self._settings = settings
        self._plan = plan
        self._device = device
        self._progress = progress
        self._catalogue: Catalogue | None = None
        self._started = time.process_time()
        self._rules = PairRules(inputs.items)
        self.student: Student | None = None
        self.seconds: dict[str, float] = {}
        self.affinity_weights: dict[Relation, float] = dict.fromkeys(RELATIONS, 0.0)
        self.about: dict[str, Any] = {
            "items": len(inputs),
            "dim": settings.dim,
            "seed": plan.seed,
            "without": list(plan.without),
            "distinct": settings.distinct,
            "orders": inputs.orders,
        }

    def lap(self, part: str) -> None:
        """Book the processor seconds since the last call for a part."""
        now = time.process_time()
        self.seconds[part] = round(self.seconds.get(part, 0.0) + now - self._started, 2)
        self._started = now

    def views(self, visible: Visible) -> PairViews:
        """Gather what the visible pairs tell."""
        settings, progress = self._settings, self._progress
        if self._catalogue is None:
            self._catalogue = Catalogue(self._inputs.features, visible.has_behaviour, settings.neighbours, progress)
        self._catalogue = self._catalogue.widened(visible.has_behaviour, progress)
        known = Known(self._catalogue, visible, settings.linear_top, progress)
        return PairViews(Evidence(known), self._rules, settings.rerank_candidates, self._inputs.proposed)

    def look(self, views: PairViews, denoiser: Reliability | None = None) -> _Look:
        """Weigh the visible pairs by all that is known, the student's opinion included; see `denoise`."""
        known = views.evidence.known
        return _Look(views, denoise(known, self.student, self._settings, self._plan, denoiser, self._progress))

    def choose_affinity_weights(self, look: _Look, rankers: Mapping[Relation, Ranker], asked: Validations) -> None:
        """Take the weight of category affinity from the settings, or choose it on validation pairs."""
        settings = self._settings
        if settings.category_affinity is not None:
            self.affinity_weights = fixed_affinity_weights(settings.category_affinity)
        else:
            self.affinity_weights = choose_affinity_weights(
                look.views.evidence, rankers, asked, settings.rerank_candidates
            )

    def index(self, look: _Look, network: Network, rankers: Mapping[Relation, Ranker]) -> Index:
        """Rank the candidates of every item, and put all that answering needs together."""
        inputs, settings = self._inputs, self._settings
        opinion = None if self.student is None else partial(self.student.of_candidates, look.views)
        answers = answer(
            look.views.evidence, rankers, settings.rerank_candidates, self.affinity_weights, opinion, self._progress
        )
        vectors, follow = sides(network.vectors), self.about.get("follow_labels", {})
        composed = {
            relation: compose(*vectors[relation], answers[relation], settings.distinct, follow.get(relation, 0.0))
            for relation in RELATIONS
        }
        about = {**self.about, "model": model_identity(network.model)}
        tensors = index_tensors(inputs.items, composed)
        tensors |= attribute_tensors(inputs.items)
        tensors |= behaviour_tensors(look.known.visible.pairs, look.denoised.reliability, len(inputs))
        tensors |= gate_tensors(network.model, look.denoised.problem.to(self._device), about)
        if inputs.labels is not None:
            tensors |= label_tensors(inputs.labels, len(inputs), about)
        return Index(tensors, about)

    @staticmethod
    def write(folder: Path, index: Index) -> None:
        """Write an index into a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_index(folder, index.tensors, index.about)


def _with_examples_as_known(inputs: Inputs, kept_back: NDArray[np.bool_]) -> Pairs:
    """The pairs but those of the test split, with validation pairs that rankers learned from as training pairs."""
    pairs = inputs.pairs
    learned_from = (pairs.split == "valid") & ~kept_back
    return replace(pairs, split=np.where(learned_from, "train", pairs.split)).select(pairs.split != "test")
