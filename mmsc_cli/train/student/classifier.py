"""A classifier of pairs: logistic regression or gradient boosting, whichever predicts unseen labels better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

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


class _Linear:
    """Logistic regression."""

    kind: Kind = "logistic regression"

    def __init__(
        self, weights: NDArray[np.float64], intercepts: NDArray[np.float64], classes: NDArray[np.int64]
    ) -> None:
        """Take weights (classes, features), intercepts (classes,) and the numbers of the classes, (classes,)."""
        self.weights = weights
        self.intercepts = intercepts
        self.classes = classes

    @classmethod
    def fit(cls, standard: NDArray[np.float32], classes: NDArray[np.int64]) -> _Linear:
        """Fit to examples (examples, features) of classes (examples,)."""
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  slow to import, and only fitting needs it

        model = LogisticRegression(C=0.05, max_iter=300).fit(standard, classes)
        weights, intercepts = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
        if len(weights) == 1:  # of two classes, scikit-learn keeps the second's alone
            weights, intercepts = np.concatenate([0 * weights, weights]), np.concatenate([[0.0], intercepts])
        return cls(weights, intercepts, np.asarray(model.classes_, np.int64))

    def probabilities(self, standard: NDArray[np.float32]) -> NDArray[np.float64]:
        """(pairs, classes) of examples (pairs, features)."""
        shares: NDArray[np.float64] = softmax(standard @ self.weights.T + self.intercepts, axis=1)
        return shares

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What it is made of."""
        return {"weights": self.weights, "intercepts": self.intercepts, "classes": self.classes}


class _Trees:
    """Gradient boosting. Its trees grow from the same examples alike, and are kept as these."""

    kind: Kind = "gradient boosting"

    def __init__(self, examples: NDArray[np.float32], labels: NDArray[np.int64], seed: NDArray[np.int64]) -> None:
        """Fit to examples (examples, features), their labels (examples,) and a seed (1,)."""
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415  slow to import

        self._made_of: dict[str, NDArray[Any]] = {"examples": examples, "labels": labels, "seed": seed}
        few = len(labels) < FEW
        self._model = HistGradientBoostingClassifier(
            max_leaf_nodes=8,
            learning_rate=0.1,
            max_iter=40 if few else 60,
            min_samples_leaf=15 if few else 30,
            l2_regularization=5,
            early_stopping=False,
            random_state=int(seed[0]),
        ).fit(examples, labels)
        self.classes: NDArray[np.int64] = self._model.classes_

    def probabilities(self, standard: NDArray[np.float32]) -> NDArray[np.float64]:
        """(pairs, classes) of examples (pairs, features)."""
        shares: NDArray[np.float64] = self._model.predict_proba(standard)
        return shares

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What it grows from."""
        return self._made_of


@dataclass(frozen=True)
class Classifier:
    """Probabilities of the three classes from features, of which it knows mean and scale (features,)."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    model: _Linear | _Trees
    sharpness: float = 1.0

    @classmethod
    def fit(cls, kind: Kind, lessons: Lessons, seed: int) -> Classifier:
        """Fit to what a teacher said."""
        mean, scale = lessons.features.mean(axis=0), lessons.features.std(axis=0) + np.float32(1e-3)
        standard = _standard(lessons.features, mean, scale)
        if kind == "logistic regression":
            return cls(mean, scale, _Linear.fit(standard, lessons.classes))
        return cls(mean, scale, _Trees(standard, lessons.classes, np.array([seed])))

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Classifier:
        """The classifier whose `tensors` these are.

        Raises:
            KeyError: there is not all of it.
        """
        model: _Linear | _Trees
        if "examples" in tensors:
            model = _Trees(tensors["examples"], tensors["labels"], tensors["seed"])
        else:
            model = _Linear(tensors["weights"], tensors["intercepts"], tensors["classes"])
        return cls(tensors["mean"], tensors["scale"], model, float(tensors["sharpness"][0]))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What `of_tensors` makes the same classifier from, for a file."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "sharpness": np.array([self.sharpness]),
            **self.model.tensors(),
        }

    @property
    def kind(self) -> Kind:
        """What kind it is."""
        return self.model.kind

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(pairs, 3) in the order of CLASSES, from features (pairs, features)."""
        found = np.full((len(features), len(CLASSES)), LEAST)
        standard = _standard(features, self.mean, self.scale)
        for start in range(0, len(features), BLOCK):
            block = slice(start, start + BLOCK)
            found[block, self.model.classes] = np.clip(self.model.probabilities(standard[block]), LEAST, 1)
        return sharpened(found, self.sharpness)


def enough(classes: NDArray[np.int64]) -> bool:
    """Whether examples of these classes, (examples,), can be told apart: there are enough of two."""
    return int(np.count_nonzero(np.bincount(classes, minlength=len(CLASSES)) >= 2 * FOLDS)) >= 2


def fit_best(lessons: Lessons, seed: int) -> tuple[Classifier, NDArray[np.float64]] | None:
    """Fit the kind that predicts unseen examples better; None where a class has too few to tell.

    Returns:
        The classifier, calibrated, and what it said of each example (examples, 3) when it had not seen the pair.
    """
    if not enough(lessons.classes):
        return None
    fold = np.random.default_rng(seed).permutation(int(lessons.pair.max()) + 1)[lessons.pair] % FOLDS
    best: tuple[float, Kind, NDArray[np.float64], float] | None = None
    for kind in KINDS:
        unseen = np.empty((len(fold), len(CLASSES)))
        for number in range(FOLDS):
            held_out = fold == number
            unseen[held_out] = Classifier.fit(kind, lessons.select(~held_out), seed).probabilities(
                lessons.features[held_out]
            )
        sharpness = _fit_sharpness(unseen, lessons.classes)
        loss = _loss(sharpened(unseen, sharpness), lessons.classes)
        if best is None or loss < best[0]:
            best = loss, kind, sharpened(unseen, sharpness), sharpness
    assert best is not None
    return replace(Classifier.fit(best[1], lessons, seed), sharpness=best[3]), best[2]


def sharpened(probabilities: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Probabilities (pairs, 3) to a power, summing to one: surer above 1, less sure below (temperature scaling)."""
    powers = probabilities**sharpness
    normal: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normal


def _fit_sharpness(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar  # noqa: PLC0415  slow to import, and only fitting needs it

    found = minimize_scalar(
        lambda log: _loss(sharpened(probabilities, float(np.exp(log))), classes), bounds=(-2, 1), method="bounded"
    )
    return float(np.exp(found.x))


def _loss(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    return float(-np.log(probabilities[np.arange(len(classes)), classes]).mean())


def _standard(
    features: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    standard: NDArray[np.float32] = np.clip((features - mean) / scale, -OUTLIER, OUTLIER)
    return standard
