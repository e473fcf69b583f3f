"""The annotator without a language model: hand-written rules over metadata.

A free baseline, named `rules` wherever its labels appear. It sees titles, brands, categories and prices, no
behaviour; its weights were set by hand (ours, not fitted to anything), so its probabilities are opinions, not
calibrated frequencies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from mmsc_cli.label.opinions import Opinions
from mmsc_cli.label.similarity import row_products

RULES_MODEL = "rules"
RULES_VERSION = "rules-1"

_FOR = re.compile(r"\b(?:compatible with|designed for|made for|fits|for)\b", re.IGNORECASE)
_ACCESSORY = re.compile(
    r"\b(?:compatible with|refills?|replacements?|spare|accessor(?:y|ies)|attachments?|adapters?"
    r"|cases?|covers?|sleeves?|pouch(?:es)?|chargers?|cables?|mounts?|holders?|stands?|straps?|protectors?"
    r"|cartridges?|filters?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Features:
    """What the rules look at; all arrays have shape (pairs,)."""

    leaf: NDArray[np.float32]  # 1 where both have the same, known category path
    branch: NDArray[np.float32]  # shared fraction of the category paths, 0 to 1
    title: NDArray[np.float32]  # cosine of the titles
    brand: NDArray[np.float32]  # 1 where both have the same, known brand
    log_price: NDArray[np.float32]  # ln(price of a / price of b), clipped; 0 where one is unknown
    accessory: NDArray[np.float32]  # 1 where only a has an accessory word, -1 where only b has
    named: NDArray[np.float32]  # above 0: a's title says it is "for" b; below 0: b's says it is for a


def annotate(item_table: pa.Table, a: NDArray[np.int32], b: NDArray[np.int32]) -> Opinions:
    """Judge pairs of item rows (shape (pairs,), `a < b`) by rules.

    The three class scores are linear in the features and go through a softmax. The direction of a complement
    is towards the accessory: the item whose title says that it is for the other, else the one with an accessory
    word, else the one that costs less than a third. `label_mass` and `agreement` are 1: nothing was asked.
    """
    seen = _features(item_table, a, b)
    gap, one_sided, named = np.abs(seen.log_price), np.abs(seen.accessory), np.abs(seen.named)
    related = seen.branch * (1 - seen.leaf)
    substitute = -2 + 3 * seen.leaf + seen.branch + 3 * seen.title - 0.7 * gap - 3 * one_sided - 3 * named
    complement = -2 + 2 * related + seen.brand * (1 - seen.leaf) + 1.5 * one_sided * related + 4 * named
    scores = np.stack([substitute, complement, np.zeros_like(substitute)], axis=1)
    probabilities = softmax(scores.astype(np.float64), axis=1)
    return Opinions.of_one_order(a, b, probabilities, _direction(seen), annotator=RULES_MODEL, version=RULES_VERSION)


def _direction(seen: _Features) -> NDArray[np.str_]:
    cheaper = np.where(np.abs(seen.log_price) > np.log(3), -np.sign(seen.log_price), 0)
    evidence = np.stack([np.sign(seen.named), seen.accessory, cheaper])
    a_is_accessory = evidence[np.argmax(evidence != 0, axis=0), np.arange(evidence.shape[1])]
    return np.select([a_is_accessory > 0, a_is_accessory < 0], ["b_to_a", "a_to_b"], "both")


def _features(item_table: pa.Table, a: NDArray[np.int32], b: NDArray[np.int32]) -> _Features:
    titles: list[str] = item_table["title"].to_pylist()
    depth, paths = _category_codes(item_table["category"].to_pylist())
    shared = ((paths[a] == paths[b]) & (paths[a] >= 0)).sum(axis=1)
    deeper = np.maximum(depth[a], depth[b])
    brands = np.unique(_folded(item_table["brand"]), return_inverse=True)[1]
    known_brand = _folded(item_table["brand"]) != ""
    accessory = np.array([_ACCESSORY.search(title) is not None for title in titles], dtype=np.float32)
    prices = item_table["price"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        log_price = np.clip(np.log(prices[a] / prices[b]), -3, 3)
    title, named = _title_features(titles, a, b)
    return _Features(
        leaf=((shared == deeper) & (deeper > 0)).astype(np.float32),
        branch=(shared / np.maximum(deeper, 1)).astype(np.float32),
        title=title,
        brand=((brands[a] == brands[b]) & known_brand[a]).astype(np.float32),
        log_price=np.nan_to_num(log_price).astype(np.float32),
        accessory=accessory[a] - accessory[b],
        named=named,
    )


def _category_codes(categories: list[list[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Depth of each path, and a number for each prefix of it, shape (n_items, deepest), -1 beyond its end."""
    depth = np.array([len(path) for path in categories], dtype=np.int64)
    codes = np.full((len(categories), int(depth.max(initial=0))), -1, dtype=np.int64)
    numbers: dict[tuple[str, ...], int] = {}
    for row, path in enumerate(categories):
        for level in range(len(path)):
            codes[row, level] = numbers.setdefault(tuple(path[: level + 1]), len(numbers))
    return depth, codes


def _title_features(
    titles: list[str], a: NDArray[np.int32], b: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine of the titles; and whether what one title is "for" is what the other title begins with."""
    halves = [_FOR.split(title, maxsplit=1) for title in titles]  # before and after the "for"
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, token_pattern=r"(?u)\b\w+\b")
    try:
        whole = vectorizer.fit_transform(titles)
    except ValueError:  # no words in the whole catalogue
        return np.zeros(len(a), np.float32), np.zeros(len(a), np.float32)
    heads = vectorizer.transform([half[0] for half in halves])
    targets = vectorizer.transform([half[1] if len(half) > 1 else "" for half in halves])
    named = row_products(targets[a], heads[b]) - row_products(targets[b], heads[a])
    return row_products(whole[a], whole[b]), named


def _folded(column: pa.ChunkedArray) -> NDArray[np.str_]:
    return np.array([value.casefold().strip() for value in column.to_pylist()], dtype=np.str_)
