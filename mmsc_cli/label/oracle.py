"""The annotator of known accuracy: it knows the truth of a synthetic catalogue, and lies about a share of it.

It exists to answer one question: how good must an annotator be before its labels pay? It states its own accuracy as
the probability of its answer, so it is calibrated. A language model is not: it errs on the hard pairs, not on random
ones, and rarely says how unsure it is. What an oracle of some accuracy gains is therefore the most that a language
model of that accuracy can hope for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.label.opinions import Opinions
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.tables.truth import Truth

ORACLE_MODEL = "oracle"
ORACLE_VERSION = "oracle-1"
_PREFIX = f"{ORACLE_MODEL}:"


def oracle_accuracy(model: str) -> float | None:
    """The accuracy in a name such as `oracle:0.8`; None where the name is not an oracle's.

    Raises:
        InputError: what follows `oracle:` is no number from 0 to 1.
    """
    if model != ORACLE_MODEL and not model.startswith(_PREFIX):
        return None
    given = model.removeprefix(ORACLE_MODEL).removeprefix(":")
    try:
        accuracy = float(given)
    except ValueError:
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise InputError(
            f"--model {model}: {given!r} is not an accuracy between 0 and 1", hint="write for example oracle:0.8"
        )
    return accuracy


def oracle_name(accuracy: float) -> str:
    """How an oracle is named in labels and manifest."""
    return f"{_PREFIX}{accuracy:g}"


def consult(
    truth: Truth, a: NDArray[np.int32], b: NDArray[np.int32], *, accuracy: float, n_items: int, seed: int
) -> Opinions:
    """Answer about pairs of item rows, shape (pairs,), `a < b`, each rightly with probability `accuracy`.

    A wrong answer is one of the two others, equally often. From the same seed, one that is more accurate is right
    wherever one that is less accurate is. The answer gets the probability `accuracy`, the others share the rest.
    `direction` is the true one of a true complement, and "both" where the oracle invents one.
    """
    true = _true_class(truth, a, b, n_items)
    generator = numpy_generator(seed, "label/oracle")
    lies = generator.random(len(a)) >= accuracy
    step = generator.integers(1, len(CLASSES), len(a))
    answer = np.where(lies, (true + step) % len(CLASSES), true)
    probabilities = np.full((len(a), len(CLASSES)), (1 - accuracy) / 2)
    probabilities[np.arange(len(a)), answer] = accuracy
    complement = CLASSES.index("complement")
    known = np.append(truth.direction, "")[truth.find(a, b, n_items)]
    direction = np.where((true == complement) & (known != ""), known, "both")
    name = oracle_name(accuracy)
    return Opinions.of_one_order(
        a, b, probabilities, direction, annotator=name, version=ORACLE_VERSION, states_accuracy=True
    )


def _true_class(truth: Truth, a: NDArray[Any], b: NDArray[Any], n_items: int) -> NDArray[np.int64]:
    """Number of the true class in CLASSES; a pair that is both is taken as a substitute."""
    holds = [truth.of_pairs(relation, a, b, n_items) for relation in ("substitute", "complement")]
    return np.select(holds, [0, 1], 2)
