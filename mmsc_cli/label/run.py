"""The `label` stage: choose candidate pairs, have them annotated, write the label table."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.label.candidates import Candidates, choose_candidates
from mmsc_cli.label.interview import interview
from mmsc_cli.label.models import resolve_model
from mmsc_cli.label.oracle import consult, oracle_accuracy, oracle_name
from mmsc_cli.label.prompt import Question, ask_pair, quote_items
from mmsc_cli.label.rules import RULES_MODEL, annotate
from mmsc_cli.labels import CLASSES, Labels, write_labels
from mmsc_cli.pairs import Pairs
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.recipe.settings import LabelSettings
from mmsc_cli.truth import read_truth

RULES_DESCRIBED = "rules (no LLM)"
CHARACTERS_PER_TOKEN = 4  # the usual figure for English text; an estimate, not a count
_Annotate = Callable[[NDArray[np.int32], NDArray[np.int32]], Labels]
_log = logging.getLogger("mmsc_cli")


def label(
    items: pa.Table,
    pairs: Pairs,
    settings: LabelSettings,
    *,
    seed: int,
    endpoints: Sequence[str],
    out: Path,
    cache: Path | None,
    truth: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Annotate candidate pairs and write them to `out`.

    Args:
        items: the item table.
        pairs: the pair table; only its training pairs are looked at.
        settings: model, budget and manners. The models `rules` and `oracle:ACCURACY` ask nobody.
        seed: of the recipe.
        endpoints: OpenAI-compatible servers; none: vLLM is started here.
        out: the label table to write.
        cache: a folder that outlives the run, where finished answers of a language model are kept; None: nowhere.
        truth: the truth table of a synthetic catalogue, for the oracle alone.
        progress: where to say how far it is.

    Returns:
        Counts for the manifest: candidates and their mix, asked, reused, labelled, failed, retried, shares by
        likeliest class, mean label mass and agreement, pairs per second, and which annotator it was.

    Raises:
        GateError: too many questions were given up; `out` and `cache` hold what was finished.
        UnreachableError: there is no server, none answered, or it refuses us.
        InputError: an endpoint is not a URL, or is given although nobody is asked; an oracle is asked for where there
            is no truth, or by a name that makes no sense.
        WorkspaceError: the cache is damaged.
    """
    own = _own_annotator(settings.model, items, truth, seed)
    if own is not None and endpoints:
        raise InputError(
            f"--endpoint has no use with --model {settings.model}", hint="name the model that the server serves"
        )
    candidates = choose_candidates(items, pairs, settings.budget, settings.mix, seed=seed)
    stopped = None
    if own is not None:
        annotator, annotate_pairs = own
        started = time.monotonic()
        labels = annotate_pairs(candidates.a, candidates.b)
        rate = round(len(labels) / max(time.monotonic() - started, 1e-3), 2)
        counts = {"asked": len(labels), "reused": 0, "failed": 0, "retried": 0, "pairs_per_second": rate}
    else:
        model = resolve_model(settings.model)
        annotator = model.described()
        _log.info("annotator: %s", annotator)
        found = interview(items, candidates, model.name, settings, endpoints=endpoints, cache=cache, progress=progress)
        labels, counts, stopped = found.labels, found.counts, found.stopped
    write_labels(out, labels)
    if stopped:
        kept = f"{stopped.message}; {len(labels)} of {len(candidates)} pairs are labelled and kept"
        raise type(stopped)(kept, hint=stopped.hint)
    head = {"annotator": annotator, "candidates": len(candidates), "mix": candidates.mix()}
    return head | counts | _summary(labels)


def dry_run(
    items: pa.Table, pairs: Pairs, settings: LabelSettings, *, seed: int, truth: Path | None = None
) -> dict[str, Any]:
    """Say what `label` would do, asking nobody.

    Returns:
        `annotator`; `pairs` and their `mix`; `prompts`, both full questions about the first candidate (none
        where nobody is asked); `questions`; and `prompt_tokens_estimate`, at CHARACTERS_PER_TOKEN characters each,
        before any saving by a prefix cache (`shared_prefix_share` of it is the same in all).

    Raises:
        InputError: an oracle is asked for where there is no truth, or by a name that makes no sense.
    """
    own = _own_annotator(settings.model, items, truth, seed)
    candidates = choose_candidates(items, pairs, settings.budget, settings.mix, seed=seed)
    described = {"pairs": len(candidates), "mix": candidates.mix()}
    if own is not None:
        nothing = {"prompts": [], "questions": 0, "prompt_tokens_estimate": 0, "shared_prefix_share": 0.0}
        return {"annotator": own[0]} | described | nothing
    prompts = [_shown(question) for question in _first_questions(items, candidates)]
    constant, total = _characters(items, candidates)
    return (
        {"annotator": resolve_model(settings.model).described()}
        | described
        | {
            "prompts": prompts,
            "questions": 2 * len(candidates),
            "prompt_tokens_estimate": total // CHARACTERS_PER_TOKEN,
            "shared_prefix_share": round(constant / max(total, 1), 3),
        }
    )


def _own_annotator(model: str, items: pa.Table, truth: Path | None, seed: int) -> tuple[str, _Annotate] | None:
    """Description and function of an annotator that asks no language model; None for all other models."""
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


def _first_questions(items: pa.Table, candidates: Candidates) -> tuple[Question, ...]:
    if not len(candidates):
        return ()
    a, b = int(candidates.a[0]), int(candidates.b[0])
    quoted = quote_items(items, (a, b))
    return ask_pair(quoted[a], quoted[b], (items["item_id"][a].as_py(), items["item_id"][b].as_py()))


def _shown(question: Question) -> str:
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in question.messages)


def _characters(items: pa.Table, candidates: Candidates) -> tuple[int, int]:
    """Characters of the constant prefix over all questions, and of the questions as a whole."""
    rows, uses = np.unique(np.concatenate([candidates.a, candidates.b]), return_counts=True)
    quoted = quote_items(items, rows.tolist())
    data = 2 * sum(len(quoted[row]) * use for row, use in zip(rows.tolist(), uses.tolist(), strict=True))
    system, user = (len(message["content"]) for message in ask_pair("", "", ("", ""))[0].messages)
    questions = 2 * len(candidates)
    return questions * system, questions * (system + user) + data


def _summary(labels: Labels) -> dict[str, Any]:
    likeliest = np.bincount(labels.probabilities().argmax(axis=1), minlength=len(CLASSES))
    shares = likeliest / max(len(labels), 1)
    return {
        "labelled": len(labels),
        "shares": dict(zip(CLASSES, shares.round(4).tolist(), strict=True)),
        "mean_label_mass": round(float(labels.label_mass.mean()), 4) if len(labels) else None,
        "mean_agreement": round(float(labels.agreement.mean()), 4) if len(labels) else None,
    }
