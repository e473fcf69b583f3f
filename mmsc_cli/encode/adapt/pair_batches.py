"""The examples of an adaptation: training pairs of warm items, and warm items with both text and image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.pairs import Pairs

_HELD_OUT = 0.1
_VALID_ROWS = 2_048


@dataclass(frozen=True)
class Rows:
    """Pairs of item rows, (pairs, 2), and the rows of items with both text and image."""

    pairs: NDArray[np.int64]
    both: NDArray[np.int64]


def usable_rows(mask: NDArray[np.bool_], pairs: Pairs, warm: NDArray[np.bool_]) -> Rows:
    """Return the pairs and items to learn from.

    Args:
        mask: (items, 2) whether an item has a text and an image.
        pairs: the pair table; only its training pairs are read.
        warm: (items,) whether an item is not held out.

    Raises:
        InputError: there are too few training pairs, and too few items with text and image.
    """
    training = pairs.of("train")
    ends = np.stack([training.a, training.b], axis=1).astype(np.int64)
    # Held-out items stay out, even if a table made elsewhere has training pairs of them.
    ends = ends[warm[ends].all(axis=1)]
    ends = ends[(mask[ends[:, 0]] & mask[ends[:, 1]]).any(axis=1)]
    both = np.flatnonzero(mask.all(axis=1) & warm)
    if max(len(ends), len(both)) < 20:
        raise InputError(
            f"--adapt: {len(ends)} training pairs and {len(both)} items with text and image are too few",
            hint="leave out --adapt",
        )
    return Rows(ends, both)


def hold_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return the rows to train on and a tenth of each table, at most 2,048 rows, to validate on."""
    rng = numpy_generator(seed, "adapt/held-out")
    halves = []
    for table in (rows.pairs, rows.both):
        order = rng.permutation(len(table))
        cut = min(int(len(table) * _HELD_OUT), _VALID_ROWS)
        halves.append((table[np.sort(order[cut:])], table[order[:cut]]))
    (fit_pairs, valid_pairs), (fit_both, valid_both) = halves
    return Rows(fit_pairs, fit_both), Rows(valid_pairs, valid_both)


def epoch_batches(rows: Rows, size: int, steps: int, *, seed: int, epoch: int) -> list[Rows]:
    """Return the batches of an epoch; they depend on seed and epoch alone, so that a training can be resumed.

    Each table is shuffled and dealt out, and shuffled again when it is used up.
    """
    rng = numpy_generator(seed, f"adapt/epoch-{epoch}")
    pairs, both = (_drawn(table, min(size, len(table)) * steps, rng) for table in (rows.pairs, rows.both))
    return [Rows(*tables) for tables in zip(np.array_split(pairs, steps), np.array_split(both, steps), strict=True)]


def in_batches(rows: Rows, size: int) -> list[Rows]:
    """Return the rows in order, `size` at a time."""
    starts = range(0, max(len(rows.pairs), len(rows.both)), size)
    return [Rows(rows.pairs[start : start + size], rows.both[start : start + size]) for start in starts]


def _drawn(table: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if not count:
        return table[:0]
    rounds = -(-count // len(table))
    drawn: NDArray[np.int64] = table[np.concatenate([rng.permutation(len(table)) for _ in range(rounds)])[:count]]
    return drawn
