"""PartFile files: the vectors of 4,096 different inputs each, as numbered .npy files that are written atomically.

A part exists whole or not at all, so a killed run repeats at most the part it was working on, and all that shards have
to agree on are the numbers of their parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mmsc_cli.encode.different_inputs import DifferentInputs
from mmsc_cli.runtime.atomic import atomic_write, write_json
from mmsc_cli.tables.embeddings import map_array

Modality = Literal["text", "image", "joint"]
PART_INPUTS = 4_096


@dataclass(frozen=True)
class PartFile:
    """The inputs `numbers` of a modality, and the files of their vectors and of the inputs that cannot be used."""

    modality: Modality
    numbers: range
    path: Path

    @property
    def _failures_path(self) -> Path:
        return self.path.with_suffix(".failures.json")

    def write(self, vectors: NDArray[np.float16], failures: Mapping[int, str]) -> None:
        """Write the vectors, (inputs, dim), and why inputs failed, by their position in the part."""
        if failures:
            write_json(self._failures_path, {str(position): reason for position, reason in failures.items()})
        with atomic_write(self.path) as file:  # last: its presence says that the part is finished
            np.save(file, vectors, allow_pickle=False)

    def vectors(self) -> NDArray[np.float16]:
        """Map the vectors, (inputs, dim)."""
        return map_array(self.path, "mmsc encode")

    def failures(self) -> dict[int, str]:
        """Return why inputs failed, by their number."""
        if not self._failures_path.exists():
            return {}
        reasons: dict[str, str] = json.loads(self._failures_path.read_bytes())
        return {self.numbers.start + int(position): reason for position, reason in reasons.items()}


def cut_parts(folder: Path, modality: Modality, inputs: DifferentInputs) -> list[PartFile]:
    """Return the parts of a modality, in order. The cuts depend on nothing but the number of inputs."""
    return [
        PartFile(modality, range(start, min(start + PART_INPUTS, len(inputs))), folder / f"{modality}-{number:06d}.npy")
        for number, start in enumerate(range(0, len(inputs), PART_INPUTS))
    ]


def unfinished(parts: Iterable[PartFile]) -> list[PartFile]:
    """Return the parts without a file."""
    return [part for part in parts if not part.path.exists()]


def write_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]) -> None:
    """Write a .npy file atomically from blocks of its rows, so that only one of them is in memory."""
    with atomic_write(path) as file:
        header: dict[str, Any] = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
