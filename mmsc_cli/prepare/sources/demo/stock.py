"""What the shop has in stock: the facts behind each item, before they are put into words and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.prepare.sources.demo.names import BRAND_NAMES
from mmsc_cli.prepare.sources.demo.shop import (
    ATTRIBUTE_INDEX,
    ATTRIBUTES,
    COLOURS,
    DEPARTMENTS,
    PRODUCT_TYPES,
    REFERENCE_ITEMS,
    TIERS,
)
from mmsc_cli.runtime.seeds import numpy_generator

BRANDS_PER_DEPARTMENT = 9  # in a shop of REFERENCE_ITEMS; grows with the square root of its size
VARIANTS = (0.40, 0.27, 0.17, 0.10, 0.06)  # share of models that come in 1, 2, ... colours
PRICE_SPREAD = 0.18  # standard deviation of the log price within a type and tier
VALUE_SKEW = 0.5  # Zipf exponent of attribute values: some mounts have many products, some few
POPULARITY_SKEW = 0.95  # Zipf exponent of models
HOUSE_WORD_BRANDS = 0.2


@dataclass(frozen=True)
class Stock:
    """Facts of each item.

    Arrays have shape (items,); `values` has (items, attributes), with -1 where a product type lacks one.
    Items of the same `model` (numbered below the number of items) differ in colour alone. `price` is above
    0, `popularity` sums to 1. `brand_names` and `house_words` (does the brand use words of its own?) have
    one entry per brand.
    """

    product_type: NDArray[np.int64]
    values: NDArray[np.int64]
    tier: NDArray[np.int64]
    brand: NDArray[np.int64]
    model: NDArray[np.int64]
    colour: NDArray[np.int64]
    price: NDArray[np.float64]
    popularity: NDArray[np.float64]
    brand_names: NDArray[np.int64]
    house_words: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.product_type)


def stock_up(items: int, seed: int) -> Stock:
    """Draw the facts of `items` items, in random order."""
    random = numpy_generator(seed, "demo/stock")
    variants = random.choice(len(VARIANTS), size=items, p=VARIANTS) + 1
    model = np.repeat(np.arange(items), variants)[:items]
    models = int(model[-1]) + 1
    variant = np.arange(items) - np.searchsorted(model, model)

    product_type = random.permutation(np.arange(models) % len(PRODUCT_TYPES))
    tier = random.choice(len(TIERS), size=models, p=[level.share for level in TIERS])
    per_department = max(2, round(BRANDS_PER_DEPARTMENT * (items / REFERENCE_ITEMS) ** 0.5))
    brands = per_department * len(DEPARTMENTS)
    brand = _choose_brands(product_type, tier, per_department, random)
    typical = np.array([kind.price for kind in PRODUCT_TYPES])[product_type]
    typical *= np.array([level.price for level in TIERS])[tier]
    price = typical * random.lognormal(sigma=PRICE_SPREAD, size=models)
    colours = random.permuted(np.tile(np.arange(len(COLOURS)), (models, 1)), axis=1)
    demand = 1 / random.permutation(np.arange(1, models + 1)) ** POPULARITY_SKEW
    values = _choose_values(product_type, items, random)

    popularity = demand[model] * random.uniform(0.2, 1.0, size=items)
    item_price = np.round(price[model] * random.uniform(0.97, 1.03, size=items)) - 0.01
    shuffled = random.permutation(items)
    chosen = model[shuffled]
    return Stock(
        product_type=product_type[chosen],
        values=values[chosen],
        tier=tier[chosen],
        brand=brand[chosen],
        model=chosen,
        colour=colours[model, variant][shuffled],
        price=item_price[shuffled],
        popularity=(popularity / popularity.sum())[shuffled],
        brand_names=random.choice(BRAND_NAMES, size=brands, replace=False),
        house_words=random.random(brands) < HOUSE_WORD_BRANDS,
    )


def _choose_brands(
    product_type: NDArray[np.int64], tier: NDArray[np.int64], per_department: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Give each model a brand of its department whose usual price tier is near its own."""
    department = np.array([list(DEPARTMENTS).index(kind.category[0]) for kind in PRODUCT_TYPES])[product_type]
    usual_tier = random.uniform(0, len(TIERS) - 1, size=(len(DEPARTMENTS), per_department))
    size = random.lognormal(sigma=0.6, size=usual_tier.shape)
    brand = np.empty(len(product_type), np.int64)
    for department_row in range(len(DEPARTMENTS)):
        for level in range(len(TIERS)):
            here = np.flatnonzero((department == department_row) & (tier == level))
            weight = size[department_row] * np.exp(-1.5 * np.abs(usual_tier[department_row] - level))
            brand[here] = department_row * per_department + random.choice(
                per_department, size=len(here), p=weight / weight.sum()
            )
    return brand


def _choose_values(product_type: NDArray[np.int64], items: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw the attribute values of each model, shape (models, attributes)."""
    has: NDArray[Any] = np.zeros((len(PRODUCT_TYPES), len(ATTRIBUTES)), bool)
    for index, kind in enumerate(PRODUCT_TYPES):
        has[index, [ATTRIBUTE_INDEX[name] for name in kind.attributes]] = True
    values = np.full((len(product_type), len(ATTRIBUTES)), -1, np.int64)
    for index, attribute in enumerate(ATTRIBUTES):
        here = has[product_type, index]
        weight = 1 / np.arange(1, attribute.cardinality(items) + 1) ** VALUE_SKEW
        values[here, index] = random.choice(len(weight), size=here.sum(), p=weight / weight.sum())
    return values
