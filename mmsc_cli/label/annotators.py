"""Who annotates: the rules, the oracle of a generated catalogue, or a language model (some have short names)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.label.opinions import Opinions
from mmsc_cli.label.oracle import consult, oracle_accuracy, oracle_name
from mmsc_cli.label.rules import annotate
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.rules.pair_rules import RULES_MODEL
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.tables.truth import Truth

RULES_DESCRIBED = "rules (no LLM)"
# Short name: name on the model hub, licence.
ALIASES = {
    "llama": ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License, gated: accept it first"),
    "qwen": ("Qwen/Qwen3-4B-Instruct-2507", "Apache-2.0"),
    "qwen-vl": ("Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0"),
    "mistral": ("mistralai/Ministral-3-8B-Instruct-2512", "Apache-2.0"),
}


def resolve_model(model: str) -> tuple[str, str]:
    """Name of a language model as a server knows it, and how it is described: with its licence where that is known.

    Any name that is no alias is a name on the model hub or the path of a folder.

    Raises:
        InputError: the name could be taken for an option of the server that is started with it.
    """
    if model.startswith("-") or not model or any(char.isspace() or not char.isprintable() for char in model):
        raise InputError(
            f"--model {model!r}: not the name of a model",
            hint="a name or path has no blank, no line end and no leading dash; write ./-name for such a folder",
        )
    name, licence = ALIASES.get(model, (model, ""))
    return name, f"{name} ({licence})" if licence else name


SEEING = ("qwen-vl",)  # of these, the models that see


def seeing_model(model: str | None) -> tuple[str, str]:
    """Do the same as `resolve_model` for a model that is shown pictures.

    Raises:
        InputError: none is named, or one that is known not to see.
    """
    blind = model in ALIASES and model not in SEEING
    if model is None or blind or model == RULES_MODEL or oracle_accuracy(model) is not None:
        said = "which model is not said" if model is None else f"{model} does not see"
        raise InputError(
            f"pictures are shown to a model that sees, and {said}",
            hint="add --model qwen-vl, or the name or path of another model that sees",
        )
    return resolve_model(model)


@contextmanager
def needs_openai() -> Iterator[None]:
    """Say how to install the package openai, an extra, where what is imported inside needs it and it is not there.

    Raises:
        InputError: it is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        raise InputError(
            "the package openai, which asks language models, is not installed",
            hint=f"{extra_command('llm')}, or use --model rules",
        ) from error


@dataclass(frozen=True)
class LocalAnnotator:
    """An annotator that asks no language model.

    Attributes:
        description: for the person who runs it.
        annotate: opinions on pairs of item rows `a < b`, each of shape (pairs,).
        known_pairs: the true pairs, where it knows them.
    """

    description: str
    annotate: Callable[[NDArray[np.int32], NDArray[np.int32]], Opinions]
    known_pairs: Truth | None = None


def shows_pictures(settings: LabelSettings) -> bool:
    """Whether the model is shown the images of both items."""
    return settings.pictures or settings.model in SEEING


def annotator_without_llm(model: str, item_table: pa.Table, truth: Path | None, seed: int) -> LocalAnnotator | None:
    """Return the annotator of that name that asks no language model; None for all other names.

    Raises:
        InputError: an oracle is asked for where there is no truth, or its accuracy is no number from 0 to 1.
    """
    if model == RULES_MODEL:
        return LocalAnnotator(RULES_DESCRIBED, partial(annotate, item_table))
    accuracy = oracle_accuracy(model)
    if accuracy is None:
        return None
    if truth is None:
        raise InputError(
            f"--model {model} needs a catalogue whose truth is known, and this workspace has no truth.parquet",
            hint="make one with `mmsc prepare demo -w DIR`, or name a language model",
        )
    known = Truth.read(truth, len(item_table))
    return LocalAnnotator(
        f"{oracle_name(accuracy)} (knows the truth, no LLM)",
        partial(consult, known, accuracy=accuracy, n_items=len(item_table), seed=seed),
        known,
    )
