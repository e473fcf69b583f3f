"""Explain answers: what is known of a pair, how similar its items are, and what the model weighs most."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.soundness import check_scores, damaged_index
from mmsc_cli.infer.entries import Entry
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.relations import CLASSES, RELATIONS, Relation
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.workspace import Workspace

_LOG = logging.getLogger(__name__)

# Text and image vector, each of unit length, None where the item has none.
Content = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


def open_embeddings(workspace: Workspace, n_items: int) -> Embeddings | None:
    """Map the embeddings that the index was made from; None, with a warning, if they are gone or others.

    Raises:
        WorkspaceError: they are damaged.
    """
    folder = workspace.path("embeddings")
    check_at_a_glance(workspace.root, "encode", [f"embeddings/{name}.npy" for name in ("text", "image", "mask")])
    stages = workspace.manifest().stages
    used = stages["train"].inputs.get("embeddings") if "train" in stages else None
    made = stages["encode"].outputs.get("embeddings") if "encode" in stages else None
    try:
        embeddings = Embeddings.open(folder)
    except WorkspaceError as error:
        _LOG.warning("no text and image similarities: %s", error)
        return None
    if used != made or {len(embeddings.text), len(embeddings.image), len(embeddings.mask)} != {n_items}:
        _LOG.warning("no text and image similarities: %s is not what this index was made from", folder)
        return None
    return embeddings


def cosine(first: NDArray[np.float32] | None, second: NDArray[np.float32] | None) -> float | None:
    """Cosine of two unit vectors, None where one is missing."""
    if first is None or second is None:
        return None
    alike = float(first @ second)
    if not math.isfinite(alike):
        raise damaged_index("embeddings/ holds what is no number")
    return alike


_NAMED = 3
_SEEN: dict[Relation, str] = {"substitute": "viewed together", "complement": "bought together"}


@dataclass(frozen=True)
class Explanation:
    """Evidence for a pair; None where there is none of a kind.

    Attributes:
        summary: the main reasons in words, for people who run a shop.
        viewed_together: the number of sessions in which shoppers viewed both, if the data says it; variants of a
            product count as one.
        bought_together: the number of orders (of sessions, if the log has purchases among other events) with both.
        network_score: the part of the score that comes from the vectors; None for a bestseller.
        linear_score: the part that the linear branch adds. What is left of the score is the shop's boost.
        strength: the pair's strength in this relation among the training pairs.
        reliability: how far the model trusts that pair, 0 to 1.
        shared_neighbours: number of items that are known partners of both, in either relation (of a new item: how
            many of the items most similar to it are known partners of the answer).
        shared: the ids of some of them, the strongest ties first.
        text_similarity: cosine of the text vectors.
        image_similarity: cosine of the image vectors.
        label: the label of the pair.
        label_probability: its probability.
        label_model: the annotator, a language model for example.
        query_gate: the channel of the query that its gate weighs most in this relation.
        query_gate_weight: its weight, 0 to 2.
        answer_gate: the same of the answer.
        answer_gate_weight: how much, 0 to 2.
    """

    summary: str
    network_score: float | None
    linear_score: float | None
    viewed_together: int | None = None
    bought_together: int | None = None
    strength: float | None = None
    reliability: float | None = None
    shared_neighbours: int = 0
    shared: list[str] = field(default_factory=list)
    text_similarity: float | None = None
    image_similarity: float | None = None
    label: str | None = None
    label_probability: float | None = None
    label_model: str | None = None
    query_gate: str | None = None
    query_gate_weight: float | None = None
    answer_gate: str | None = None
    answer_gate_weight: float | None = None

    def __str__(self) -> str:
        """One line."""
        parts = [self.summary]
        if self.network_score is not None and self.linear_score is not None:
            parts.append(f"score {self.network_score:.3f} network + {self.linear_score:.3f} linear")
        if self.strength is None:
            parts.append("no known pair")
        else:
            reliability = "" if self.reliability is None else f", reliability {self.reliability:.2f}"
            parts.append(f"known pair, strength {self.strength:.2f}{reliability}")
        named = f": {', '.join(self.shared)}" if self.shared else ""
        parts.append(f"{self.shared_neighbours} shared neighbours{named}")
        for name, value in (("text", self.text_similarity), ("image", self.image_similarity)):
            if value is not None:
                parts.append(f"{name} similarity {value:.2f}")
        if self.label is not None:
            parts.append(f"label {self.label} {self.label_probability:.2f} by {self.label_model}")
        gates = (
            ("query", self.query_gate, self.query_gate_weight),
            ("answer", self.answer_gate, self.answer_gate_weight),
        )
        parts += [f"{side} gate {name} {weight:.2f}" for side, name, weight in gates if name is not None]
        return "; ".join(parts)


@dataclass(frozen=True)
class Subject:
    """The query whose answers are explained.

    Attributes:
        query: the query.
        neighbours: rows of its known partners (of a new item: of the items most similar to it), sorted.
        ties: strength of its tie to each of them, shape (neighbours,).
        content: its text and image vector.
        gates: (relations x sides, channels), None where the index has none.
    """

    query: Query
    neighbours: NDArray[np.int32]
    ties: NDArray[np.float32]
    content: Content
    gates: NDArray[np.floating] | None


class Explainer:
    """Explains answers from an index, and from embeddings if there are any."""

    def __init__(self, index: Index, embeddings: Embeddings | None) -> None:
        self._index = index
        self._embeddings = embeddings
        self._gates = index.optional("gate")
        self._channels: list[str] = index.about.get("channels", [])

    def subject(self, query: Query) -> Subject:
        """An item of the catalogue as the subject of explanations."""
        assert query.row is not None
        gates = None if self._gates is None else self._gates[query.row]
        return Subject(query, *self._partners(query.row), self._content(query.row), gates)

    def explain(self, subject: Subject, relation: Relation, entry: Entry) -> Explanation:
        """Explain why an item is an answer.

        Args:
            subject: the query.
            relation: the relation of the answer.
            entry: the answer.
        """
        query, row = subject.query, entry.row
        linear = None
        if entry.score is not None and entry.network is not None:
            linear = entry.score - entry.network - entry.boost
        strength, reliability = self._tie(query.row, relation, row)
        partners, ties = self._partners(row)
        shared, here, there = np.intersect1d(subject.neighbours, partners, assume_unique=True, return_indices=True)
        strongest = np.argsort(-(subject.ties[here] + ties[there]), kind="stable")[:_NAMED]
        text, image = map(cosine, subject.content, self._content(row))
        head = 2 * RELATIONS.index(relation)
        return Explanation(
            self._summary(query, row, len(shared)),
            entry.network,
            linear,
            self._together(query.row, "substitute", row),
            self._together(query.row, "complement", row),
            strength,
            reliability,
            len(shared),
            [self._index.ids[neighbour] for neighbour in shared[strongest].tolist()],
            text,
            image,
            *self._label(query.row, row),
            *self._strongest_gate(None if subject.gates is None else subject.gates[head]),
            *self._strongest_gate(None if self._gates is None else self._gates[row, head + 1]),
        )

    def _summary(self, query: Query, row: int, shared: int) -> str:
        """The main reasons in words: how shoppers showed the pair, category and price."""
        seen = [relation for relation in RELATIONS if self._tie(query.row, relation, row)[0] is not None]
        if seen:
            reasons = [self._seen(query.row, seen, row)]
        elif shared and query.row is None:
            reasons = [f"{counted(shared, 'item')} like the new one {'was' if shared == 1 else 'were'} seen with it"]
        elif query.row is None:
            reasons = ["answers the items most like the new one"]
        elif shared:
            reasons = [f"not seen together, but {shared} {'item was' if shared == 1 else 'items were'} seen with both"]
        else:
            reasons = ["not seen together; similar to items that were"]
        category, price = self._index.optional("category"), self._index.optional("price")
        if category is not None and min(query.category, category[row]) >= 0:
            reasons.append("same category" if query.category == category[row] else "another category")
        if price is not None and 0 < query.price < math.inf and 0 < price[row] < math.inf:
            percent = round(100 * (float(price[row]) / query.price - 1))
            reasons.append(f"{abs(percent)} % {'cheaper' if percent < 0 else 'dearer'}" if percent else "same price")
        return "; ".join(reasons)

    def _seen(self, query: int | None, seen: Sequence[Relation], row: int) -> str:
        """How shoppers showed a pair, and how often, where the data says it."""
        parts = []
        for relation in seen:
            count = self._together(query, relation, row)
            noun = "order" if relation == "complement" and self._index.about.get("orders") else "session"
            often = "" if count is None else f" in {counted(count, noun)}"
            parts.append(_SEEN[relation] + often)
        if parts == list(_SEEN.values()):
            return "viewed and bought together"
        return ", ".join(parts)

    def _together(self, query: int | None, relation: Relation, row: int) -> int | None:
        """The number of sessions behind a pair; None where the data does not say it."""
        together = self._index.optional(f"known.together.{relation}")
        entry = None if query is None or together is None else self._index.known.entry(query, row)
        return None if together is None or entry is None else int(together[entry]) or None

    def _content(self, row: int) -> Content:
        """Text and image vector of an item of the catalogue."""
        embeddings = self._embeddings
        if embeddings is None:
            return None, None
        text, image = (
            np.asarray(side[row], np.float32) if embeddings.mask[row, column] else None
            for column, side in enumerate((embeddings.text, embeddings.image))
        )
        return text, image

    def _partners(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Known partners, sorted, and the sum of their strengths over both relations."""
        entries = self._index.known.row(row)
        partners = self._index.known.columns(row)
        strengths = [self._index.optional(f"known.strength.{relation}") for relation in RELATIONS]
        present = [strength[entries] for strength in strengths if strength is not None]
        ties = sum(present, np.zeros(len(partners), np.float32))
        order = np.argsort(partners, kind="stable")
        return partners[order], ties[order]

    def _tie(self, query: int | None, relation: Relation, row: int) -> tuple[float | None, float | None]:
        """Strength and reliability of a training pair."""
        entry = None if query is None else self._index.known.entry(query, row)
        strength, reliability = (
            self._index.optional(f"known.{kind}.{relation}") for kind in ("strength", "reliability")
        )
        if entry is None or strength is None or reliability is None or not strength[entry] > 0:
            return None, None
        trust = float(reliability[entry])
        return float(strength[entry]), None if math.isnan(trust) else trust

    def _label(self, query: int | None, row: int) -> tuple[str | None, float | None, str | None]:
        labels = self._index.labels
        entry = None if query is None or labels is None else labels.rows.entry(query, row)
        if labels is None or entry is None:
            return None, None, None
        check_scores(labels.probabilities[entry])
        likeliest = int(labels.probabilities[entry].argmax())
        models, model = self._index.about.get("label_models", []), int(labels.model[entry])
        if not 0 <= model < len(models):
            raise damaged_index("a label is by nobody")
        return CLASSES[likeliest], float(labels.probabilities[entry][likeliest]), models[model]

    def _strongest_gate(self, weights: NDArray[np.floating] | None) -> tuple[str | None, float | None]:
        if weights is None or len(weights) != len(self._channels):
            return None, None
        strongest = int(weights.argmax())
        return self._channels[strongest], float(weights[strongest])


def reasons(index: Index) -> Callable[[Relation, int, int], str]:
    """Return what says in words why an item answers another, for a relation and the rows of query and answer."""
    explainer = Explainer(index, None)

    def reason(relation: Relation, query: int, answer: int) -> str:
        subject = explainer.subject(Query.of_item(index, index.ids[query]))
        return explainer.explain(subject, relation, Entry(answer, None)).summary

    return reason
