"""Training: choose on the split, judge what was chosen, then fit the same on everything.

Rankers, weights and probabilities are chosen with evidence from training pairs alone. Then two indexes are made with
the same choices. The judged one knows training and validation pairs, so its figures are those of test pairs and items
that it never saw. The served one knows all pairs and all items.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index, write_index
from mmsc_cli.rules.pair_rules import PairRules
from mmsc_cli.runtime.checkpoint import Checkpoints
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.edges import Edges
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
from mmsc_cli.train.network import Denoised, Network, NetworkScorer, Weights, denoise, sides, train_network
from mmsc_cli.train.ranking.affinity import choose_affinity_weights, fixed_affinity_weights
from mmsc_cli.train.ranking.answers import answer, compose
from mmsc_cli.train.ranking.choose import choose_rankers, keep_back
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.ranker import Ranker
from mmsc_cli.train.ranking.similar_lists import hear_look_alikes
from mmsc_cli.train.reliability import Reliability
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student.follow import choose_following
from mmsc_cli.train.student.student import Student, teach
from mmsc_cli.train.student.views import PairViews
from mmsc_cli.train.validation import Validations, figures, validations_of
from mmsc_cli.train.yesterday.drift import Since
from mmsc_cli.train.yesterday.learned import Earlier, Learned, item_places, made_with, write_learned
from mmsc_cli.train.yesterday.steady import Steady
from mmsc_cli.workspace.workspace import Workspace

_LOG = logging.getLogger(__name__)


def train(
    workspace: Workspace,
    settings: TrainSettings,
    plan: Plan,
    folder: Path,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    progress: Progress = SILENT,
    earlier: Mapping[str, Path] | None = None,
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
        earlier: what an earlier training left of `model`, `judged` and `index`, to take over what it learned and chose
            where that still holds, and to keep answers in their places; None: everything is learned anew.

    Returns:
        Counts and validation figures for the manifest.
    """
    inputs = read_inputs(workspace, plan)
    made = made_with(inputs, settings, plan)
    earlier = earlier or {}
    kept, start = _start(earlier.get("model"), inputs, made)
    if kept is not None:
        inputs = inputs.priced_like(kept.attributes)
    making = _Making(inputs, settings, plan, device, progress)
    if kept is None:
        learned, since = _learn(making, checkpoints), Since.of(inputs)
    else:
        learned, since = kept.learned(inputs, device), kept.since
    making.lap("start")

    served = {"index": inputs.everything()} if plan.serve else {}
    for name, visible in {"judged": inputs.judging(), **served}.items():
        look = making.look(making.views(visible), learned.student, learned.denoiser)
        answering = learned.weights.asked_about(look.denoised.problem.to(device))
        steady = None if kept is None else _steady(earlier, name, inputs, visible)
        making.write(folder / name, making.index(look, answering, learned, steady))
        if name == "judged":
            edges = _training_edges(look)
        making.lap(name)

    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    about_model = {"seed": plan.seed, "without": list(plan.without), "settings": settings.model_dump()}
    write_model(model, answering, inputs.attributes, about_model)
    write_history(model / "metrics.jsonl", learned.weights.history)
    if edges is not None:
        edges.write(model / "edges.parquet")
    write_learned(model, learned, since, inputs, made)
    return {
        **start,
        **learned.counts,
        "served_pairs": len(inputs.pairs) if plan.serve else 0,
        "cpu_seconds": making.seconds,
        "device": device.type,
    }


def _start(earlier: Path | None, inputs: Inputs, made: Mapping[str, Any]) -> tuple[Earlier | None, dict[str, Any]]:
    """What is taken over from an earlier training, None for nothing, and what to say of it in the manifest."""
    if earlier is None:
        return None, {"start": "anew"}
    found = Earlier.open(earlier)
    why = "nothing can be taken over from the last time" if found is None else found.why_not(inputs, made)
    if found is None or why is not None:
        _LOG.info("train: starts anew: %s", why, extra={"fields": {"stage": "train", "start": "anew"}})
        return None, {"start": "anew", "start_because": why}
    _LOG.info("train: starts from the last time", extra={"fields": {"stage": "train", "start": "the last time"}})
    return found, {"start": "the last time"}


def _steady(earlier: Mapping[str, Path], name: str, inputs: Inputs, visible: Visible) -> Steady | None:
    """What keeps the answers of an earlier index in their places; None where not both indexes can be read."""
    try:
        last, served = (Index.open(earlier[of]) for of in (name, "index"))
    except (KeyError, WorkspaceError):
        return None
    return Steady(last, served, item_places(last, inputs), visible, inputs.pairs)


def _learn(making: _Making, checkpoints: Checkpoints | None) -> Learned:
    """Learn and choose everything on the split."""
    inputs, settings, plan, device, progress = (
        making.inputs,
        making.settings,
        making.plan,
        making.device,
        making.progress,
    )
    kept_back = keep_back(inputs.pairs, inputs.first_variants, plan.seed)
    pairs = inputs.pairs.select(inputs.pairs.split != "test")
    questions = validations_of(pairs, inputs.item_splits, plan.seed)

    views = making.views(inputs.training())
    student = teach(views, inputs.labels if settings.llm > 0 else None, plan.seed)
    making.lap("student")
    training = making.look(views, student)
    making.lap("look at the training pairs")
    network = train_network(
        inputs,
        training.denoised.problem.to(device),
        settings,
        plan,
        lambda vectors: figures(NetworkScorer(vectors), questions),
        checkpoints,
        progress,
    )
    making.lap("network")
    rankers = choose_rankers(training.known, inputs, kept_back, settings, plan, progress)
    # What the rankers learned from is known to them, like training pairs, and no longer a question.
    still_asked = validations_of(_with_examples_as_known(inputs, kept_back), inputs.item_splits, plan.seed)
    learned = Learned(
        weights=Weights(network.model, network.shape, training.known.visible.has_behaviour, network.history),
        rankers=rankers,
        affinity_weights=making.affinity_weights(training, rankers, still_asked),
        student=student,
        denoiser=training.denoised.denoiser,
        about={},
        counts={},
    )
    making.lap("rankers")
    chosen = making.index(training, network, learned)
    about: dict[str, Any] = {}
    if student is not None:
        judged = inputs.votes.clear()
        following = choose_following(
            chosen,
            questions,
            settings.follow_labels,
            student.skill,
            student.of_judged(judged, len(inputs)) if len(judged) else None,
        )
        about |= {"follow_labels": following.weights, "followed_by": following.chosen_by}
        chosen = chosen.with_follow_labels(following.weights)
    draw, warm = numpy_generator(plan.seed, "calibrate"), inputs.item_splits == "warm"
    calibration = about["calibration"] = calibrate(chosen, inputs.pairs.select(kept_back), pairs, warm, draw)
    validation = {f"{relation} {kind}": asked.ndcg(chosen) for (relation, kind), asked in still_asked.items()}
    making.lap("calibration")
    supervision = training.denoised.supervision
    counts = {
        "epochs": len(network.history),
        "training_pairs": len(training.known.visible.pairs),
        "labelled_pairs": len(supervision.on_pairs) if supervision else 0,
        "added_pairs": len(supervision.added) if supervision else 0,
        "label_strength": supervision.strength if supervision else 0.0,
        "student": student and student.about,
        "follow_labels": about.get("follow_labels"),
        "followed_by": about.get("followed_by"),
        "without": list(plan.without),
        "ranked": sorted(rankers),
        "affinity_weights": dict(learned.affinity_weights),
        "calibration_error": calibration["expected_calibration_error"],
        "calibration_error_ci": calibration["expected_calibration_error_ci"],
        "calibration_width": calibration["width"],
        "validation": validation,
    }
    return replace(learned, about=about, counts=counts)


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
    """What every index of a training is made with."""

    def __init__(
        self, inputs: Inputs, settings: TrainSettings, plan: Plan, device: torch.device, progress: Progress
    ) -> None:
        self.inputs = inputs
        self.settings = settings
        self.plan = plan
        self.device = device
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self._catalogue: Catalogue | None = None
        self._started = time.process_time()
        self._rules = PairRules(inputs.items)

    def lap(self, part: str) -> None:
        """Book the processor seconds since the last call for a part."""
        now = time.process_time()
        self.seconds[part] = round(self.seconds.get(part, 0.0) + now - self._started, 2)
        self._started = now

    def views(self, visible: Visible) -> PairViews:
        """Gather what the visible pairs tell."""
        settings, progress = self.settings, self.progress
        if self._catalogue is None:
            # Whichever pairs are asked about first, so that neighbours are found in the same steps every night.
            first = self.inputs.training().has_behaviour
            self._catalogue = Catalogue(self.inputs.features, first, settings.neighbours, progress)
        self._catalogue = self._catalogue.widened(visible.has_behaviour, progress)
        known = Known(self._catalogue, visible, settings.linear_top, progress)
        return PairViews(Evidence(known), self._rules, settings.rerank_candidates, self.inputs.proposed)

    def look(self, views: PairViews, student: Student | None, denoiser: Reliability | None = None) -> _Look:
        """Weigh the visible pairs by all that is known, the student's opinion included; see `denoise`."""
        known = views.evidence.known
        return _Look(views, denoise(known, student, self.settings, self.plan, denoiser, self.progress))

    def affinity_weights(
        self, look: _Look, rankers: Mapping[Relation, Ranker], asked: Validations
    ) -> dict[Relation, float]:
        """The weight of category affinity from the settings, or the best on validation pairs."""
        settings = self.settings
        if settings.category_affinity is not None:
            return fixed_affinity_weights(settings.category_affinity)
        return choose_affinity_weights(look.views.evidence, rankers, asked, settings.rerank_candidates)

    def index(self, look: _Look, network: Network, learned: Learned, steady: Steady | None = None) -> Index:
        """Rank the candidates of every item, and put all that answering needs together.

        `steady`: keeps answers in their places.
        """
        inputs, settings, plan, student = self.inputs, self.settings, self.plan, learned.student
        answers = answer(
            look.views.evidence,
            learned.rankers,
            settings.rerank_candidates,
            learned.affinity_weights,
            None if student is None else partial(student.of_candidates, look.views),
            self.progress,
        )
        if "aggregation" not in plan.without:
            answers = hear_look_alikes(look.views.evidence, answers)
        vectors, follow = sides(network.vectors), learned.about.get("follow_labels", {})
        composed = {
            relation: compose(
                *vectors[relation],
                answers[relation],
                settings.distinct,
                follow.get(relation, 0.0),
                None if steady is None else partial(steady.hold, relation),
            )
            for relation in RELATIONS
        }
        about = {
            "items": len(inputs),
            "dim": settings.dim,
            "seed": plan.seed,
            "without": list(plan.without),
            "distinct": settings.distinct,
            "orders": inputs.orders,
            "neighbours": settings.neighbours,
            "ranked": True,  # rows of candidates come best first
            **learned.about,
            "model": model_identity(network.model),
        }
        tensors = index_tensors(inputs.items, composed)
        tensors |= attribute_tensors(inputs.items)
        tensors |= behaviour_tensors(look.known.visible.pairs, look.denoised.reliability, len(inputs))
        tensors |= gate_tensors(network.model, look.denoised.problem.to(self.device), about)
        if inputs.labels is not None:
            tensors |= label_tensors(inputs.labels, len(inputs), about)
        return Index(tensors, about)

    @staticmethod
    def write(folder: Path, index: Index) -> None:
        """Write an index into a new folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_index(folder, index.tensors, index.about)


def _training_edges(look: _Look) -> Edges | None:
    """The training pairs with the reliabilities that a look gives them; None where denoising is left out."""
    if look.denoised.reliability is None:
        return None
    pairs = look.known.visible.pairs
    of_training = pairs.split == "train"
    return edge_table(pairs.select(of_training), look.denoised.reliability[of_training])


def _with_examples_as_known(inputs: Inputs, kept_back: NDArray[np.bool_]) -> Pairs:
    """The pairs but those of the test split, with validation pairs that rankers learned from as training pairs."""
    pairs = inputs.pairs
    learned_from = (pairs.split == "valid") & ~kept_back
    return replace(pairs, split=np.where(learned_from, "train", pairs.split)).select(pairs.split != "test")
