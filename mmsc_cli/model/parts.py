"""The parts of the model that a training can leave out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from mmsc_cli.errors import InputError

Part = Literal["network", "denoise", "aggregation", "outside", "rerank", "llm", "image", "text", "id"]


def parse_parts(names: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts of these names, in the order of `Part`.

    Raises:
        InputError: there is no such part.
    """
    known: tuple[Part, ...] = get_args(Part)
    for name in names:
        if name not in known:
            raise InputError(f"there is no part {name!r}", hint=f"parts: {', '.join(known)}")
    return tuple(part for part in known if part in names)
