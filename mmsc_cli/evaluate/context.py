"""What an evaluation is made from, and the part of it that a baseline may be fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.tables.pairs import Pairs


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
class FittingContext:
    """All that a baseline may see: training pairs and metadata, as the model does.

    Raises:
        ValueError: a pair that is not a training pair was passed in.
    """

    pairs: Pairs
    item_split: NDArray[np.str_]
    category: Sequence[Sequence[str]]
    text: Modality | None
    image: Modality | None
    seed: int

    def __post_init__(self) -> None:
        held_out = np.count_nonzero(self.pairs.split != "train")
        if held_out:
            raise ValueError(f"a baseline was about to be fitted on {held_out} held-out pairs")

    @property
    def items(self) -> int:
        """Number of items of the catalogue."""
        return len(self.item_split)


@dataclass(frozen=True)
class EvaluationContext:
    """The artefacts an evaluation reads.

    Attributes:
        pairs: all pairs, of every split.
        item_split: shape (items,), as `mmsc_cli.tables.items.item_splits` returns it.
        category: one category path (root to leaf) per item.
        text: text embeddings, None where there are none.
        image: image embeddings, None where there are none.
        seed: the seed of everything drawn at random here.

    Raises:
        WorkspaceError: the artefacts do not belong together.
    """

    pairs: Pairs
    item_split: NDArray[np.str_]
    category: Sequence[Sequence[str]]
    text: Modality | None = None
    image: Modality | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if len(self.category) != self.items:
            raise WorkspaceError(
                f"{len(self.category)} category paths for {self.items} items", hint="run `mmsc prepare SOURCE`"
            )
        last = max((int(ends.max(initial=-1)) for ends in (self.pairs.a, self.pairs.b)), default=-1)
        if last >= self.items:
            raise WorkspaceError(
                f"a pair names item row {last} of {self.items} items", hint="run `mmsc prepare SOURCE`"
            )
        for name, modality in (("text", self.text), ("image", self.image)):
            if modality and not len(modality.vectors) == len(modality.present) == self.items:
                raise WorkspaceError(
                    f"{len(modality.vectors)} {name} embeddings for {self.items} items",
                    hint="run `mmsc encode`",
                )

    @property
    def items(self) -> int:
        """Number of items of the catalogue."""
        return len(self.item_split)

    def for_fitting(self) -> FittingContext:
        """The part of it without validation and test pairs."""
        train = self.pairs.of("train")
        return FittingContext(train, self.item_split, self.category, self.text, self.image, self.seed)
