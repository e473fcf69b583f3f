"""The label table, `labels.parquet`: what an annotator thinks of candidate pairs, and how far to trust it.

A row is an unordered pair, `a < b`. `direction` says which way a complement goes: `a_to_b` means that `b`
goes with `a` (a shopper of `a` also needs `b`, the accessory), the same reading as `buy_ab` in the pair
table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.tables.table import read_artefact_table

Direction = Literal["a_to_b", "b_to_a", "both", ""]

LABEL_SCHEMA = pa.schema(
    [
        pa.field("a", pa.int32(), nullable=False),
        pa.field("b", pa.int32(), nullable=False),
        *(pa.field(f"p_{name}", pa.float32(), nullable=False) for name in CLASSES),
        pa.field("direction", pa.string()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt_version", pa.string(), nullable=False),
        pa.field("label_mass", pa.float32(), nullable=False),
        pa.field("agreement", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Labels:
    """The label table in memory; all arrays have shape (labels,).

    `direction` is "" (null in the file) where complement is not the likeliest class. `label_mass` is the
    share of the answer's probability that fell on the options at all (1 where an annotator cannot know it);
    `agreement` is 1 - total variation distance between the answers to (A, B) and to (B, A).
    """

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    p_substitute: NDArray[np.float32]
    p_complement: NDArray[np.float32]
    p_neither: NDArray[np.float32]
    direction: NDArray[np.str_]
    model: NDArray[np.str_]
    prompt_version: NDArray[np.str_]
    label_mass: NDArray[np.float32]
    agreement: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def of_one_opinion(
        cls,
        a: NDArray[Any],
        b: NDArray[Any],
        probabilities: NDArray[np.float32],
        direction: NDArray[np.str_],
        model: str,
        prompt_version: str,
    ) -> Labels:
        """Labels of an annotator that speaks once and plainly: mass and agreement are 1.

        Args:
            a: item rows, shape (labels,).
            b: item rows, shape (labels,).
            probabilities: shape (labels, 3), columns in the order of CLASSES.
            direction: of each label if it is a complement, shape (labels,); kept where that is the likeliest class.
            model: the annotator's name.
            prompt_version: which version of it.
        """
        complement = probabilities.argmax(axis=1) == CLASSES.index("complement")
        ones = np.ones(len(a), np.float32)
        return cls(
            a=a.astype(np.int32),
            b=b.astype(np.int32),
            p_substitute=probabilities[:, 0],
            p_complement=probabilities[:, 1],
            p_neither=probabilities[:, 2],
            direction=np.where(complement, direction, ""),
            model=np.full(len(a), model),
            prompt_version=np.full(len(a), prompt_version),
            label_mass=ones,
            agreement=ones,
        )

    def select(self, rows: NDArray[Any]) -> Labels:
        """Some rows, by a mask or by number."""
        return Labels(*(getattr(self, field.name)[rows] for field in fields(self)))

    def find(self, a: NDArray[Any], b: NDArray[Any], items: int) -> NDArray[np.int64]:
        """The row of each pair `a < b` of item rows, -1 where it has no label; shape (pairs,)."""
        return find_pairs(self.a, self.b, a, b, items)

    def probabilities(self) -> NDArray[np.float32]:
        """The distributions as an array of shape (labels, 3), columns in the order of CLASSES."""
        return np.stack([self.p_substitute, self.p_complement, self.p_neither], axis=1)


def write_labels(path: Path, labels: Labels) -> None:
    """Write the label table, atomically."""
    columns = {name: pa.array(getattr(labels, name)) for name in LABEL_SCHEMA.names if name != "direction"}
    columns["direction"] = pa.array(labels.direction.tolist(), pa.string(), mask=labels.direction == "")
    with atomic_write(path) as file:
        pq.write_table(pa.table(columns).select(LABEL_SCHEMA.names).cast(LABEL_SCHEMA), file, compression="zstd")


def read_labels(path: Path) -> Labels:
    """Read the label table.

    Raises:
        WorkspaceError: the file is missing or is no label table.
    """
    table = read_artefact_table(path, LABEL_SCHEMA, what="a label table", made_by="mmsc label")
    columns: dict[str, Any] = {}
    for field in LABEL_SCHEMA:
        if field.type == pa.string():
            columns[field.name] = np.asarray(table[field.name].fill_null("").to_pylist(), dtype=np.str_)
        else:
            columns[field.name] = table[field.name].to_numpy()
    return Labels(**columns)
