"""From scores to probabilities: p(substitute), p(complement), p(neither) of a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.bootstrap import calibration_error, calibration_interval
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import CLASSES, RELATIONS

EXAMPLES = 5_000
# Fewer examples than this are all fitted, and none is left to judge the fit by.
FEWEST_JUDGED = 100
# What is assumed before any example: rows are CLASSES, columns the two scores and an intercept. From the shipped demo
# and Beauty; the deviation is how far other catalogues are expected to differ.
PRIOR = np.array([[0.85, -0.5, -0.9], [-0.6, 0.9, -0.8], [-0.25, -0.4, 1.7]])
PRIOR_DEVIATION = 0.5


def calibrate(
    index: Index, held_back: Pairs, known: Pairs, warm: NDArray[np.bool_], rng: np.random.Generator
) -> dict[str, Any]:
    """Fit a multinomial logistic regression from the two scores to the three classes (Platt, 1999), near a prior.

    Examples: held-back pairs between warm items seen in one relation alone, and as many random pairs of warm items
    that are not known as any. The probabilities hold for that mix: a pair in question is as likely linked as not.

    Args:
        index: what scores; it has seen none of the held-back pairs.
        held_back: pairs that neither evidence nor ranker saw.
        known: pairs that are no example of `neither`: all that are seen, held-back ones among them.
        warm: (n_items,) the items that may be examples.
        rng: draws the examples.

    Returns:
        JSON values: `coefficients` (3, 2), `intercepts` (3,), the scores' `scale` (2,), `examples`; `width`: half the
        95 % interval of a probability, on average over the scores of random pairs; and the calibration
        errors, of all classes and of each relation, with their 95 % intervals, on a fifth of the examples that the fit
        did not see, None if there are few.
    """
    pairs = held_back.select(warm[held_back.a] & warm[held_back.b] & ~held_back.ambiguous())
    chosen = rng.permutation(len(pairs))[:EXAMPLES]
    linked = pairs.a[chosen], pairs.b[chosen]
    labels = np.where(pairs.holds("substitute")[chosen], 0, 1)
    a, b = rng.choice(np.flatnonzero(warm), size=(2, max(len(chosen), FEWEST_JUDGED))) if warm.any() else (chosen,) * 2
    unlinked = (a != b) & (find_pairs(known.a, known.b, a, b, len(warm)) < 0)
    ends = [np.concatenate(side).astype(np.int64) for side in zip(linked, (a[unlinked], b[unlinked]), strict=True)]
    labels = np.concatenate([labels, np.full(int(unlinked.sum()), 2)])
    inputs = np.ones((len(labels), 3))
    inputs[:, :2] = np.stack([index.pair_scores(relation, *ends) for relation in RELATIONS], axis=1)
    enough = len(chosen) >= FEWEST_JUDGED
    # Unlinked pairs without linked ones would only teach that nothing is ever linked.
    judged = (rng.random(len(labels)) < 0.2) if enough else np.zeros(len(labels), np.bool_)
    fitted = ~judged if len(chosen) else np.zeros(len(labels), np.bool_)
    weights, covariance = _fit(inputs[fitted], labels[fitted])
    probabilities = _softmax(inputs[judged] @ weights.T)
    return {
        "classes": list(CLASSES),
        "coefficients": weights[:, :2].tolist(),
        "intercepts": weights[:, 2].tolist(),
        "scale": [1.0, 1.0],
        "examples": int(fitted.sum()),
        "width": round(_width(inputs[:EXAMPLES], weights, covariance), 4),
        **_errors(probabilities, labels[judged], rng.spawn(1)[0]),
    }


def _errors(probabilities: NDArray[np.float64], labels: NDArray[Any], rng: np.random.Generator) -> dict[str, Any]:
    """Calibration errors with their 95 % intervals; None without any example."""
    names = "expected_calibration_error", "calibration_error"
    if not len(labels):
        return dict.fromkeys([*names, *(f"{name}_ci" for name in names)])
    relations = {
        relation: (_against_rest(probabilities[:, number]), (labels != number).astype(int))
        for number, relation in enumerate(RELATIONS)
    }
    return {
        "expected_calibration_error": round(calibration_error(probabilities, labels), 4),
        "expected_calibration_error_ci": _interval(probabilities, labels, rng),
        "calibration_error": {name: round(calibration_error(*given), 4) for name, given in relations.items()},
        "calibration_error_ci": {name: _interval(*given, rng) for name, given in relations.items()},
    }


def _interval(probabilities: NDArray[np.float64], labels: NDArray[Any], rng: np.random.Generator) -> list[float]:
    return [round(end, 4) for end in calibration_interval(probabilities, labels, rng)]


def _fit(inputs: NDArray[np.float64], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The likeliest weights (3, 3) under the prior, and their covariance (9, 9) by Laplace's approximation."""
    from scipy import optimize  # noqa: PLC0415  slow to import, and only fitting needs it

    wanted = np.eye(len(CLASSES))[labels]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(PRIOR.shape)
        probabilities = _softmax(inputs @ weights.T)
        away = (weights - PRIOR) / PRIOR_DEVIATION
        likelihood = np.log(np.maximum((probabilities * wanted).sum(axis=1), 1e-12)).sum()
        gradient = (probabilities - wanted).T @ inputs + away / PRIOR_DEVIATION
        return float((away**2).sum() / 2 - likelihood), gradient.ravel()

    weights = optimize.minimize(loss, PRIOR.ravel(), jac=True, method="L-BFGS-B").x.reshape(PRIOR.shape)
    probabilities = _softmax(inputs @ weights.T)
    spread = np.einsum("nc,cd->ncd", probabilities, np.eye(len(CLASSES))) - np.einsum(
        "nc,nd->ncd", probabilities, probabilities
    )
    curvature = np.einsum("ncd,ni,nj->cidj", spread, inputs, inputs).reshape(weights.size, weights.size)
    return weights, np.linalg.inv(curvature + np.eye(weights.size) / PRIOR_DEVIATION**2)


def _width(inputs: NDArray[np.float64], weights: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    if not len(inputs):
        inputs = np.ones((1, 3))
    probabilities = _softmax(inputs @ weights.T)
    # How much each probability changes with each logit, then with each weight: (pairs, classes, classes * inputs).
    by_logit = np.einsum("nc,cd->ncd", probabilities, np.eye(len(CLASSES))) - np.einsum(
        "nc,nd->ncd", probabilities, probabilities
    )
    by_weight = np.einsum("ncd,ni->ncdi", by_logit, inputs).reshape(len(inputs), len(CLASSES), -1)
    variance = np.einsum("ncw,wv,ncv->nc", by_weight, covariance, by_weight)
    return float(1.96 * np.sqrt(np.maximum(variance, 0)).mean())


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=0))
    normal: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return normal


def _against_rest(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([probability, 1 - probability], axis=1)
