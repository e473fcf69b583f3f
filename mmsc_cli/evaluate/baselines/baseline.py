"""A baseline: how it is fitted, and the written grid from which its setting is chosen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.evaluate.context import FittingContext
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import RELATIONS, Relation

if TYPE_CHECKING:
    import torch

Made = TypeVar("Made")
ScoreRows = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""From query rows, shape (queries,), to scores of shape (queries, items)."""

Setting = Mapping[str, float | int | bool]
"""One point of a grid: the keyword arguments of the baseline's fit."""

Validate = Callable[[ScoreRows, str], float | None]
"""From scores, and their name in messages, to NDCG@10 on validation pairs; None where there is no query."""


def on_cpu() -> torch.device:
    """Compute on the processor."""
    import torch  # noqa: PLC0415  torch is slow to import

    return torch.device("cpu")


@dataclass(frozen=True)
class FittingTask:
    """What a baseline is fitted on.

    Attributes:
        context: pairs and metadata.
        relation: the relation to be answered.
        label: the name of this fit in progress and messages.
        validate: for early stopping while settings are chosen; None when the chosen setting is fitted at last.
        checks: number of checks a network trains then; None: until it stops improving.
        with_outside: whether partners outside the catalogue are evidence, too.
        device: where networks compute; called only when one is fitted.
        progress: told of long work.
        memory: what fits of one tuning have in common, see `once`.
    """

    context: FittingContext
    relation: Relation
    label: str
    validate: Validate | None = None
    checks: int | None = None
    with_outside: bool = False
    device: Callable[[], torch.device] = on_cpu
    progress: Progress = SILENT
    memory: dict[Hashable, Any] = field(default_factory=dict)

    def once(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returns, made for the first setting that asks for it; it may depend on nothing but `name`."""
        key = name, self.with_outside
        if key not in self.memory:
            self.memory[key] = make()
        made: Made = self.memory[key]
        return made

    def adjacency(self, *, strengths: bool) -> sparse.csr_array[Any]:
        """Symmetric (items, items) matrix of the relation's pairs: their strengths, or ones."""
        return self.context.pairs.adjacency(self.relation, self.context.n_items, weighted=strengths)

    def outside(self) -> sparse.csr_array[Any]:
        """Strengths towards partners outside the catalogue, (items, partners of either relation); or no column."""
        table, n_items = self.context.outside, self.context.n_items
        if table is None or not self.with_outside:
            return sparse.csr_array(np.zeros((n_items, 0), np.float32))
        return sparse.csr_array(sparse.hstack([table.matrix(relation, n_items) for relation in RELATIONS]))

    @property
    def n_nodes(self) -> int:
        """Number of items, and of partners outside the catalogue."""
        return sum(self.outside().shape)

    def degree(self) -> NDArray[np.int64]:
        """Number of pairs of each item in the relation, shape (items,)."""
        return np.diff(self.adjacency(strengths=False).indptr).astype(np.int64)


@dataclass(frozen=True)
class Baseline:
    """A baseline as the registry lists it.

    Attributes:
        fit: called as fit(task, **setting).
        grid: the settings to choose from on validation, the default first; empty if there is nothing to tune.
        answers_cold: whether it is meant to answer items without behaviour. If so, its setting is chosen by the mean of
            the validation figures of warm and of cold items, else by warm items alone.
        uses_outside: whether it can use partners outside the catalogue.
        check: raises InputError where something that it needs is missing.
    """

    fit: Callable[..., ScoreRows]
    grid: tuple[Setting, ...] = ()
    answers_cold: bool = False
    uses_outside: bool = False
    check: Callable[[FittingContext], object] = lambda _: None


def every(**choices: Sequence[float | int | bool]) -> tuple[Setting, ...]:
    """All combinations of the choices, as a grid; the first of each make up the default."""
    return tuple(dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))


def dot_products(query: NDArray[np.float32], key: NDArray[np.float32]) -> ScoreRows:
    """Score by the dot product of the query's vector and each item's, both given as (items, dim)."""
    return lambda queries: np.asarray(query[queries] @ key.T, dtype=np.float32)
