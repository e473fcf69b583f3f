"""The `label` stage: choose candidate pairs, have them annotated, write the label table."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.arrays.pair_keys import find_pairs, pair_keys
from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.annotators import (
    LocalAnnotator,
    annotator_without_llm,
    needs_openai,
    resolve_model,
    shows_pictures,
)
from mmsc_cli.label.candidates import PairsToAsk, choose_candidates
from mmsc_cli.label.gold import Gold, calibrate, judge
from mmsc_cli.label.opinions import Calibration, Opinions
from mmsc_cli.label.product_types import ProductTypes, as_table, proposed_by_pairs
from mmsc_cli.label.settings import LabelSettings
from mmsc_cli.label.shown import choose_shown
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.proposals import write_proposals
from mmsc_cli.tables.relations import CLASSES
from mmsc_cli.workspace.regular_file import refuse_model_inside

DEGENERATE = 0.95  # fraction of the pairs that one class may get
FEWEST_JUDGED = 20  # labels below which nothing is said of their shares
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelInputs:
    """What `label` reads of a workspace.

    Attributes:
        item_table: the item table.
        pairs: the pair table; only its training pairs are looked at.
        truth: path of the truth table of a generated catalogue, for the oracle alone.
        images: image vectors, shape (n_items, width), for candidates that look alike.
        gold: pairs that people labelled; they are asked too, and the answers judged.
        pictures: the folder that image paths are relative to, for a model that sees.
        shown: the judged index, of which later rounds look at the answers; None in the first.
        earlier: the labels of the rounds before.
        turn: the round, from 1.
    """

    item_table: pa.Table
    pairs: Pairs
    truth: Path | None = None
    images: NDArray[np.float16] | None = None
    gold: Gold | None = None
    pictures: Path | None = None
    shown: Index | None = None
    earlier: Labels | None = None
    turn: int = 1

    def candidates(self, settings: LabelSettings, seed: int) -> PairsToAsk:
        """The pairs of this round."""
        budget = settings.budget * self.turn // settings.rounds - settings.budget * (self.turn - 1) // settings.rounds
        if self.shown is None:
            return choose_candidates(self.item_table, self.pairs, budget, settings.mix, seed=seed, images=self.images)
        n_items, train = len(self.item_table), self.pairs.of("train")
        degree = np.bincount(np.concatenate([train.a, train.b]), minlength=n_items)
        asked = np.zeros(0, np.int64)
        if self.earlier is not None:
            asked = pair_keys(self.earlier.a, self.earlier.b, n_items)
        return choose_shown(self.shown, degree, asked, budget, seed)


def label(
    inputs: LabelInputs,
    settings: LabelSettings,
    *,
    seed: int,
    endpoints: Sequence[str],
    out: Path,
    cache: Path | None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Annotate candidate pairs and write the label table to `out`, and beside it proposals where they are asked for.

    Args:
        inputs: what is known of the catalogue. Gold pairs that are no candidates are not in `out`.
        settings: model, budget and manners. The models `rules` and `oracle:ACCURACY` ask nobody.
        seed: of the recipe.
        endpoints: OpenAI-compatible servers; none: vLLM is started here.
        out: the label table to write.
        cache: a folder that outlives the run, where answers of a language model are kept; None: nowhere.
        progress: where the progress is shown.

    Returns:
        Counts for the manifest: candidates and their mix, asked, reused, labelled, failed, retried, shares by
        likeliest class, mean label mass and agreement, tokens, pairs and tokens per second, the annotator's
        description, and the verdict on `gold`.

    Raises:
        GateError: too many questions failed, or the model answers beside the options; `out` and `cache` hold what
            was answered.
        UnreachableError: there is no server, none answered, or it refuses us.
        InputError: an endpoint is not a URL, or is given although nobody is asked; the model's name is none, or its
            folder is in the workspace; the extra `llm` is not installed; an oracle is asked for where there is no
            truth.
        WorkspaceError: the cache is damaged.
    """
    item_table, n_items = inputs.item_table, len(inputs.item_table)
    local = annotator_without_llm(settings.model, item_table, inputs.truth, seed)
    if local is not None and endpoints:
        raise InputError(
            f"--endpoint has no use with --model {settings.model}", hint="name the model that the server serves"
        )
    if local is None:
        model, _ = resolve_model(settings.model)  # a bad name is an error before the work
        if inputs.pictures:
            refuse_model_inside(inputs.pictures, Path(model), f"--model {model}")
    candidates = inputs.candidates(settings, seed)
    a, b = candidates.a, candidates.b
    if inputs.gold is not None:
        a, b = np.unique(np.stack([np.append(a, inputs.gold.a), np.append(b, inputs.gold.b)]), axis=1)
    if local is None:
        heard = _ask_model(inputs, a, b, settings, endpoints=endpoints, cache=cache, progress=progress)
    else:
        heard = _ask_locally(inputs, a, b, local, settings.propose)
    opinions = heard.opinions
    rows = find_pairs(opinions.a, opinions.b, candidates.a, candidates.b, n_items)
    rows = rows[rows >= 0]
    of_candidates = calibration = Calibration.of_candidates(opinions.mean()[rows])
    if inputs.gold is not None:
        calibration = calibrate(opinions, of_candidates, inputs.gold, n_items)
    labels = opinions.labels(calibration).select(rows)
    if inputs.earlier is not None:
        labels = inputs.earlier.joined(labels)
    labels.write(out)
    if heard.stopped:
        what, *details = heard.stopped.message.splitlines()
        kept = f"{what}; {len(opinions)} of {len(a)} pairs are answered and kept"
        raise type(heard.stopped)("\n".join([kept, *details]), hint=heard.stopped.hint)
    _warn_of_ignorance(opinions.mean()[rows])
    counts = {"annotator": heard.annotator, "candidates": len(candidates), "mix": candidates.mix()} | heard.counts
    counts |= _summary(labels)
    if heard.proposals is not None:
        write_proposals(out.with_name("proposals.parquet"), heard.proposals)
        counts["proposals"] = len(heard.proposals)
    if inputs.gold is not None:
        counts["gold"] = judge(opinions, of_candidates, inputs.gold, n_items, seed)
    return counts


@dataclass(frozen=True)
class _Heard:
    """What an annotator answered: about pairs, about product types if it was asked, and what stopped it early."""

    annotator: str
    opinions: Opinions
    counts: dict[str, Any]
    proposals: pa.Table | None = None
    stopped: MmscError | None = None


def _ask_locally(
    inputs: LabelInputs, a: NDArray[np.int32], b: NDArray[np.int32], annotator: LocalAnnotator, types_too: bool
) -> _Heard:
    started = time.monotonic()
    opinions = annotator.annotate(a, b)
    rate = round(len(opinions) / max(time.monotonic() - started, 1e-3), 2)
    counts = {"asked": len(opinions), "reused": 0, "failed": 0, "retried": 0, "pairs_per_second": rate}
    proposals = None
    if types_too:
        types = ProductTypes.of_catalogue(inputs.item_table)
        pairs = annotator.known_pairs or inputs.pairs.of("train")
        proposals = as_table(types, proposed_by_pairs(types, pairs), opinions.annotator)
    return _Heard(annotator.description, opinions, counts, proposals)


def _ask_model(
    inputs: LabelInputs,
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    settings: LabelSettings,
    *,
    endpoints: Sequence[str],
    cache: Path | None,
    progress: Progress,
) -> _Heard:
    model, annotator = resolve_model(settings.model)
    with needs_openai():
        from mmsc_cli.label.llm.interview import interview  # noqa: PLC0415  brings openai
        from mmsc_cli.label.llm.pictures import Pictures  # noqa: PLC0415  brings PIL
        from mmsc_cli.label.llm.propose import propose  # noqa: PLC0415  brings openai
        from mmsc_cli.label.llm.servers import Servers  # noqa: PLC0415  brings openai
    _LOG.info("annotator: %s", annotator)
    with Servers(model, settings, endpoints=endpoints, cache=cache, progress=progress) as servers:
        pictures = None
        if inputs.pictures and shows_pictures(settings):
            pictures = Pictures(inputs.item_table, inputs.pictures)
        held = interview(inputs.item_table, a, b, servers, pictures)
        proposals = None
        if settings.propose and not held.stopped:
            types = ProductTypes.of_catalogue(inputs.item_table)
            proposals = as_table(types, propose(types, servers), model)
    return _Heard(annotator, held.opinions, held.counts, proposals, held.stopped)


def _warn_of_ignorance(raw: NDArray[np.float64]) -> None:
    """Warn where the answers look like those of an annotator that knows nothing.

    Args:
        raw: answers before calibration, shape (labels, 3).
    """
    shares = np.bincount(raw.argmax(axis=1), minlength=len(CLASSES)) / max(len(raw), 1)
    if len(raw) >= FEWEST_JUDGED and shares.max() >= DEGENERATE:
        _LOG.warning(
            "before calibration %.0f %% of the pairs are called %s: the annotator may know nothing of these items; "
            "measure it with --gold",
            100 * shares.max(),
            CLASSES[int(shares.argmax())],
        )


def _summary(labels: Labels) -> dict[str, Any]:
    likeliest = np.bincount(labels.probabilities().argmax(axis=1), minlength=len(CLASSES))
    shares = likeliest / max(len(labels), 1)
    return {
        "labelled": len(labels),
        "shares": dict(zip(CLASSES, shares.round(4).tolist(), strict=True)),
        "mean_label_mass": round(float(labels.label_mass.mean()), 4) if len(labels) else None,
        "mean_agreement": round(float(labels.agreement.mean()), 4) if len(labels) else None,
    }
