"""What `label` would ask and what it would cost, without asking."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mmsc_cli.label.annotators import annotator_without_llm, resolve_model, shows_pictures
from mmsc_cli.label.candidates import PairsToAsk
from mmsc_cli.label.label import LabelInputs
from mmsc_cli.label.llm.prompt import DIRECTION, RELATION, Question, quote_items
from mmsc_cli.label.product_types import ProductTypes
from mmsc_cli.label.settings import LabelSettings

CHARACTERS_PER_TOKEN = 3.2  # an estimate for JSON in English: 3.1 with a vocabulary of 49,000, more with larger ones
MESSAGE_TOKENS = 5  # of the chat template, for each message
PICTURE_TOKENS = 100  # of one picture, with the words before it
DIRECTION_SHARE = 1 / 3  # fraction of the pairs that are complements, and are asked about twice: a guess
# Tokens a second that a prefix cache does not save, of a model of 7 to 8 billion parameters: guesses, no measurements.
GUESSED_SPEED = {"GPU": 10_000, "CPU": 20}


def dry_run(
    inputs: LabelInputs,
    settings: LabelSettings,
    *,
    seed: int,
    served: bool = False,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Report what `label` would do; of several rounds, in the first.

    Args:
        inputs: as for `label`.
        settings: as for `label`.
        seed: of the recipe.
        served: whether an endpoint is given.
        measured: the counts of the last run with this model here, if there was one.

    Returns:
        `annotator`; `pairs` and their `mix`; `product_types`, where they are asked about, once each; `prompts`, both
        full questions about the first candidate (none where nobody is asked); `questions`; `prompt_tokens`, before any
        saving by a prefix cache (the share `shared_prefix_share` of them is the same in all); `expected_seconds`, once
        the server is up; and `estimate`, the basis of the last two.

    Raises:
        InputError: an oracle is asked for where there is no truth, or the model's name is none.
    """
    item_table = inputs.item_table
    local = annotator_without_llm(settings.model, item_table, inputs.truth, seed)
    annotator = local.description if local else resolve_model(settings.model)[1]
    candidates = inputs.candidates(settings, seed)
    described = {"annotator": annotator, "pairs": len(candidates), "mix": candidates.mix()}
    if settings.propose:
        described["product_types"] = len(ProductTypes.of_catalogue(item_table))
    if local is not None:
        nothing = {"prompts": [], "questions": 0, "prompt_tokens": 0, "shared_prefix_share": 0.0}
        return described | nothing | {"expected_seconds": 0, "estimate": "nobody is asked"}
    constant, total = _tokens(item_table, candidates, PICTURE_TOKENS if shows_pictures(settings) else 0)
    tokens, seconds, estimate = _cost(len(candidates), constant, total, served, measured or {})
    return described | {
        "prompts": [_shown(question) for question in _first_questions(item_table, candidates)],
        "questions": round(2 * len(candidates) * (1 + DIRECTION_SHARE)),
        "prompt_tokens": tokens,
        "shared_prefix_share": round(constant / max(total, 1), 3),
        "expected_seconds": seconds,
        "estimate": estimate,
    }


def _cost(
    n_pairs: int, constant: float, total: float, served: bool, measured: Mapping[str, Any]
) -> tuple[int, int, str]:
    """Return prompt tokens, seconds, and the basis of both."""
    if measured.get("pairs_per_second") and measured.get("tokens"):
        tokens = round(measured["tokens"] / measured["asked"] * n_pairs)
        return tokens, round(n_pairs / measured["pairs_per_second"]), "the last run with this model here"
    kind = "GPU" if served or shutil.which("nvidia-smi") else "CPU"
    speed = GUESSED_SPEED[kind]
    seconds = round((total - constant) / speed)
    estimate = (
        f"a guess: {CHARACTERS_PER_TOKEN} characters a token, a third of the pairs complements, and {speed:,} tokens a "
        f"second beside those cached, as a {kind} may do with 8 billion parameters; a first run measures all three"
    )
    return round(total), seconds, estimate


def _first_questions(item_table: pa.Table, candidates: PairsToAsk) -> tuple[Question, ...]:
    if not len(candidates):
        return ()
    a, b = int(candidates.a[0]), int(candidates.b[0])
    quoted = quote_items(item_table, (a, b))
    ids = item_table["item_id"]
    return RELATION.ask(quoted[a], quoted[b], (ids[a].as_py(), ids[b].as_py()))


def _shown(question: Question) -> str:
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in question.messages)


def _tokens(item_table: pa.Table, candidates: PairsToAsk, picture_tokens: int) -> tuple[float, float]:
    """Tokens of the questions' constant prefixes, and of the questions as a whole, over both kinds of questions."""
    rows, uses = np.unique(np.concatenate([candidates.a, candidates.b]), return_counts=True)
    quoted = quote_items(item_table, rows.tolist())
    # Each item of a pair stands in both of its questions.
    data = 2 * sum(len(quoted[row]) * use for row, use in zip(rows.tolist(), uses.tolist(), strict=True))
    constant = total = 0.0
    for form, share in ((RELATION, 1.0), (DIRECTION, DIRECTION_SHARE)):
        lengths = [len(message["content"]) for message in form.ask("", "", ("", ""))[0].messages]
        questions = 2 * len(candidates) * share
        prefix, own = sum(lengths[:-1]) / CHARACTERS_PER_TOKEN, lengths[-1] / CHARACTERS_PER_TOKEN
        constant += questions * (prefix + MESSAGE_TOKENS * len(lengths))
        asked = own + 2 * picture_tokens + MESSAGE_TOKENS * len(lengths)
        total += questions * (prefix + asked) + share * data / CHARACTERS_PER_TOKEN
    return constant, total
