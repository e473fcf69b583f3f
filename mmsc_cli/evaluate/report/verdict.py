"""The verdict in a few sentences: where the model is ahead of the best baseline, and where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmsc_cli.evaluate.protocol import MODEL, SLICES
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.relations import RELATIONS, Relation

Standing = Literal["ahead of", "behind", "level with"]
Tone = Literal["ahead", "behind", "level"]
_TONES: dict[Standing, Tone] = {"ahead of": "ahead", "behind": "behind", "level with": "level"}


@dataclass(frozen=True)
class Headline:
    """How the model does in a relation: the figure in large print, the sentence that says what it is, and its tone."""

    figure: str
    sentence: str
    tone: Tone = "level"


@dataclass(frozen=True)
class Verdict:
    """The headline of each relation, and a sentence about the slices; None without baselines."""

    headlines: dict[Relation, Headline]
    slices: str | None


def standing(gain: Mapping[str, Any]) -> Standing:
    """Ahead or behind where the interval of the gain leaves out 0."""
    low, high = gain["difference_ci"]
    if low > 0:
        return "ahead of"
    return "behind" if high < 0 else "level with"


def verdict(result: Mapping[str, Any]) -> Verdict:
    """Put a result of `evaluate` into sentences."""
    headlines = {relation: _headline(result, relation) for relation in RELATIONS}
    gains = [
        (relation, part, gain)
        for relation, parts in result["gains"].items()
        for part, gain in parts.items()
        if gain is not None and part in SLICES
    ]
    if not gains:
        return Verdict(headlines, None)
    ahead = [standing(gain) for *_, gain in gains].count("ahead of")
    where = "all" if ahead == len(gains) else f"{ahead} of"
    sentence = f"Ahead of the best baseline on {where} {counted(len(gains), 'slice')}"
    return Verdict(headlines, "; ".join([sentence, *_not_ahead(gains)]) + ".")


def _not_ahead(gains: Sequence[tuple[Relation, str, Mapping[str, Any]]]) -> list[str]:
    """Where the model is level with a baseline or behind it: each is named once, with its slices by relation."""
    slices: dict[str, dict[Relation, list[str]]] = {}
    for relation, part, gain in gains:
        if standing(gain) != "ahead of":
            of_baseline = slices.setdefault(f"{standing(gain)} {gain['baseline']}", {})
            of_baseline.setdefault(relation, []).append(part)
    named = {
        place: [f"{relation}s ({', '.join(parts)})" for relation, parts in by_relation.items()]
        for place, by_relation in slices.items()
    }
    return [f"{place} on {' and '.join(where)}" for place, where in named.items()]


def percent(share: float) -> str:
    """A gain as people read it: `+3.1 %`, `−0.4 %`."""
    return f"{100 * share:+.1f} %".replace("-", "−")


def _headline(result: Mapping[str, Any], relation: Relation) -> Headline:
    name, figure = f"{relation.capitalize()}s", result["models"][MODEL][relation]["all"]
    if not figure["queries"]:
        return Headline("–", f"{name}: no held-out pair to judge by.")
    reached, asked = f"{figure['ndcg@10']:.3f}", counted(figure["queries"], "query")
    gain = result["gains"].get(relation, {}).get("all")
    if gain is None:
        return Headline(reached, f"{name}: NDCG@10 over {asked}, with no baseline to compare with.")
    against = f"{name} are {standing(gain)} the best baseline, {gain['baseline']}"
    tone = _TONES[standing(gain)]
    figures = f"NDCG@10 {reached} against {gain['ndcg@10']:.3f} over {asked}"
    if gain["relative"] is None:
        return Headline(reached, f"{against}: {figures}.", tone)
    low, high = gain["relative_ci"]
    return Headline(percent(gain["relative"]), f"{against} [{percent(low)} to {percent(high)}]: {figures}.", tone)
