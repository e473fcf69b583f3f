"""Titles, descriptions, brands and category paths: helpful, but with synonyms, gaps and house words.

A model's colour variants share their wording but for the colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mmsc_cli.prepare.sources.demo.names import brand_name, house_word, syllables, value_name
from mmsc_cli.prepare.sources.demo.shop import (
    ATTRIBUTE_INDEX,
    ATTRIBUTES,
    COLOURS,
    COMPATIBILITY,
    DEPARTMENTS,
    PRODUCT_TYPES,
    TIERS,
    TYPE_INDEX,
    ProductType,
)
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.runtime.seeds import numpy_generator

NO_DESCRIPTION = 0.025
NO_BRAND = 0.04
NO_LEAF = 0.1  # filed one level too high
MISFILED = 0.04  # filed under another type of its department
HOUSE_WORD = 0.7  # how often a brand with words of its own uses them
IN_TITLE = (0.75, 0.4, 0.4)  # chance that the title names the type's first, second, third attribute
IN_DESCRIPTION = 0.6
GOES_WITH = 0.25  # chance that the description names a kind of product that goes with it

TITLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (" ", ("brand", "model", "noun", "facts", "colour")),
    (", ", ("brand", "noun", "model", "facts", "colour")),
    (" - ", ("noun", "facts", "brand", "colour")),
    (" | ", ("colour", "noun", "model", "facts", "brand")),
    (" ", ("brand", "tier", "noun", "facts", "colour")),
    (" ", ("brand", "model", "noun", "colour")),
)
INTRODUCTIONS = (
    "{tier} {noun} by {brand}.",
    "The {model}: {tier} {noun}.",
    "{brand} {noun}, {tier} choice in {colour}.",
    "Our {tier} {noun} does what it should.",
)
FACTS = ("Details: {}.", "Fit: {}.", "Please note: {}.", "Standard: {}.", "Works with: {}.")
PAIRINGS = ("Pairs well with: {}.", "Bring your {}.", "Complete it with our {}.")
COLOUR_SLOT = "\0"
T = TypeVar("T")


@dataclass(frozen=True)
class Texts:
    """What is written about each item; lists of length items."""

    titles: list[str]
    descriptions: list[str]
    brands: list[str]
    categories: list[list[str]]


def write_texts(stock: Stock, seed: int) -> Texts:
    """Put the facts of each item into words."""
    random = numpy_generator(seed, "demo/wording")
    models, row_of_model, model = np.unique(stock.model, return_index=True, return_inverse=True)
    chances = _uniform(numpy_generator(seed, "demo/model-wording"))
    writers = [_ModelWriter(stock, int(row), chances) for row in row_of_model]
    colour_name = random.random((len(models), len(COLOURS)))
    chance = random.random((len(stock), 4))
    titles, descriptions, brands, categories = [], [], [], []
    for row, of_model in enumerate(model.tolist()):
        writer = writers[of_model]
        colour = int(stock.colour[row])
        name = _pick(COLOURS[colour].names, colour_name[of_model, colour])
        no_description, no_brand, wrong_place, other_type = chance[row]
        titles.append(writer.title.replace(COLOUR_SLOT, name))
        descriptions.append("" if no_description < NO_DESCRIPTION else writer.description.replace(COLOUR_SLOT, name))
        brands.append("" if no_brand < NO_BRAND else writer.brand)
        categories.append(list(_filed_under(writer.kind, wrong_place, other_type)))
    return Texts(titles, descriptions, brands, categories)


class _ModelWriter:
    """Writes one model's texts, with COLOUR_SLOT for the colour. `chances` are endless draws from [0, 1)."""

    def __init__(self, stock: Stock, row: int, chances: Iterator[float]) -> None:
        self._chances = chances
        self._brand_index = int(stock.brand[row])
        self._house_words = bool(stock.house_words[self._brand_index])
        self._values = stock.values[row]
        self.kind = PRODUCT_TYPES[stock.product_type[row]]
        self.brand = brand_name(int(stock.brand_names[self._brand_index]))
        name, number = int(next(self._chances) * 4_900), int(next(self._chances) * 90 + 10) * 10
        self._parts = {
            "brand": self.brand,
            "model": f"{syllables(name, 2)} {number}",
            "tier": _pick(TIERS[stock.tier[row]].words, next(self._chances)),
            "colour": COLOUR_SLOT,
        }
        self.title = self._title()
        self.description = self._description()

    def _title(self) -> str:
        separator, slots = _pick(TITLES, next(self._chances))
        facts = [
            self._fact(name)
            for name, share in zip(self.kind.attributes, IN_TITLE, strict=False)
            if next(self._chances) < share
        ]
        parts = self._parts | {"noun": _pick(self.kind.nouns, next(self._chances)), "facts": " ".join(facts)}
        return separator.join(parts[slot] for slot in slots if parts[slot])

    def _description(self) -> str:
        noun = _pick(self.kind.nouns, next(self._chances))
        sentences = [_pick(INTRODUCTIONS, next(self._chances)).format(noun=noun, **self._parts)]
        sentences += [
            _pick(FACTS, next(self._chances)).format(self._fact(name))
            for name in self.kind.attributes
            if next(self._chances) < IN_DESCRIPTION
        ]
        if next(self._chances) < GOES_WITH:
            partner = PRODUCT_TYPES[TYPE_INDEX[_pick(_PARTNERS[self.kind.name], next(self._chances))]]
            noun = _pick(partner.nouns, next(self._chances))
            sentences.append(_pick(PAIRINGS, next(self._chances)).format(noun))
        sentences.append(_pick(DEPARTMENTS[self.kind.category[0]], next(self._chances)))
        return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)

    def _fact(self, attribute: str) -> str:
        index = ATTRIBUTE_INDEX[attribute]
        value = int(self._values[index])
        own_word, phrase = next(self._chances), next(self._chances)
        if self._house_words and own_word < HOUSE_WORD:
            return house_word(self._brand_index, index, value)
        return _pick(ATTRIBUTES[index].phrases, phrase).format(value_name(index, value))


def _filed_under(kind: ProductType, wrong_place: float, other_type: float) -> tuple[str, ...]:
    if wrong_place < MISFILED:
        return _pick(_DEPARTMENT_TYPES[kind.category[0]], other_type).category
    if wrong_place < MISFILED + NO_LEAF and len(kind.category) > 2:
        return kind.category[:-1]
    return kind.category


def _uniform(random: np.random.Generator) -> Iterator[float]:
    """Draws from [0, 1) without end, taken in blocks: one call per draw would be slow."""
    while True:
        yield from random.random(65_536).tolist()


def _pick(choices: Sequence[T], chance: float) -> T:
    return choices[int(chance * len(choices))]


_PARTNERS = {
    kind.name: [
        edge.accessory if edge.main == kind.name else edge.main
        for edge in COMPATIBILITY
        if kind.name in (edge.main, edge.accessory)
    ]
    for kind in PRODUCT_TYPES
}
_DEPARTMENT_TYPES = {
    department: [kind for kind in PRODUCT_TYPES if kind.category[0] == department] for department in DEPARTMENTS
}
