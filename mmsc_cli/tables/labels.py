"""The label table, `labels.parquet`: an annotator's opinion of candidate pairs, and how far to trust it.

A row is an unordered pair of item rows, `a < b`. `direction` is that of a complement: `a_to_b` means that `b` goes with
`a` (`b` is the accessory), the same reading as `buy_ab` in the pair table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.tables.table import ENDS, ArtefactTable, PairTable

Direction = Literal["a_to_b", "b_to_a", "both", ""]

LABEL_SCHEMA = pa.schema(
    [
        *ENDS,
        *(pa.field(f"p_{name}", pa.float32(), nullable=False) for name in CLASSES),
        pa.field("direction", pa.string()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt_version", pa.string(), nullable=False),
        pa.field("label_mass", pa.float32(), nullable=False),
        pa.field("agreement", pa.float32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Labels(PairTable):
    """The label table in memory; all arrays have shape (labels,).

    Attributes:
        p_substitute: probability of each class, and so on for the other two; they sum to one.
        direction: "" (null in the file) where complement is not the likeliest class.
        model: the annotator's name.
        prompt_version: version of the prompt or the rules.
        label_mass: fraction of the answer's probability that fell on the options at all; 1 if unknown.
        agreement: how often draws from the answers to (A, B) and to (B, A) agree, beyond chance: 1 where both are sure
            of one class, 0 where they contradict each other or say nothing.
    """

    TABLE: ClassVar[ArtefactTable] = ArtefactTable(LABEL_SCHEMA, "a label table", "mmsc label")

    p_substitute: NDArray[np.float32]
    p_complement: NDArray[np.float32]
    p_neither: NDArray[np.float32]
    direction: NDArray[np.str_]
    model: NDArray[np.str_]
    prompt_version: NDArray[np.str_]
    label_mass: NDArray[np.float32]
    agreement: NDArray[np.float32]

    def probabilities(self) -> NDArray[np.float32]:
        """Return the probabilities as an array of shape (labels, 3), columns in the order of CLASSES."""
        return np.stack([self.p_substitute, self.p_complement, self.p_neither], axis=1)
