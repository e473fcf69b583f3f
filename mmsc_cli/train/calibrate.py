"""From scores to probabilities: p(substitute), p(complement), p(neither) of a pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mmsc_cli.index.index_file import Index
from mmsc_cli.metrics.bootstrap import calibration_error
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import CLASSES, RELATIONS

EXAMPLES = 5_000


def calibrate(index: Index, pairs: Pairs, warm: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Any]:
    """Fit a multinomial logistic regression from the two scores to the three classes (Platt, 1999).

    Examples: validation pairs between warm items seen in one relation alone, and as many random pairs of warm items
    that are not known as any. The probabilities hold for that mix: a pair in question is as likely linked as not.

    Returns:
        JSON values: `coefficients` (3, 2), `intercepts` (3,), the scores' `scale` (2,), `examples`, and the expected
        calibration error on a fifth of the examples that the fit did not see. Empty where validation is too small.
    """
    valid = pairs.of("valid")
    valid = valid.select(warm[valid.a] & warm[valid.b] & ~valid.ambiguous())
    chosen = rng.permutation(len(valid))[:EXAMPLES]
    a, b = valid.a[chosen].astype(np.int64), valid.b[chosen].astype(np.int64)
    labels = np.where(valid.holds("substitute")[chosen], 0, 1)
    unlinked = rng.choice(np.flatnonzero(warm), size=(2, len(chosen)))
    items = np.int64(len(warm))
    low, high = unlinked.min(axis=0).astype(np.int64), unlinked.max(axis=0).astype(np.int64)
    known = pairs.of("train", "valid")
    fresh = ~np.isin(low * items + high, known.a.astype(np.int64) * items + known.b) & (low != high)
    a, b = np.concatenate([a, low[fresh]]), np.concatenate([b, high[fresh]])
    labels = np.concatenate([labels, np.full(int(fresh.sum()), 2)])
    if np.bincount(labels, minlength=3).min() < 10:
        return {}
    scores = np.stack([index.pair_scores(relation, a, b) for relation in RELATIONS], axis=1)
    scale = scores.std(axis=0) + 1e-6
    held_out = rng.random(len(labels)) < 0.2
    model = LogisticRegression(C=1.0, max_iter=1_000).fit(scores[~held_out] / scale, labels[~held_out])
    probabilities = model.predict_proba(scores[held_out] / scale)
    return {
        "classes": list(CLASSES),
        "coefficients": model.coef_.tolist(),
        "intercepts": model.intercept_.tolist(),
        "scale": scale.tolist(),
        "examples": len(labels),
        "expected_calibration_error": round(calibration_error(probabilities, labels[held_out]), 4),
    }
