"""How much the training loop holds in memory at a time, and less of it where memory runs out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_LOG = logging.getLogger("mmsc_cli")
FLOOR = 1 << 18


@dataclass
class ChunkSize:
    """Scores in memory at a time."""

    logits: int = 1 << 25

    def halve(self, error: BaseException) -> None:
        """Go on in smaller chunks.

        Raises:
            MemoryError: they are as small as is sensible.
        """
        if self.logits <= FLOOR:
            raise MemoryError(str(error)) from error
        self.logits //= 2
        _LOG.warning("out of memory: the step is done again in chunks half as large (%d scores)", self.logits)
