"""The `label` stage: choose candidate pairs, have them annotated, write the label table."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.errors import InputError
from mmsc_cli.label.annotators import own_annotator
from mmsc_cli.label.candidates import choose_candidates
from mmsc_cli.label.gold import Gold, judge
from mmsc_cli.label.llm.models import resolve_model
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.labels import Labels, write_labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import CLASSES

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
    images: NDArray[np.float16] | None = None,
    gold: Gold | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Annotate candidate pairs and write them to `out`; with `gold`, ask about those pairs too and judge the answers.

    Args:
        items: the item table.
        pairs: the pair table; only its training pairs are looked at.
        settings: model, budget and manners. The models `rules` and `oracle:ACCURACY` ask nobody.
        seed: of the recipe.
        endpoints: OpenAI-compatible servers; none: vLLM is started here.
        out: the label table to write. Gold pairs that are no candidates are not in it.
        cache: a folder that outlives the run, where finished answers of a language model are kept; None: nowhere.
        truth: the truth table of a synthetic catalogue, for the oracle alone.
        images: image vectors of the items, for candidates that look alike.
        gold: pairs that people labelled.
        progress: where to say how far it is.

    Returns:
        Counts for the manifest: candidates and their mix, asked, reused, labelled, failed, retried, shares by
        likeliest class, mean label mass and agreement, tokens, pairs and tokens per second, which annotator it was, and
        the verdict on `gold`.

    Raises:
        GateError: too many questions were given up; `out` and `cache` hold what was finished.
        UnreachableError: there is no server, none answered, or it refuses us.
        InputError: an endpoint is not a URL, or is given although nobody is asked; an oracle is asked for where there
            is no truth, or by a name that makes no sense.
        WorkspaceError: the cache is damaged.
    """
    own = own_annotator(settings.model, items, truth, seed)
    if own is not None and endpoints:
        raise InputError(
            f"--endpoint has no use with --model {settings.model}", hint="name the model that the server serves"
        )
    candidates = choose_candidates(items, pairs, settings.budget, settings.mix, seed=seed, images=images)
    a, b = candidates.a, candidates.b
    if gold is not None:
        a, b = np.unique(np.stack([np.append(a, gold.a), np.append(b, gold.b)]), axis=1)
    stopped = None
    if own is not None:
        annotator, annotate_pairs = own
        started = time.monotonic()
        found = annotate_pairs(a, b)
        rate = round(len(found) / max(time.monotonic() - started, 1e-3), 2)
        counts = {"asked": len(found), "reused": 0, "failed": 0, "retried": 0, "pairs_per_second": rate}
    else:
        # Late, as it brings `openai`, which takes a second.
        from mmsc_cli.label.llm.interview import interview

        model = resolve_model(settings.model)
        annotator = model.described()
        _log.info("annotator: %s", annotator)
        held = interview(items, a, b, model.name, settings, endpoints=endpoints, cache=cache, progress=progress)
        found, counts, stopped = held.labels, held.counts, held.stopped
    place = found.find(candidates.a, candidates.b, len(items))
    labels = found.select(place[place >= 0])
    write_labels(out, labels)
    if stopped:
        what, *details = stopped.message.splitlines()
        kept = f"{what}; {len(found)} of {len(a)} pairs are answered and kept"
        raise type(stopped)("\n".join([kept, *details]), hint=stopped.hint)
    head = {"annotator": annotator, "candidates": len(candidates), "mix": candidates.mix()}
    verdict = {} if gold is None else {"gold": judge(gold, found, len(items), seed)}
    return head | counts | _summary(labels) | verdict


def _summary(labels: Labels) -> dict[str, Any]:
    likeliest = np.bincount(labels.probabilities().argmax(axis=1), minlength=len(CLASSES))
    shares = likeliest / max(len(labels), 1)
    return {
        "labelled": len(labels),
        "shares": dict(zip(CLASSES, shares.round(4).tolist(), strict=True)),
        "mean_label_mass": round(float(labels.label_mass.mean()), 4) if len(labels) else None,
        "mean_agreement": round(float(labels.agreement.mean()), 4) if len(labels) else None,
    }
