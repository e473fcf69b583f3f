"""The evaluation protocol: the queries of each slice, their right answers, and items that are neither right nor wrong.

A query is judged in two ways. The *plain* judgement takes every test pair of the relation as right. The
*clean* one takes only those seen in this relation alone; test pairs of both relations are masked, being
neither right nor wrong. In both, the query itself and its training and validation pairs of either relation
are masked; all other items of the catalogue are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.arrays.sparse_rows import both_directions, symmetric_matrix
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation

MODEL = "mmsc"  # the model's name among the systems that are judged
SliceName = Literal["all", "clean", "tail", "cold", "cold_clean"]
SLICES: tuple[SliceName, ...] = get_args(SliceName)
# The judgements and slices of truth mode (`mmsc_cli.evaluate.truth_mode`) are there for synthetic catalogues alone.
TrueSliceName = Literal["true_warm", "true_cold", "true_warm_unasked", "true_cold_unasked"]
JudgementName = Literal["plain", "clean", "true", "true_unasked"]

TAIL_BELOW = 3
SLICE_MEANINGS: dict[SliceName, str] = {
    "all": "test pairs between warm items, both ends as query",
    "clean": "test pairs between warm items in this relation only; those in both relations are masked",
    "tail": f"the queries of all with fewer than {TAIL_BELOW} training pairs in the relation",
    "cold": "cold_test items as queries, their warm partners as positives",
    "cold_clean": "as cold, pairs in this relation only; test pairs in both relations are masked",
}


@dataclass(frozen=True)
class Judgement:
    """Right and masked items per query, as boolean (items, items) matrices: row = query, column = item."""

    positives: sparse.csr_array[Any]
    masked: sparse.csr_array[Any]

    def has_positives(self, queries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether there is anything to find for each query, shape (queries,)."""
        pointers = self.positives.indptr
        return np.asarray(pointers[queries + 1] > pointers[queries])


@dataclass(frozen=True)
class Slice:
    """Queries (item rows, ascending) that have a positive in a judgement."""

    judgement: JudgementName
    queries: NDArray[np.int64]


@dataclass(frozen=True)
class RelationProtocol:
    """Queries and right answers of one relation."""

    relation: Relation
    judgements: dict[JudgementName, Judgement]
    slices: dict[SliceName | TrueSliceName, Slice]

    @property
    def queries(self) -> NDArray[np.int64]:
        """Every query of any slice, ascending; each needs to be scored only once."""
        return np.unique(np.concatenate([part.queries for part in self.slices.values()]))


def relation_protocol(relation: Relation, pairs: Pairs, item_split: NDArray[np.str_]) -> RelationProtocol:
    """Apply the protocol to a pair table of all splits and the split of each item, shape (items,)."""
    n_items = len(item_split)
    warm, cold = item_split == "warm", item_split == "cold_test"
    test = pairs.of("test")
    seen = pairs.of("train", "valid")
    known = symmetric_matrix(seen.a, seen.b, None, n_items) + sparse.eye_array(n_items, dtype=np.bool_, format="csr")
    both = test.select(test.ambiguous())
    of_relation = test.select(test.holds(relation))
    of_relation_only = of_relation.select(~of_relation.ambiguous())
    judgements: dict[JudgementName, Judgement] = {
        "plain": Judgement(_positives(of_relation, warm, cold), known),
        "clean": Judgement(
            _positives(of_relation_only, warm, cold),
            sparse.csr_array(known + symmetric_matrix(both.a, both.b, None, n_items)),
        ),
    }
    everything = np.arange(n_items, dtype=np.int64)
    plain, clean = (judgements[name].has_positives(everything) for name in ("plain", "clean"))
    tail = training_degree(relation, pairs, n_items) < TAIL_BELOW
    slices: dict[SliceName | TrueSliceName, Slice] = {
        "all": Slice("plain", np.flatnonzero(plain & warm)),
        "clean": Slice("clean", np.flatnonzero(clean & warm)),
        "tail": Slice("plain", np.flatnonzero(plain & warm & tail)),
        "cold": Slice("plain", np.flatnonzero(plain & cold)),
        "cold_clean": Slice("clean", np.flatnonzero(clean & cold)),
    }
    return RelationProtocol(relation, judgements, slices)


def validation_protocol(relation: Relation, pairs: Pairs, item_split: NDArray[np.str_]) -> RelationProtocol:
    """The protocol moved one split ahead, to choose settings by: validation pairs are right, training pairs known.

    Its slices are `all` and `cold`, the latter with cold_valid items as queries.

    Raises:
        ValueError: there are test pairs among `pairs`.
    """
    if np.any(pairs.split == "test"):
        raise ValueError("settings were about to be chosen by test pairs")
    judged = replace(pairs, split=np.where(pairs.split == "valid", "test", pairs.split))
    swapped = {"cold_valid": "cold_test", "cold_test": "cold_valid"}
    item_split = np.array([swapped.get(split, split) for split in item_split.tolist()], np.str_)
    protocol = relation_protocol(relation, judged, item_split)
    slices: dict[SliceName | TrueSliceName, Slice] = {name: protocol.slices[name] for name in ("all", "cold")}
    return RelationProtocol(relation, {"plain": protocol.judgements["plain"]}, slices)


def check_split(pairs: Pairs, item_split: NDArray[np.str_]) -> None:
    """Check that no held-out pair can have been trained on.

    Raises:
        WorkspaceError: a pair is in the table twice (perhaps in two splits or turned round), a cold item
            has a training pair, or a pair has another split than its cold end demands.
    """
    if len(np.unique(pair_keys(pairs.a, pairs.b, len(item_split)))) < len(pairs):
        raise _leak("a pair is in the pair table twice, so it may be both trained and tested on")
    ends = item_split[pairs.a], item_split[pairs.b]
    cold_test = (ends[0] == "cold_test") | (ends[1] == "cold_test")
    cold_valid = ((ends[0] == "cold_valid") | (ends[1] == "cold_valid")) & ~cold_test
    if np.any((pairs.split == "train") & (cold_test | cold_valid)):
        raise _leak("a cold item has training pairs")
    if np.any(cold_test & (pairs.split != "test")) or np.any(cold_valid & (pairs.split != "valid")):
        raise _leak("a pair of a cold item is in the wrong split")


def training_degree(relation: Relation, pairs: Pairs, n_items: int) -> NDArray[np.int64]:
    """Number of training pairs of each item in a relation, shape (items,)."""
    train = pairs.of("train")
    kept = train.select(train.holds(relation))
    return np.bincount(np.concatenate([kept.a, kept.b]), minlength=n_items)


def _positives(pairs: Pairs, warm: NDArray[np.bool_], cold: NDArray[np.bool_]) -> sparse.csr_array[Any]:
    """Both directions between warm items; from cold to warm, never from warm to cold."""
    queries, answers = both_directions(pairs.a, pairs.b)
    asked = (warm | cold)[queries] & warm[answers]
    entries = (np.ones(int(asked.sum()), np.bool_), (queries[asked], answers[asked]))
    return sparse.coo_array(entries, shape=(len(warm), len(warm))).tocsr()


def _leak(message: str) -> WorkspaceError:
    return WorkspaceError(f"the hold-out leaks: {message}", hint="run `mmsc prepare SOURCE` again")
