"""Hand-written rules over metadata: how two items look related, and which relation that suggests.

They see titles, brands, categories and prices, no behaviour. Their weights were set by hand (ours, not fitted to
anything), so their probabilities are opinions, not calibrated frequencies. `label` offers them as the annotator
`rules`; `train` has them teach its student.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax

from mmsc_cli.arrays.sparse_rows import row_products
from mmsc_cli.arrays.term_weights import inverse_frequencies, term_weights

RULES_MODEL = "rules"  # their name where their labels appear
_FOR = re.compile(r"\b(?:compatible with|designed for|made for|fits|for)\b", re.IGNORECASE)
_WORD = re.compile(r"\b\w+\b")
_ACCESSORY = re.compile(
    r"\b(?:compatible with|refills?|replacements?|spare|accessor(?:y|ies)|attachments?|adapters?"
    r"|cases?|covers?|sleeves?|pouch(?:es)?|chargers?|cables?|mounts?|holders?|stands?|straps?|protectors?"
    r"|cartridges?|filters?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RuleFeatures:
    """What the rules look at; all arrays have shape (pairs,). `a` and `b` exchanged, the last three change sign."""

    leaf: NDArray[np.float32]  # 1 where both have the same, known category path
    branch: NDArray[np.float32]  # shared fraction of the category paths, 0 to 1
    title: NDArray[np.float32]  # cosine of the titles
    brand: NDArray[np.float32]  # 1 where both have the same, known brand
    log_price: NDArray[np.float32]  # ln(price of a / price of b), clipped; 0 where one is unknown
    accessory: NDArray[np.float32]  # 1 where only a has an accessory word, -1 where only b has
    named: NDArray[np.float32]  # above 0: a's title says it is "for" b; below 0: b's says it is for a

    def columns(self) -> NDArray[np.float32]:
        """The features without direction, and two products of them, (pairs, 9): for a model to learn from."""
        sizes = [np.abs(feature) for feature in (self.log_price, self.accessory, self.named)]
        products = [self.leaf * self.title, self.branch * (1 - self.leaf)]
        return np.stack([self.leaf, self.branch, self.title, self.brand, *sizes, *products], axis=1)

    def probabilities(self) -> NDArray[np.float64]:
        """Opinions (pairs, 3) in the order of CLASSES: scores linear in the features, through a softmax."""
        gap, one_sided, named = np.abs(self.log_price), np.abs(self.accessory), np.abs(self.named)
        related = self.branch * (1 - self.leaf)
        substitute = -2 + 3 * self.leaf + self.branch + 3 * self.title - 0.7 * gap - 3 * one_sided - 3 * named
        complement = -2 + 2 * related + self.brand * (1 - self.leaf) + 1.5 * one_sided * related + 4 * named
        scores = np.stack([substitute, complement, np.zeros_like(substitute)], axis=1)
        opinions: NDArray[np.float64] = softmax(scores.astype(np.float64), axis=1)
        return opinions

    def direction(self) -> NDArray[np.str_]:
        """The direction of a complement, (pairs,): towards the accessory.

        That is the item whose title says that it is for the other, else the one with an accessory word, else the one
        that costs less than a third.
        """
        cheaper = np.where(np.abs(self.log_price) > np.log(3), -np.sign(self.log_price), 0)
        evidence = np.stack([np.sign(self.named), self.accessory, cheaper])
        a_is_accessory = evidence[np.argmax(evidence != 0, axis=0), np.arange(evidence.shape[1])]
        return np.select([a_is_accessory > 0, a_is_accessory < 0], ["b_to_a", "a_to_b"], "both")


class PairRules:
    """The rules, prepared for one catalogue."""

    def __init__(self, item_table: pa.Table) -> None:
        """Read titles, brands, categories and prices of the item table."""
        titles: list[str] = item_table["title"].to_pylist()
        self._depth, self._paths = _category_codes(item_table["category"].to_pylist())
        brands = _folded(item_table["brand"])
        self._brands = np.where(brands == "", -1, np.unique(brands, return_inverse=True)[1])
        self._accessory = np.array([_ACCESSORY.search(title) is not None for title in titles], dtype=np.float32)
        self._prices = item_table["price"].to_numpy()
        self._whole, self._heads, self._targets = _title_vectors(titles)

    def features(self, a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> RuleFeatures:
        """Look at pairs of item rows, each of shape (pairs,)."""
        paths, depth, prices = self._paths, self._depth, self._prices
        shared = ((paths[a] == paths[b]) & (paths[a] >= 0)).sum(axis=1)
        deeper = np.maximum(depth[a], depth[b])
        with np.errstate(invalid="ignore", divide="ignore"):
            log_price = np.clip(np.log(prices[a] / prices[b]), -3, 3)
        named = row_products(self._targets[a], self._heads[b]) - row_products(self._targets[b], self._heads[a])
        return RuleFeatures(
            leaf=((shared == deeper) & (deeper > 0)).astype(np.float32),
            branch=(shared / np.maximum(deeper, 1)).astype(np.float32),
            title=row_products(self._whole[a], self._whole[b]),
            brand=((self._brands[a] == self._brands[b]) & (self._brands[a] >= 0)).astype(np.float32),
            log_price=np.nan_to_num(log_price).astype(np.float32),
            accessory=self._accessory[a] - self._accessory[b],
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


def _title_vectors(titles: list[str]) -> list[sparse.csr_matrix[Any]]:
    """TF-IDF rows (n_items, words) of the titles, of what stands before their "for", and of what stands behind it."""
    halves = [_FOR.split(title, maxsplit=1) for title in titles]
    whole = [_WORD.findall(title.lower()) for title in titles]
    columns = {word: column for column, word in enumerate(sorted({word for words in whole for word in words}))}
    idf = inverse_frequencies(whole, columns)
    parts = ([half[place] if len(half) > place else "" for half in halves] for place in (0, 1))
    split = ([_WORD.findall(part.lower()) for part in of_titles] for of_titles in parts)
    return [term_weights(words, columns, idf) for words in (whole, *split)]


def _folded(column: pa.ChunkedArray) -> NDArray[np.str_]:
    return np.array([value.casefold().strip() for value in column.to_pylist()], dtype=np.str_)
