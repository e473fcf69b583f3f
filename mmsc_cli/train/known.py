"""What is known: of the items, whichever pairs are visible; and of their behaviour, from the pairs that are visible.

A training looks at the same catalogue several times, with other pairs hidden each time: folds of the training pairs,
the training pairs, at last all pairs. `Known` is one such look. Everything in it comes from visible pairs, from visible
partners outside the catalogue and from metadata, so whatever it feeds cannot leak a hidden pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.model.category import category_paths
from mmsc_cli.model.features import ItemFeatures
from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.content_branch import Description, content_rows
from mmsc_cli.train.linear_branch import LinearRows, Sparse, linear_rows

# Content neighbours whose partners are evidence. More than are fitted on: for an item that nobody has met, what many
# look-alikes have in common says more than what the nearest few have.
LOOK_ALIKES = 100
# A partner of more items than this says little, and would make the pairs of items that share it many.
MOST_ITEMS_OF_A_PARTNER = 1_000


@dataclass(frozen=True)
class Visible:
    """What may be looked at: pairs, partners outside the catalogue, and which items play cold, (n_items,) bool.

    No pair and no partner of a cold item is in it.
    """

    pairs: Pairs
    outside: Outside | None
    cold: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: Pairs, outside: Outside | None, cold: NDArray[np.bool_]) -> Visible:
        """Drop whatever touches a cold item."""
        seen = pairs.select(~(cold[pairs.a] | cold[pairs.b]))
        return cls(seen, None if outside is None else outside.of_items(~cold), cold)

    @classmethod
    def training(cls, pairs: Pairs, outside: Outside | None, item_splits: NDArray[np.str_]) -> Visible:
        """The pairs of the training split; held-out items are cold."""
        return cls.of(pairs.of("train"), outside, item_splits != "warm")

    @cached_property
    def has_behaviour(self) -> NDArray[np.bool_]:
        """Which items have a visible pair, (n_items,)."""
        touched = np.zeros(len(self.cold), np.bool_)
        touched[self.pairs.a] = touched[self.pairs.b] = True
        return touched


class Catalogue:
    """What is known of the items whichever pairs are visible, among them the content neighbours of each.

    `candidates` (n_items,) the items that may be neighbours, `nearest` (n_items, k) the most alike among them, -1 where
    there are fewer, `likeness` of the same shape, 0 there.
    """

    def __init__(
        self, items: ItemFeatures, candidates: NDArray[np.bool_], neighbours: int, progress: Progress = SILENT
    ) -> None:
        """Find the content neighbours.

        Args:
            items: metadata.
            candidates: (n_items,) the items that may be neighbours: those with behaviour, as a rule.
            neighbours: how many an item has.
            progress: counts items.
        """
        self.items = items
        self.neighbours = neighbours
        self.semantic = semantic_vectors(items.sides, items.side_masks)
        self.candidates = candidates
        self.nearest, self.likeness = self._search(candidates, progress)

    def __len__(self) -> int:
        return len(self.items)

    def widened(self, candidates: NDArray[np.bool_], progress: Progress = SILENT) -> Catalogue:
        """The same with further candidates, (n_items,); only these are searched for."""
        further = candidates & ~self.candidates
        if not further.any():
            return self
        wider = copy(self)
        found, likeness = self._search(further, progress)
        wider.candidates = self.candidates | further
        wider.likeness, place = torch.cat([self.likeness, likeness], dim=1).topk(self.nearest.shape[1], dim=1)
        wider.nearest = torch.cat([self.nearest, found], dim=1).gather(1, place)
        return wider

    def _search(self, candidates: NDArray[np.bool_], progress: Progress) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and likeness of the nearest candidates of each item; more than are wanted, as some may play cold."""
        wanted = max(2 * self.neighbours, LOOK_ALIKES + 20)
        allowed, own_rows = torch.from_numpy(candidates), torch.arange(len(self))
        return nearest_items(self.semantic, self.semantic, allowed, wanted, own_rows, progress)

    def similar(self, allowed: NDArray[np.bool_], count: int | None = None) -> Graph:
        """The nearest neighbours among the allowed items, (n_items,) bool, as a graph whose rows sum to one.

        `count` of them; None: as many as the linear branch is fitted on.
        """
        usable = torch.from_numpy(allowed)[self.nearest] & (self.nearest >= 0)
        usable &= usable.cumsum(dim=1) <= (count or self.neighbours)
        nearest = torch.where(usable, self.nearest, -1)
        return neighbour_graph(nearest, torch.where(usable, self.likeness, 0), len(self))

    @cached_property
    def paths(self) -> NDArray[np.int64]:
        """Category nodes of each item from the root, (n_items, depth), 0 where the path has ended or is unknown."""
        return category_paths(self.items)

    @cached_property
    def description(self) -> Description:
        """What the items are, as the columns that relations are predicted from."""
        return Description(self.items, self.paths)

    @cached_property
    def content(self) -> list[NDArray[np.float32]]:
        """Text, image and joint vectors, (n_items, dim) each; without columns where no item has any."""
        sides = (side.float().numpy() for side in self.items.sides)
        return [side if side.any() else side[:, :0] for side in sides]


class Known:
    """One look at a catalogue: adjacency, lists, outside partners, content neighbours, answers of the two branches."""

    def __init__(self, catalogue: Catalogue, visible: Visible, keep: int, progress: Progress = SILENT) -> None:
        """Gather it, and fit the linear branch; `keep` answers of each item are kept."""
        n_items = len(catalogue)
        self.catalogue = catalogue
        self.visible = visible
        self.adjacency = {relation: visible.pairs.adjacency(relation, n_items) for relation in RELATIONS}
        self.lists = {relation: visible.pairs.lists(relation, n_items) for relation in RELATIONS}
        self.similar_graph = catalogue.similar(visible.has_behaviour)
        self.similar = self.similar_graph.as_sparse()
        self.look_alikes = catalogue.similar(visible.has_behaviour, LOOK_ALIKES).as_sparse()
        self.outside = _outside_rows(visible.outside, n_items)
        self.linear: dict[Relation, LinearRows] = {}
        with progress.task("Linear branch", len(RELATIONS)) as task:
            for relation in RELATIONS:
                self.linear[relation] = linear_rows(self.adjacency, relation, self.similar, self.outside, keep)
                task.advance()
        self.by_content = content_rows(catalogue.description, self.adjacency, visible.has_behaviour, keep)

    def candidates(self, queries: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The best linear answers of both relations in turn, (queries, count), -1 where there are fewer.

        For items without behaviour the answers by content take turns with them.
        """
        branches = (self.linear, self.by_content)
        return take_in_turn(
            [branch[relation].columns[queries, :count] for branch in branches for relation in RELATIONS], count
        )


def take_in_turn(lists: Sequence[NDArray[np.int32]], count: int) -> NDArray[np.int64]:
    """The first `count` different entries of lists that are read in turn, each (rows, length) with -1 for none."""
    in_turn = np.stack(lists, axis=2).reshape(len(lists[0]), -1)
    order = np.argsort(in_turn, axis=1, kind="stable")
    in_order = np.take_along_axis(in_turn, order, axis=1)
    repeated = np.zeros(in_turn.shape, np.bool_)
    np.put_along_axis(repeated, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    taken = ~repeated & (in_turn >= 0)
    taken &= taken.cumsum(axis=1) <= count
    answers = np.full((len(in_turn), count), -1, np.int64)
    answers[np.arange(count) < taken.sum(axis=1, keepdims=True)] = in_turn[taken]
    return answers


def _outside_rows(outside: Outside | None, n_items: int) -> dict[Relation, Sparse]:
    """Per relation (n_items, n_outside) strengths; partners that one visible item has, or very many, are left out."""
    if outside is None or not len(outside):
        return {relation: sparse.csr_array(sparse.coo_array((n_items, 0), dtype=np.float32)) for relation in RELATIONS}
    rows = {}
    for relation in RELATIONS:
        matrix = outside.matrix(relation, n_items)
        sharing = np.bincount(matrix.indices, minlength=matrix.shape[1])
        rows[relation] = sparse.csr_array(matrix[:, (sharing > 1) & (sharing <= MOST_ITEMS_OF_A_PARTNER)])
    return rows
