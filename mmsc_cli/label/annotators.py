"""Who may annotate without a language model: the rules, and the oracle of a generated catalogue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.label.oracle import consult, oracle_accuracy, oracle_name
from mmsc_cli.label.rules import RULES_MODEL, annotate
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.truth import read_truth

RULES_DESCRIBED = "rules (no LLM)"
Annotate = Callable[[NDArray[np.int32], NDArray[np.int32]], Labels]


def own_annotator(model: str, items: pa.Table, truth: Path | None, seed: int) -> tuple[str, Annotate] | None:
    """Description and function of an annotator that asks no language model; None for all other models.

    Raises:
        InputError: an oracle is asked for where there is no truth, or by a name that makes no sense.
    """
    if model == RULES_MODEL:
        return RULES_DESCRIBED, partial(annotate, items)
    accuracy = oracle_accuracy(model)
    if accuracy is None:
        return None
    if truth is None:
        raise InputError(
            f"--model {model} needs a catalogue whose truth is known, and this workspace has no truth.parquet",
            hint="make one with `mmsc prepare demo -w DIR`, or name a language model",
        )
    known = read_truth(truth)
    return f"{oracle_name(accuracy)} (knows the truth, no LLM)", lambda a, b: consult(
        known, a, b, accuracy, items=len(items), seed=seed
    )
