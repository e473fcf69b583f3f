"""Several annotators on one pair: people and a model, each weighed by how often it is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.tables.judgements import Votes
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import CLASSES

# How often one person is right where too few pairs were judged by two people to tell.
USUAL_ACCURACY = 0.95
FEWEST_COMPARED = 20
LEAST, MOST = 0.4, 0.98
PEOPLE = "people"


def with_people(labels: Labels | None, votes: Votes, n_items: int) -> Labels | None:
    """Labels, and what people said of the same pairs and of others; None where there is neither.

    The probability of a class is in proportion to the product, over annotators, of how probable what each said is if
    the class is true. People are as accurate as they agree with one another; the model is as accurate as it agrees
    with people, and as it says where too few of its pairs were judged. A pair of both has both names.
    """
    if not len(votes):
        return labels
    people = _accuracy_of_people(votes.counts)
    chance = (1 - people) / (len(CLASSES) - 1)
    said = votes.counts.astype(np.float64) @ np.log(np.where(np.eye(len(CLASSES)) > 0, people, chance))
    both = np.zeros(len(votes), np.bool_)
    if labels is not None:
        row = labels.find(votes.a, votes.b, n_items)
        both = row >= 0
        given = labels.probabilities().astype(np.float64)
        if np.count_nonzero(both) >= FEWEST_COMPARED:
            right = given[row[both]].argmax(axis=1) == votes.counts[both].argmax(axis=1)
            given = _as_accurate(given, float(np.clip(right.mean(), LEAST, MOST)))
        given[row[both]] = _normal(np.log(np.clip(given[row[both]], 1e-6, 1)) + said[both])
        labels = _with_probabilities(labels, given)
        model = labels.model.astype(object)
        model[row[both]] += f" and {PEOPLE}"
        labels = replace(labels, model=model.astype(str))
    alone = ~both
    own = _with_probabilities(_labels_of(votes.a[alone], votes.b[alone]), _normal(said[alone]))
    return own if labels is None else labels.joined(own)


def _accuracy_of_people(counts: NDArray[np.int64]) -> float:
    """How often one person is right, from how often two agree on a pair: a^2 + (1 - a)^2 / 2, if errors differ."""
    people = counts.sum(axis=1)
    pairs_of_people = float((people * (people - 1)).sum() / 2)
    if pairs_of_people < FEWEST_COMPARED:
        return USUAL_ACCURACY
    agreement = float((counts * (counts - 1)).sum() / 2) / pairs_of_people
    accuracy = (1 + np.sqrt(max(0.0, 6 * agreement - 2))) / 3
    return float(np.clip(accuracy, LEAST, MOST))


def _as_accurate(probabilities: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
    """The likeliest class gets the accuracy, the others share the rest."""
    said = np.full_like(probabilities, (1 - accuracy) / (len(CLASSES) - 1))
    said[np.arange(len(said)), probabilities.argmax(axis=1)] = accuracy
    return said


def _normal(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logarithms - logarithms.max(axis=1, keepdims=True, initial=-np.inf))
    normal: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return normal


def _with_probabilities(labels: Labels, probabilities: NDArray[np.float64]) -> Labels:
    substitute, complement, neither = probabilities.astype(np.float32).T
    return replace(labels, p_substitute=substitute, p_complement=complement, p_neither=neither)


def _labels_of(a: NDArray[np.int32], b: NDArray[np.int32]) -> Labels:
    """Labels by people, without probabilities yet."""
    ones = np.ones(len(a), np.float32)
    texts = {name: np.full(len(a), text) for name, text in (("direction", ""), ("model", PEOPLE))}
    return Labels(a, b, ones, ones, ones, prompt_version=np.full(len(a), "1"), label_mass=ones, agreement=ones, **texts)
