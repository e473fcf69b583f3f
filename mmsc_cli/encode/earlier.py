"""The vectors of an earlier run: what has the same content now has the same vector, and is not encoded again.

Beside the vectors, `embeddings/` holds what they are of: `inputs.npy`, (items, 2) uint64, the hashes of each row's text
and image; and `made.json`, what else decides them. An encoder that is fitted on the catalogue itself is kept with
them until the catalogue has drifted; `fitted-text.npy` and `fitted-image.npy` hold the hashes of what it was fitted on.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.different_inputs import NO_INPUT, joint_hashes
from mmsc_cli.encode.part_files import Modality
from mmsc_cli.encoders.encoder import Encoder, read_card
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import atomic_write, write_json
from mmsc_cli.tables.embeddings import Embeddings, map_array

# The encoder is fitted anew when more than this share of the texts or images was not there when it was fitted.
DRIFT = 0.1
_INPUTS, _MADE = "inputs.npy", "made.json"
_Fitted = Literal["text", "image"]
_COLUMNS: tuple[_Fitted, ...] = ("text", "image")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """Embeddings of an earlier run, which are whole.

    Attributes:
        folder: where they are.
        inputs: (items, 2) the hashes of their texts and images.
        made: what else decided them.
        embeddings: the vectors.
        fitted_on: the hashes of the texts and images that the encoder was fitted on, if it was.
    """

    folder: Path
    inputs: NDArray[np.uint64]
    made: Mapping[str, Any]
    embeddings: Embeddings
    fitted_on: Mapping[_Fitted, NDArray[np.uint64]]

    @classmethod
    def open(cls, folder: Path) -> Earlier | None:
        """Open them; None where an earlier version of mmsc made them, or they cannot be what mmsc wrote."""
        try:
            made = json.loads((folder / _MADE).read_bytes())
            inputs = map_array(folder / _INPUTS, "mmsc encode")
            embeddings = Embeddings.open(folder, len(inputs))
            fitted_on = {modality: map_array(folder / _fitted_on(modality), "mmsc encode") for modality in _COLUMNS}
        except (OSError, ValueError, RecursionError, WorkspaceError):
            return None
        hashes = inputs.ndim == 2 and inputs.shape[1] == 2 and inputs.dtype == np.uint64 and len(inputs) > 0
        return cls(folder, inputs, made, embeddings, fitted_on) if hashes and isinstance(made, dict) else None

    def fits(self, encoder: Encoder) -> bool:
        """Whether the vectors are as wide as those of an encoder."""
        return all(self.vectors(modality).shape[1] == encoder.width(modality) for modality in get_args(Modality))

    def keep_fitted(self, hashes: Mapping[Modality, NDArray[np.uint64]], fitted: Path) -> None:
        """Take over the encoder that was fitted on the catalogue, unless the catalogue has drifted.

        Args:
            hashes: of all texts and images now, (items,) each.
            fitted: the folder that keeps what this run fits.
        """
        from mmsc_cli.encoders.classic.classic import FILES  # noqa: PLC0415  imports scikit-learn

        drift = max(_share_of_new(hashes[modality], self.fitted_on[modality]) for modality in _COLUMNS)
        told = f"encode: {drift:.1%} of the catalogue is new since the encoder was fitted"
        if drift > DRIFT:
            _LOG.info("%s: it is fitted anew", told)
            return
        _LOG.info("%s: it is kept", told)
        fitted.mkdir(exist_ok=True)
        for name in FILES:  # the last one says that the others are there
            with atomic_write(fitted / name) as file:
                file.write((self.folder / name).read_bytes())

    def has_encoder(self, fitted: Path) -> bool:
        """Whether the encoder in a folder is the one that made these vectors."""
        return read_card(fitted) == read_card(self.folder)

    def rows(self, modality: Modality, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of a vector for each of some inputs, -1 where there is none or it is zero."""
        if modality == "joint":
            column = joint_hashes(*self.inputs.T)
            mask = np.asarray(self.embeddings.mask.all(axis=1))
        else:
            number = _COLUMNS.index(modality)
            column, mask = self.inputs[:, number], self.embeddings.mask[:, number]
        order = np.argsort(column, kind="stable")
        place = np.minimum(np.searchsorted(column[order], hashes), len(column) - 1)
        found = order[place]
        same = (column[found] == hashes) & (hashes != NO_INPUT)
        rows: NDArray[np.int64] = np.where(same & mask[found], found, -1)
        return rows

    def vectors(self, modality: Modality) -> NDArray[np.float16]:
        """Return the vectors, (items, dim)."""
        vectors: NDArray[np.float16] = getattr(self.embeddings, modality)
        return vectors


@dataclass(frozen=True)
class Known:
    """Which inputs of a modality have a vector from before.

    Attributes:
        rows: (inputs,) the row of each input's vector, -1 for one without.
        vectors: (rows, dim) the vectors; None if there are none.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float16] | None = None

    @classmethod
    def of(cls, earlier: Earlier | None, modality: Modality, hashes: NDArray[np.uint64]) -> Known:
        """Look up inputs by their hashes, (inputs,)."""
        if earlier is None or not len(hashes):
            return cls(np.full(len(hashes), -1))
        return cls(earlier.rows(modality, hashes), earlier.vectors(modality))

    def __len__(self) -> int:
        return int((self.rows >= 0).sum())

    def missing(self, numbers: range) -> NDArray[np.int64]:
        """Return those of some inputs that must be encoded."""
        missing: NDArray[np.int64] = numbers.start + np.flatnonzero(self.rows[numbers.start : numbers.stop] < 0)
        return missing

    def block(self, numbers: range, dim: int) -> NDArray[np.float16]:
        """Return the vectors of some inputs, (inputs, dim), zero where they must be encoded."""
        block = np.zeros((len(numbers), dim), np.float16)
        rows = self.rows[numbers.start : numbers.stop]
        if self.vectors is not None:
            block[rows >= 0] = self.vectors[rows[rows >= 0]]
        return block


def write_inputs(
    folder: Path, hashes: Mapping[Modality, NDArray[np.uint64]], made: Mapping[str, Any], fitted_on: Path | None
) -> None:
    """Write what the vectors in `folder` are of, for the next run.

    Args:
        folder: the new embeddings.
        hashes: of their texts and images, (items,) each.
        made: what else decided them.
        fitted_on: the embeddings whose encoder was taken over; None: this run fitted its own.
    """
    np.save(folder / _INPUTS, np.stack([hashes[modality] for modality in _COLUMNS], axis=1), allow_pickle=False)
    for modality in _COLUMNS:
        if fitted_on is not None:
            shutil.copyfile(fitted_on / _fitted_on(modality), folder / _fitted_on(modality))
        else:
            np.save(folder / _fitted_on(modality), np.unique(hashes[modality]), allow_pickle=False)
    write_json(folder / _MADE, made)


def _fitted_on(modality: _Fitted) -> str:
    return f"fitted-{modality}.npy"


def _share_of_new(hashes: NDArray[np.uint64], known: NDArray[np.uint64]) -> float:
    there = hashes[hashes != NO_INPUT]
    return float((~np.isin(there, known)).mean()) if len(there) else 0.0
