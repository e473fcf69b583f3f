"""What an evaluation reads, and what of it a baseline may be fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.outside import Outside
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import Relation


@dataclass(frozen=True)
class Modality:
    """The embeddings of one modality, row-aligned with the items; `vectors` may be memory-mapped.

    Attributes:
        vectors: shape (items, dim), any float type.
        present: shape (items,), whether the item has this modality at all.
    """

    vectors: NDArray[Any]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class _Artefacts:
    """Pairs and metadata.

    Attributes:
        pairs: the pairs.
        item_split: shape (items,), as `mmsc_cli.tables.items.item_splits` returns it.
        category: one category path (root to leaf) per item.
        text: text embeddings, None where there are none.
        image: image embeddings, None where there are none.
        joint: embeddings of text and image as one input, None where there are none.
        seed: the seed of everything drawn at random here.
        outside: partners outside the catalogue, None where `prepare` kept none.
    """

    pairs: Pairs
    item_split: NDArray[np.str_]
    category: Sequence[Sequence[str]]
    text: Modality | None = None
    image: Modality | None = None
    joint: Modality | None = None
    seed: int = 1
    outside: Outside | None = None

    @property
    def n_items(self) -> int:
        """Number of items of the catalogue."""
        return len(self.item_split)


@dataclass(frozen=True)
class FittingContext(_Artefacts):
    """All that a baseline may see, which is all that the model sees: pairs that are not held out, and metadata.

    Raises:
        ValueError: a test pair, or a pair or outside partner of a cold item, was passed in.
    """

    def __post_init__(self) -> None:
        warm = (self.item_split[self.pairs.a] == "warm") & (self.item_split[self.pairs.b] == "warm")
        held_out = np.count_nonzero((self.pairs.split == "test") | ~warm)
        if held_out:
            raise ValueError(f"a baseline was about to be fitted on {held_out} held-out pairs")
        if self.outside is not None and np.any(self.item_split[self.outside.item] != "warm"):
            raise ValueError("a baseline was about to be fitted on outside partners of held-out items")


@dataclass(frozen=True)
class EvaluationContext(_Artefacts):
    """The artefacts an evaluation reads; `pairs` are those of every split.

    `kept`: by name, the `tuning` of baselines whose settings are those of an earlier evaluation.

    Raises:
        WorkspaceError: the artefacts do not belong together.
    """

    kept: Mapping[str, Mapping[Relation, Mapping[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.category) != self.n_items:
            raise WorkspaceError(
                f"{len(self.category)} category paths for {self.n_items} items", hint="run `mmsc prepare SOURCE`"
            )
        last = max((int(ends.max(initial=-1)) for ends in (self.pairs.a, self.pairs.b)), default=-1)
        if last >= self.n_items:
            raise WorkspaceError(
                f"a pair names item row {last} of {self.n_items} items", hint="run `mmsc prepare SOURCE`"
            )
        for name, modality in (("text", self.text), ("image", self.image), ("joint", self.joint)):
            if modality and not len(modality.vectors) == len(modality.present) == self.n_items:
                raise WorkspaceError(
                    f"{len(modality.vectors)} {name} embeddings for {self.n_items} items",
                    hint="run `mmsc encode`",
                )

    def for_fitting(self, *splits: Literal["train", "valid"]) -> FittingContext:
        """The pairs of the given splits between warm items, their outside partners, and all metadata.

        Without the pairs of cold_valid items: by them such an item would become a candidate, but none is ever right.
        """
        pairs = self.pairs.of(*splits)
        warm = self.item_split == "warm"
        return FittingContext(
            pairs=pairs.select(warm[pairs.a] & warm[pairs.b]),
            item_split=self.item_split,
            category=self.category,
            text=self.text,
            image=self.image,
            joint=self.joint,
            seed=self.seed,
            outside=None if self.outside is None else self.outside.of_items(warm),
        )
