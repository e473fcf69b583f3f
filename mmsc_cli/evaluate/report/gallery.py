"""Some queries for people to look at: their held-out partners, and the answers of the model."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.protocol import RelationProtocol, relation_protocol
from mmsc_cli.files.images import FORMATS, UnusableImageError, open_checked, resolve_image
from mmsc_cli.metrics.scorer import Scorer
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import RELATIONS, Relation

QUERIES = 4
ANSWERS = 3
PARTNERS = 2
_THUMBNAIL_PIXELS = 96
# Of all images together, base64: a page that can be mailed and opens on a phone.
IMAGE_BYTES = 2_000_000
# Says why an item answers another (relation, row of the query, row of the answer).
Reason = Callable[[Relation, int, int], str]


@dataclass(frozen=True)
class ShownItems:
    """How items are shown; each sequence has one element per item row. A price is NaN where unknown.

    `images` are paths in the workspace, as the item table names them. `check_image` is called with the item row before
    an image is shown, and raises if the image has changed.
    """

    item_ids: Sequence[str]
    titles: Sequence[str]
    prices: Sequence[float]
    images: Sequence[str | None]
    workspace_root: Path
    check_image: Callable[[int], None] = lambda _: None


@dataclass(frozen=True)
class Card:
    """One item as the report shows it.

    `price` is None where unknown (its currency is the catalogue's), `image` is a data URI, `right` is None for
    the query and for held-out partners, which have no image either. `category` is the leaf of its path, or empty.
    `reason` says why it is an answer, empty if it is none.
    """

    item_id: str
    title: str
    category: str
    price: float | None
    image: str | None
    right: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class ShownAnswers:
    """The model's best answers to a query in one relation.

    Of its `true_count` held-out partners `missed_count` are not among them; `missed` are a few of these.
    """

    relation: Relation
    answers: list[Card]
    true_count: int
    missed_count: int
    missed: list[Card]


@dataclass(frozen=True)
class Exhibit:
    """One query of the gallery."""

    query: Card
    cold: bool
    relations: list[ShownAnswers]

    def cards(self) -> list[Card]:
        """The query and all answers."""
        return [self.query, *(card for answers in self.relations for card in answers.answers)]


def build_gallery(
    context: EvaluationContext, scorer: Scorer, shown: ShownItems, reason: Reason, count: int = QUERIES
) -> list[Exhibit]:
    """Draw queries by seed, and answer them as the protocol does: training and validation pairs are masked.

    Queries with held-out partners in both relations come first; a quarter of the queries are cold items, if there are
    any. `reason` says why an item is an answer.
    """
    protocols = [
        relation_protocol(relation, context.pairs, context.item_split)
        for relation in RELATIONS
        if context.pairs.holds(relation).any()
    ]
    queries = _draw(protocols, context, count)
    card = _CardMaker(shown, context.category)
    # The queries first, so that they have images even if the answers use up IMAGE_BYTES.
    cards = [card(int(query)) for query in queries]
    columns = [_answer(scorer, protocol, queries, card, reason) for protocol in protocols]
    return [
        Exhibit(query_card, bool(context.item_split[query] != "warm"), list(relations))
        for query, query_card, *relations in zip(queries, cards, *columns, strict=True)
    ]


def _draw(protocols: list[RelationProtocol], context: EvaluationContext, count: int) -> NDArray[np.int64]:
    relations = np.zeros(context.n_items, np.int64)
    for protocol in protocols:
        relations[protocol.queries] += 1
    generator = numpy_generator(context.seed, "evaluate/gallery")
    shuffled = generator.permutation(np.flatnonzero(relations))
    best_first = shuffled[np.argsort(-relations[shuffled], kind="stable")]
    cold = context.item_split[best_first] != "warm"
    chosen_cold = best_first[cold][: count // 4]
    return np.concatenate([best_first[~cold][: count - len(chosen_cold)], chosen_cold])


class _CardMaker:
    def __init__(self, shown: ShownItems, category: Sequence[Sequence[str]]) -> None:
        self._shown = shown
        self._category = category
        self._thumbnail = cache(thumbnail)
        self._bytes_left = IMAGE_BYTES

    def __call__(self, item_row: int, right: bool | None = None, reason: str = "", *, pictured: bool = True) -> Card:
        shown, price = self._shown, self._shown.prices[item_row]
        known = None if math.isnan(price) else price
        category = next(iter(self._category[item_row][-1:]), "")
        image = self._image(item_row) if pictured else None
        return Card(shown.item_ids[item_row], shown.titles[item_row], category, known, image, right, reason)

    def _image(self, item_row: int) -> str | None:
        path = self._shown.images[item_row]
        if path:
            self._shown.check_image(item_row)
        image = self._thumbnail(self._shown.workspace_root, path) if path else None
        if image is None or len(image) > self._bytes_left:
            return None
        self._bytes_left -= len(image)
        return image


def _answer(
    scorer: Scorer, protocol: RelationProtocol, queries: NDArray[np.int64], card: _CardMaker, reason: Reason
) -> list[ShownAnswers]:
    judgement = protocol.judgements["plain"]
    scores = np.array(scorer.scores(protocol.relation, queries), dtype=np.float32)
    answers: list[ShownAnswers] = []
    for query, row in zip(queries, scores, strict=True):
        right = judgement.positives[[query]].indices
        row[judgement.masked[[query]].indices] = -np.inf
        positive = np.zeros(len(row), np.bool_)
        positive[right] = True
        # Among equal scores the wrong ones first, as in the metrics.
        best = np.lexsort((positive, -row))[:ANSWERS]
        best = best[row[best] > -np.inf]
        missed = right[~np.isin(right, best)]
        answers.append(
            ShownAnswers(
                protocol.relation,
                [
                    card(int(item), bool(positive[item]), reason(protocol.relation, int(query), int(item)))
                    for item in best
                ],
                len(right),
                len(missed),
                [card(int(item), pictured=False) for item in missed[:PARTNERS]],
            )
        )
    return answers


def thumbnail(workspace_root: Path, path: str) -> str | None:
    """A small JPEG, as a data URI, of an image that the catalogue names; None if the image cannot be used."""
    try:
        with open_checked(resolve_image(workspace_root, path), formats=FORMATS) as image:
            small = image.convert("RGB")
            small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    except UnusableImageError:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
