"""How far a catalogue and its behaviour have drifted since training last started anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.arrays.id_hashes import hash_ids, mix
from mmsc_cli.tables.judgements import Votes
from mmsc_cli.tables.table import PairTable
from mmsc_cli.train.inputs import Inputs
from mmsc_cli.train.student.student import teaching_labels
from mmsc_cli.train.yesterday.sketch import Sketch

# Training starts anew where a larger share than this is new since it last did. People judge to be heard.
MOST_NEW = {"items": 0.25, "pairs": 0.5, "labels": 0.1, "judgements": 0.0}
# Pairs are held out by the order of their hashes, so that a new item can move an old pair into the test pairs.
MOST_LEARNED_FROM = 0.1


@dataclass(frozen=True)
class Since:
    """What was there when training last started anew: sketches of items, pairs but test pairs, labels, judgements."""

    sketches: Mapping[str, Sketch]

    @classmethod
    def of(cls, inputs: Inputs) -> Since:
        """What is there now."""
        return cls({name: Sketch.of(found) for name, found in _sets(inputs, _id_hashes(inputs)).items()})

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Since:
        """What `tensors` returned.

        Raises:
            KeyError: there is not all of it.
        """
        return cls({name: Sketch(tensors[name].astype(np.uint64)) for name in MOST_NEW})

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The sketches, for a file."""
        return {name: sketch.hashes for name, sketch in self.sketches.items()}

    def drift(self, inputs: Inputs) -> dict[str, float]:
        """The new share of items, pairs, labels and judgements, and the share of test pairs that were learned from."""
        ids = _id_hashes(inputs)
        shares = {
            name: 1 - self.sketches[name].share_known(found) if len(found) else 0.0
            for name, found in _sets(inputs, ids).items()
        }
        test = _pair_hashes(ids, inputs.pairs.of("test"))
        return {**shares, "learned from": self.sketches["pairs"].share_known(test)}


def too_far(drift: Mapping[str, float]) -> str | None:
    """Say what has drifted too far to keep what was learned; None where nothing has."""
    for name, most in MOST_NEW.items():
        if drift[name] > most:
            return f"{drift[name]:.1%} of the {name} are new since it last started anew"
    if drift["learned from"] > MOST_LEARNED_FROM:
        return f"{drift['learned from']:.0%} of the test pairs were not held out when it last started anew"
    return None


def _sets(inputs: Inputs, ids: NDArray[np.uint64]) -> dict[str, NDArray[np.uint64]]:
    labels, learned_from = teaching_labels(inputs.labels), inputs.pairs.select(inputs.pairs.split != "test")
    none = np.zeros(0, np.uint64)
    return {
        "items": ids,
        "pairs": _pair_hashes(ids, learned_from),
        "labels": none if labels is None else _said(ids, labels, labels.probabilities()),
        "judgements": none if labels is None else _said(ids, inputs.votes, inputs.votes.counts),
    }


def _said(ids: NDArray[np.uint64], pairs: PairTable | Votes, classes: NDArray[Any]) -> NDArray[np.uint64]:
    """Hashes of pairs and the likeliest of their classes (pairs, 3): a pair that is called something else is new."""
    return mix(_pair_hashes(ids, pairs), classes.argmax(axis=1).astype(np.uint64))


def _id_hashes(inputs: Inputs) -> NDArray[np.uint64]:
    return hash_ids(inputs.items["item_id"].to_pylist(), "drift")


def _pair_hashes(ids: NDArray[np.uint64], pairs: PairTable | Votes) -> NDArray[np.uint64]:
    return mix(ids[pairs.a], ids[pairs.b])
