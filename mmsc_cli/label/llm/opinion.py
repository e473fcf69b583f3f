"""From the answers to (A, B) and (B, A) to one opinion on a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.label.llm.prompt import Question, to_canonical
from mmsc_cli.label.llm.reply import Answer
from mmsc_cli.tables.labels import Direction

ONE_WAY = 2 / 3  # share of the complement probability that makes a complement go one way


@dataclass(frozen=True)
class Opinion:
    """The label of one pair, see `mmsc_cli.tables.labels.Labels` for the meaning of each value."""

    p_substitute: float
    p_complement: float
    p_neither: float
    direction: Direction
    label_mass: float
    agreement: float


def combine(questions: Sequence[Question], answers: Sequence[Answer]) -> Opinion:
    """Average the answers to the two orders, (A, B) first.

    Complement is the sum of its two directions. It goes one way if that direction holds at least ONE_WAY of
    its probability, else both ways; it has a direction only where it is the likeliest class. `agreement` is 1
    - total variation distance between the orders, over the three classes: a flipped direction alone does not
    lower it.
    """
    orders = [
        to_canonical(question.options, answer.by_letter, swapped=swapped)
        for question, answer, swapped in zip(questions, answers, (False, True), strict=True)
    ]
    first, second = (_classes(order) for order in orders)
    mean = (orders[0] + orders[1]) / 2
    substitute, complement, neither = _classes(mean).tolist()
    return Opinion(
        p_substitute=substitute,
        p_complement=complement,
        p_neither=neither,
        direction=_direction(mean[1], mean[2]) if complement > max(substitute, neither) else "",
        label_mass=(answers[0].label_mass + answers[1].label_mass) / 2,
        agreement=1 - 0.5 * float(np.abs(first - second).sum()),
    )


def _classes(order: NDArray[Any]) -> NDArray[Any]:
    return np.array([order[0], order[1] + order[2], order[3]])


def _direction(a_to_b: float, b_to_a: float) -> Direction:
    share = a_to_b / (a_to_b + b_to_a)
    if share >= ONE_WAY:
        return "a_to_b"
    return "b_to_a" if 1 - share >= ONE_WAY else "both"
