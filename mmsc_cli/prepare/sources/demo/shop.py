"""The shop as written in `shop.toml`: what is sold, which attributes must match, and what goes with what."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFERENCE_ITEMS = 2_000
NEAR_TIERS = 1  # true partners are at most so many price tiers apart


@dataclass(frozen=True)
class Attribute:
    """Something that must match, such as a camera mount; see `shop.toml`."""

    name: str
    values: int
    words: tuple[str, ...]
    phrases: tuple[str, ...]

    def cardinality(self, items: int) -> int:
        """Number of values in a shop of `items`; grows with it, so that an item's true partners stay few."""
        return max(1, round(self.values * items / REFERENCE_ITEMS))


@dataclass(frozen=True)
class Tier:
    """A price tier: its share of models, its price in multiples of the middle tier's, words for it."""

    share: float
    price: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class Colour:
    """A colour and its synonyms."""

    rgb: tuple[int, int, int]
    names: tuple[str, ...]


@dataclass(frozen=True)
class ProductType:
    """A kind of product; see `shop.toml`."""

    name: str
    category: tuple[str, ...]
    nouns: tuple[str, ...]
    attributes: tuple[str, ...]
    substitute_on: tuple[str, ...]
    price: float


@dataclass(frozen=True)
class GoesWith:
    """An edge of the compatibility graph: `accessory` goes with `main` if they agree in attribute `on`."""

    main: str
    accessory: str
    on: str
    mutual: bool


def _attribute(name: str, row: dict[str, Any]) -> Attribute:
    return Attribute(name, row["values"], tuple(row["words"]), tuple(row["phrases"]))


def _product_type(name: str, row: dict[str, Any]) -> ProductType:
    return ProductType(
        name=name,
        category=tuple(row["category"].split(" > ")),
        nouns=tuple(row["nouns"]),
        attributes=tuple(row["attributes"]),
        substitute_on=tuple(row["substitute_on"]),
        price=float(row["price"]),
    )


_WRITTEN = tomllib.loads(Path(__file__).with_name("shop.toml").read_text(encoding="utf-8"))
ATTRIBUTES = tuple(_attribute(name, row) for name, row in _WRITTEN["attributes"].items())
TIERS = tuple(Tier(row["share"], row["price"], tuple(row["words"])) for row in _WRITTEN["tiers"].values())
COLOURS = tuple(Colour(tuple(row["rgb"]), tuple(row["names"])) for row in _WRITTEN["colours"].values())
DEPARTMENTS: dict[str, tuple[str, ...]] = {
    name: tuple(sentences) for name, sentences in _WRITTEN["departments"].items()
}
PRODUCT_TYPES = tuple(_product_type(name, row) for name, row in _WRITTEN["product_types"].items())
COMPATIBILITY = tuple(
    GoesWith(main, accessory, on, mutual=kind == "mutual")
    for kind in ("directed", "mutual")
    for main, accessory, on in _WRITTEN["goes_with"][kind]
)
ATTRIBUTE_INDEX = {attribute.name: index for index, attribute in enumerate(ATTRIBUTES)}
TYPE_INDEX = {product_type.name: index for index, product_type in enumerate(PRODUCT_TYPES)}
