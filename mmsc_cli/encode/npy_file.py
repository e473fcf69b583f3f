"""A .npy file that is written piece by piece."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike


def write_header(file: IO[bytes], dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    """Write what comes before the rows."""
    header: dict[str, Any] = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def skip_header(file: IO[bytes]) -> None:
    """Go to the rows of a file that begins as `write_header` wrote it."""
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
