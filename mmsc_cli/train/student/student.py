"""The student: p(substitute), p(complement), p(neither) of any pair, learned from three teachers.

Two students are always there: one that behaviour teaches what related items look like, one that the rules teach what
behaviour of related items looks like. Where there are labels, a third reads both views and what the first two say. It
is used only if it predicts labels that it has not seen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.metrics.bootstrap import bootstrap_interval, calibration_error, calibration_interval
from mmsc_cli.rules.pair_rules import RULES_MODEL
from mmsc_cli.runtime.seeds import derive_seed, numpy_generator
from mmsc_cli.tables.judgements import Votes
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.train.student.classifier import Classifier, Lessons, enough, fit_best
from mmsc_cli.train.student.judged import Judged
from mmsc_cli.train.student.teachers import Taught, shown_pairs, taught_by_behaviour, taught_by_rules
from mmsc_cli.train.student.views import PairViews

_LOG = logging.getLogger(__name__)
NEITHER = CLASSES.index("neither")
# An annotator is taken to be right at least this often: what follows from less is a guess.
LEAST_ACCURACY = 0.5
LEAST = 0.005
# How much the students without labels count beside that of labels. They make none of an annotator's errors, of which
# those that are always the same are learned from labels like anything else (docs/experiments.md).
WITHOUT_LABELS = 0.4
# How much more they count for each fraction of the labels that is wrong and always the same, and the most they count.
BY_SAME_ERRORS = 1.5
MOST_WITHOUT_LABELS = 0.7


@dataclass(frozen=True)
class Student:
    """What the teachers left.

    Attributes:
        by_behaviour: reads metadata.
        by_rules: reads behaviour.
        by_labels: reads both, and what the other two say; None without labels that teach.
        accuracy: how often the annotator of the labels is right, by all that is known of it.
        without_labels: how much the students without labels count beside that of labels, 0 to 1.
        about: what was measured, for the report.
        cleaned: the labels as student and annotator see them together; None without labels that teach.
        unseen: (labels, 3) what the student says of the labelled pairs when it has not seen their labels.
        trust: how far to follow the cleaned labels, 0 to 1.
        skill: how much better than chance the student is at pairs that it has not seen, by its own probabilities, 0 to
            1; 1 without labels, which alone could say.
    """

    by_behaviour: Classifier
    by_rules: Classifier
    by_labels: Classifier | None = None
    accuracy: float = 1.0
    without_labels: float = WITHOUT_LABELS
    about: dict[str, Any] | None = None
    cleaned: Labels | None = None
    unseen: NDArray[np.float32] | None = None
    trust: float = 0.0
    skill: float = 1.0

    def of_judged(self, votes: Votes, n_items: int) -> Judged:
        """Pairs that people judged, with what the student says of them unseen."""
        classes = votes.counts.argmax(axis=1)
        if self.cleaned is None or self.unseen is None:
            return Judged(votes.a.astype(np.int64), votes.b.astype(np.int64), classes)
        rows = self.cleaned.find(votes.a, votes.b, n_items)
        taught, a, b = rows >= 0, votes.a.astype(np.int64), votes.b.astype(np.int64)
        return Judged(a[taught], b[taught], classes[taught], self.unseen[rows[taught]])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What `of_tensors` makes a student of the same opinions from, for a file."""
        named = {"by_behaviour": self.by_behaviour, "by_rules": self.by_rules, "by_labels": self.by_labels}
        return {"accuracy": np.array([self.accuracy])} | {
            f"{name}.{key}": tensor
            for name, classifier in named.items()
            if classifier is not None
            for key, tensor in classifier.tensors().items()
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]], about: dict[str, Any] | None) -> Student:
        """The student whose `tensors` and `about` these are; without cleaned labels, which only a network trains on.

        Raises:
            KeyError: there is not all of it.
        """
        named: dict[str, dict[str, NDArray[Any]]] = {}
        for name, tensor in tensors.items():
            classifier, _, key = name.partition(".")
            named.setdefault(classifier, {})[key] = tensor
        return cls(
            by_behaviour=Classifier.of_tensors(named["by_behaviour"]),
            by_rules=Classifier.of_tensors(named["by_rules"]),
            by_labels=Classifier.of_tensors(named["by_labels"]) if "by_labels" in named else None,
            accuracy=float(tensors["accuracy"][0]),
            about=about,
        )

    def probabilities(
        self,
        views: PairViews,
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        features: NDArray[np.float32],
        strengths: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The probabilities of pairs, (pairs, 3) in the order of CLASSES, as seen from their first end.

        Args:
            views: of the look at the catalogue.
            pairs: both ends, each (pairs,).
            features: evidence, (pairs, features).
            strengths: (pairs, 2).
        """
        metadata = views.metadata(*pairs)
        behaviour = views.behaviour(features, strengths)
        opinions = [self.by_behaviour.probabilities(metadata), self.by_rules.probabilities(behaviour)]
        plain = _mixed(opinions[0], opinions[1], 0.5)
        if self.by_labels is None:
            return plain.astype(np.float32)
        told = self.by_labels.probabilities(_everything(features, strengths, metadata, opinions))
        return _mixed(_without_noise(told, self.accuracy), plain, self.without_labels).astype(np.float32)

    def of_candidates(
        self,
        views: PairViews,
        queries: NDArray[np.int64],
        candidates: NDArray[np.int64],
        features: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The same of candidates, (queries, candidates, 3).

        Args:
            views: of the look at the catalogue.
            queries: item rows (queries,).
            candidates: item rows (queries, candidates), -1 where there is none; what is said of none means nothing.
            features: evidence, (queries, candidates, features).
        """
        partners = np.maximum(candidates, 0)
        pairs = np.repeat(queries, candidates.shape[1]), partners.ravel()
        strengths = views.strengths(queries, partners).reshape(len(pairs[0]), -1)
        said = self.probabilities(views, pairs, features.reshape(len(pairs[0]), -1), strengths)
        return said.reshape(*candidates.shape, len(CLASSES))


def teach(views: PairViews, labels: Labels | None, seed: int) -> Student | None:
    """Have the teachers teach; None where behaviour shows no pairs of one relation alone to learn from."""
    known = views.evidence.known
    rng = numpy_generator(seed, "student")
    shown = shown_pairs(known, rng)
    behaviour, rules = taught_by_behaviour(known, shown, rng), taught_by_rules(views, shown)
    if min(len(np.unique(behaviour.classes)), len(np.unique(rules.classes))) < 2:
        return None
    seed = derive_seed(seed, "student/trees") % 2**31
    metadata = Lessons(
        views.metadata(behaviour.a, behaviour.b), behaviour.classes, np.arange(len(behaviour.classes), dtype=np.int64)
    )
    by_behaviour = Classifier.fit("logistic regression", metadata, seed)
    features, strengths = views.of_pairs(rules.a, rules.b)
    by_rules = Classifier.fit("logistic regression", _from_both_ends(views.behaviour(features, strengths), rules), seed)
    student = Student(by_behaviour, by_rules)
    if labels is None or not len(labels):
        return student
    # The rules teach already. A student of their labels would see what they look at, and copy their errors.
    others = _of_others(labels)
    if not len(others):
        _LOG.info("labels: those of the rules teach nothing new, as the rules are always among the teachers")
        return student
    return _with_labels(student, views, others, seed)


def teaching_labels(labels: Labels | None) -> Labels | None:
    """The labels to learn from: not the rules', and enough of two classes; None where there are none."""
    if labels is None:
        return None
    others = _of_others(labels)
    # Both ends of a pair are an example.
    return others if enough(np.repeat(others.probabilities().argmax(axis=1), 2)) else None


def _of_others(labels: Labels) -> Labels:
    """The labels of any annotator but the rules."""
    return labels.select(labels.model != RULES_MODEL)


def _with_labels(student: Student, views: PairViews, labels: Labels, seed: int) -> Student:
    """Let labels teach too, if a student of them predicts those that it has not seen."""
    given = labels.probabilities().astype(np.float64)
    taught = Taught(labels.a.astype(np.int64), labels.b.astype(np.int64), given.argmax(axis=1))
    features, strengths = views.of_pairs(taught.a, taught.b)
    ends = np.concatenate([taught.a, taught.b]), np.concatenate([taught.b, taught.a])
    metadata, behaviour = views.metadata(*ends), views.behaviour(features, strengths)
    opinions = [student.by_behaviour.probabilities(metadata), student.by_rules.probabilities(behaviour)]
    lessons = _from_both_ends(_everything(features, strengths, metadata, opinions), taught)
    fitted = fit_best(lessons, seed)
    plain = _of_pairs(_mixed(opinions[0], opinions[1], 0.5))
    shares = np.bincount(taught.classes, minlength=len(CLASSES)) / len(taught.classes)
    about: dict[str, Any] = {
        "labels": len(labels),
        "annotators": sorted(set(labels.model.tolist())),
        "annotator_agreement": round(float(labels.agreement.mean()), 4),
        "everything_neither": round(float(shares[NEITHER]), 4),
        "without_labels_accuracy": round(float((plain.argmax(axis=1) == taught.classes).mean()), 4),
        "kind": None,
        "used": False,
    }
    if fitted is None:
        _LOG.warning("labels are not used: there are too few of each class to teach a student")
        return replace(student, about=about)
    classifier, unseen = fitted[0], _of_pairs(fitted[1])
    right = (unseen.argmax(axis=1) == taught.classes).astype(np.float64)
    interval = bootstrap_interval(right, numpy_generator(seed, "student/accuracy"))
    assert interval is not None
    about |= {
        "kind": classifier.kind,
        "accuracy": round(float(right.mean()), 4),
        "accuracy_ci": [round(end, 4) for end in interval],
        "calibration_error": round(calibration_error(unseen, taught.classes), 4),
        "calibration_error_ci": [
            round(end, 4)
            for end in calibration_interval(unseen, taught.classes, numpy_generator(seed, "student/calibration"))
        ],
    }
    if right.mean() < about["without_labels_accuracy"]:
        _LOG.warning("labels are not used: a student without them predicts them better")
        return replace(student, about=about)
    # Better than any answer that is the same for all pairs, of which "everything neither" is one.
    if interval[0] <= shares.max():
        _LOG.warning(
            "labels are not used: their student is right in %.0f %% of pairs it has not seen, and one class for "
            "all in %.0f %%",
            100 * right.mean(),
            100 * shares.max(),
        )
        return replace(student, about=about)
    if _contradicts(plain, taught.classes):
        _LOG.warning("labels are not used: they call substitutes what shoppers and rules call complements")
        return replace(student, about=about)
    # A student cannot agree with labels more often than they are right, but for errors that it can learn too.
    accuracy = float(np.clip(max(given.max(axis=1).mean(), right.mean()), LEAST_ACCURACY, 0.995))
    own = np.full_like(unseen, (1 - accuracy) / 2)
    own[np.arange(len(own)), taught.classes] = accuracy
    same_errors = _same_errors(float(given.max(axis=1).mean()), unseen, taught.classes)
    without_labels = min(MOST_WITHOUT_LABELS, WITHOUT_LABELS + BY_SAME_ERRORS * same_errors)
    true = _mixed(_without_noise(unseen, accuracy), plain, without_labels)
    joint = true * own
    joint /= joint.sum(axis=1, keepdims=True)
    trust, skill = _better_than_chance(joint), _better_than_chance(true)
    about |= {"used": True, "annotator_accuracy": round(accuracy, 4), "same_errors": round(same_errors, 4)}
    about |= {"trust": round(trust, 4), "skill": round(skill, 4)}
    substitute, complement, neither = joint.astype(np.float32).T
    cleaned = replace(labels, p_substitute=substitute, p_complement=complement, p_neither=neither)
    return replace(
        student,
        by_labels=classifier,
        accuracy=accuracy,
        without_labels=without_labels,
        about=about,
        cleaned=cleaned,
        unseen=true.astype(np.float32),
        trust=trust,
        skill=skill,
    )


def _same_errors(stated: float, unseen: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The fraction of labels that are wrong in a way that can be learned.

    Random errors cannot be predicted: where a student is surest, it agrees with labels as often as these are right.
    Where it agrees more often, it has learned errors too.

    Args:
        stated: how often the annotator says that it is right.
        unseen: what the student says of the pairs (labels, 3) when it has not seen their labels.
        classes: the labels, (labels,).
    """
    sureness = unseen.max(axis=1)
    surest = sureness >= np.quantile(sureness, 0.75)
    agrees = float((unseen[surest].argmax(axis=1) == classes[surest]).mean())
    return max(0.0, 1 - stated / max(agrees, LEAST_ACCURACY))


def _better_than_chance(probabilities: NDArray[np.float64]) -> float:
    """How often the likeliest class of (pairs, 3) is right, by what they say, so that chance is 0 and always is 1."""
    chance = 1 / len(CLASSES)
    return max(0.0, (float(probabilities.max(axis=1).mean()) - chance) / (1 - chance))


def _contradicts(opinions: NDArray[np.float64], classes: NDArray[np.int64]) -> bool:
    """Whether labels tell the two relations apart the wrong way round, against (pairs, 3) opinions without labels."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  slow to import, and only labels need it

    related = classes != NEITHER
    if len(np.unique(classes[related])) < 2:
        return False
    leaning = np.log(opinions[related, 0]) - np.log(opinions[related, 1])
    return float(roc_auc_score(classes[related] == 0, leaning)) < 0.5


def _everything(
    features: NDArray[np.float32],
    strengths: NDArray[np.float32],
    metadata: NDArray[np.float32],
    opinions: list[NDArray[np.float64]],
) -> NDArray[np.float32]:
    """Both views, and what the first two students say, (pairs, features)."""
    said = np.log(np.concatenate(opinions, axis=1))
    return np.concatenate([features, strengths, metadata, said], axis=1, dtype=np.float32)


def _from_both_ends(features: NDArray[np.float32], taught: Taught) -> Lessons:
    """Lessons of features (2 * pairs, features), of the pairs and of the pairs the other way round."""
    number = np.arange(len(taught.classes), dtype=np.int64)
    return Lessons(features, np.tile(taught.classes, 2), np.tile(number, 2))


def _of_pairs(both_ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (pairs, 3) from those of both ends, (2 * pairs, 3)."""
    first, second = np.split(both_ends, 2)
    mean = (first + second) / 2
    normal: NDArray[np.float64] = mean / mean.sum(axis=1, keepdims=True)
    return normal


def _mixed(first: NDArray[np.float64], second: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The geometric mean of probabilities (pairs, 3), of which the second have a share of the weight."""
    product = first ** (1 - share) * second**share
    normal: NDArray[np.float64] = product / product.sum(axis=1, keepdims=True)
    return normal


def _without_noise(probabilities: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
    """What is true, (pairs, 3), from what an annotator of this accuracy would say, whose errors are evenly spread.

    It says the true class with the probability `accuracy`, each other with half of the rest.
    """
    rest = (1 - accuracy) / 2
    true = np.clip((probabilities - rest) / (accuracy - rest), LEAST, 1)
    normal: NDArray[np.float64] = true / true.sum(axis=1, keepdims=True)
    return normal
