"""A classifier of pairs: logistic regression or gradient boosting, whichever predicts unseen labels better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from mmsc_cli.tables.relations import CLASSES

Kind = Literal["logistic regression", "gradient boosting"]
KINDS: tuple[Kind, ...] = ("logistic regression", "gradient boosting")
FOLDS = 5
OUTLIER = 5.0  # standard deviations
BLOCK = 1_024  # pairs that are looked at together: few enough to stay in the processor's cache from tree to tree
FEW = 1_000  # examples with which gradient boosting grows fewer trees with smaller leaves
# A probability is at least this: nobody is surer than that.
LEAST = 0.002


@dataclass(frozen=True)
class Lessons:
    """What a teacher says of pairs: `features` (examples, features), `classes` (examples,) numbers in CLASSES.

    `pair` (examples,): examples of one pair, seen from both ends, have one number and are never parted.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    pair: NDArray[np.int64]

    def select(self, chosen: NDArray[np.bool_]) -> Lessons:
        """Some of the examples."""
        return Lessons(self.features[chosen], self.classes[chosen], self.pair[chosen])


class Classifier:
    """Probabilities of the three classes from features."""

    def __init__(self, kind: Kind, lessons: Lessons, seed: int) -> None:
        """Fit to what a teacher said."""
        self.kind = kind
        self.sharpness = 1.0
        x, few = lessons.features, len(lessons.classes) < FEW
        self._mean, self._scale = x.mean(axis=0), x.std(axis=0) + np.float32(1e-3)
        self._model: Any
        if kind == "logistic regression":
            self._model = LogisticRegression(C=0.05, max_iter=300)
        else:
            self._model = HistGradientBoostingClassifier(
                max_leaf_nodes=8,
                learning_rate=0.1,
                max_iter=40 if few else 60,
                min_samples_leaf=15 if few else 30,
                l2_regularization=5,
                early_stopping=False,
                random_state=seed,
            )
        self._model.fit(self._standard(x), lessons.classes)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(pairs, 3) in the order of CLASSES, from features (pairs, features)."""
        found = np.full((len(features), len(CLASSES)), LEAST)
        standard = self._standard(features)
        for start in range(0, len(features), BLOCK):
            block = slice(start, start + BLOCK)
            found[block, self._model.classes_] = np.clip(self._model.predict_proba(standard[block]), LEAST, 1)
        return sharpened(found, self.sharpness)

    def _standard(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        standard: NDArray[np.float32] = np.clip((features - self._mean) / self._scale, -OUTLIER, OUTLIER)
        return standard


def fit_best(lessons: Lessons, seed: int) -> tuple[Classifier, NDArray[np.float64]] | None:
    """Fit the kind that predicts unseen examples better; None where a class has too few to tell.

    Returns:
        The classifier, calibrated, and what it said of each example (examples, 3) when it had not seen the pair.
    """
    counts = np.bincount(lessons.classes, minlength=len(CLASSES))
    if np.count_nonzero(counts >= 2 * FOLDS) < 2:
        return None
    fold = np.random.default_rng(seed).permutation(int(lessons.pair.max()) + 1)[lessons.pair] % FOLDS
    best: tuple[float, Kind, NDArray[np.float64], float] | None = None
    for kind in KINDS:
        unseen = np.empty((len(fold), len(CLASSES)))
        for number in range(FOLDS):
            held_out = fold == number
            unseen[held_out] = Classifier(kind, lessons.select(~held_out), seed).probabilities(
                lessons.features[held_out]
            )
        sharpness = _fit_sharpness(unseen, lessons.classes)
        loss = _loss(sharpened(unseen, sharpness), lessons.classes)
        if best is None or loss < best[0]:
            best = loss, kind, sharpened(unseen, sharpness), sharpness
    assert best is not None
    classifier = Classifier(best[1], lessons, seed)
    classifier.sharpness = best[3]
    return classifier, best[2]


def sharpened(probabilities: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Probabilities (pairs, 3) to a power, summing to one: surer above 1, less sure below (temperature scaling)."""
    powers = probabilities**sharpness
    normal: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normal


def _fit_sharpness(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    found = minimize_scalar(
        lambda log: _loss(sharpened(probabilities, float(np.exp(log))), classes), bounds=(-2, 1), method="bounded"
    )
    return float(np.exp(found.x))


def _loss(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    return float(-np.log(probabilities[np.arange(len(classes)), classes]).mean())
