"""The verdict in a few sentences: where the model is ahead of the best baseline, and where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mmsc_cli.evaluate.protocol import MODEL, SLICES
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.relations import RELATIONS

Standing = Literal["ahead of", "behind", "level with"]


def standing(gain: Mapping[str, Any]) -> Standing:
    """Ahead or behind where the interval of the gain leaves out 0."""
    low, high = gain["difference_ci"]
    if low > 0:
        return "ahead of"
    return "behind" if high < 0 else "level with"


def verdict(result: Mapping[str, Any]) -> list[str]:
    """Sentences about a result of `evaluate`, the most important first."""
    sentences = [_relation_sentence(result, relation) for relation in RELATIONS]
    gains = [
        (relation, part, gain)
        for relation, parts in result["gains"].items()
        for part, gain in parts.items()
        if gain is not None and part in SLICES
    ]
    if gains:
        ahead = sum(standing(gain) == "ahead of" for *_, gain in gains)
        sentences.append(f"It is ahead of the best baseline on {ahead} of {len(gains)} slices.")
    for place in ("level with", "behind"):
        listed = [
            f"{gain['baseline']} on {relation} {part}" for relation, part, gain in gains if standing(gain) == place
        ]
        if listed:
            sentences.append(f"It is {place} {', '.join(listed)}.")
    return sentences


def _relation_sentence(result: Mapping[str, Any], relation: str) -> str:
    figure = result["models"][MODEL][relation]["all"]
    if not figure["queries"]:
        return f"There is no {relation} query to judge by."
    start = f"{relation.capitalize()}s: NDCG@10 {figure['ndcg@10']:.3f} over {counted(figure['queries'], 'query')}"
    gain = result["gains"].get(relation, {}).get("all")
    if gain is None:
        return f"{start}; no baseline to compare with."
    start = f"{start}, {standing(gain)} the best baseline ({gain['baseline']}, {gain['ndcg@10']:.3f})"
    if gain["relative"] is None:
        return f"{start}."
    low, high = gain["relative_ci"]
    return f"{start} by {100 * gain['relative']:+.1f} % [{100 * low:+.1f} to {100 * high:+.1f}].".replace("-", "−")
