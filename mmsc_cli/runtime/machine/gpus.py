"""How many GPUs this process may use, without loading a library that occupies them."""

from __future__ import annotations

import os
import re
from pathlib import Path

# The kernel's driver lists them, one folder a GPU.
_NVIDIA = "proc/driver/nvidia/gpus"


def visible_gpus(root: Path = Path("/")) -> int:
    """Return the number of NVIDIA GPUs of the machine, or those that CUDA_VISIBLE_DEVICES leaves of them.

    Args:
        root: the folder that has `proc`.
    """
    folder = root / _NVIDIA
    there = len(list(folder.iterdir())) if folder.is_dir() else 0
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return there
    # CUDA stops reading at the first name that is none, such as -1.
    names = chosen.split(",")
    valid = next(
        (place for place, name in enumerate(names) if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name.strip())), None
    )
    return min(there, len(names) if valid is None else valid)
