"""A synthetic shop as its systems would export it: a Shopify product export, GA4 events and Shopify orders.

    python -m benchmarks.export_shop FOLDER --products 2400 --events 232000 --seed 1

It is not the demo source of `mmsc prepare demo`: it has other products and other shoppers, and writes the files of real
systems with their habits (variants as rows of one handle, HTML descriptions, drafts). `truth.json` says which product
types go together, so that a benchmark can judge answers.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

# Per department: product type -> (price in EUR, option name, options).
DEPARTMENTS: dict[str, dict[str, tuple[float, str, tuple[str, ...]]]] = {
    "Coffee": {
        "Espresso Machine": (420, "Colour", ("Steel", "Black", "Red")),
        "Coffee Grinder": (140, "Colour", ("Steel", "Black")),
        "Milk Frother": (55, "Colour", ("Black", "White")),
        "Coffee Beans": (14, "Weight", ("250 g", "1 kg")),
        "Descaler": (11, "Title", ("Default Title",)),
        "Espresso Cups": (24, "Set", ("2 pieces", "6 pieces")),
    },
    "Camping": {
        "Tent": (260, "Persons", ("2", "3", "4")),
        "Sleeping Bag": (95, "Length", ("Regular", "Long")),
        "Sleeping Mat": (60, "Width", ("Regular", "Wide")),
        "Camping Stove": (70, "Title", ("Default Title",)),
        "Gas Cartridge": (8, "Size", ("230 g", "450 g")),
        "Head Torch": (35, "Colour", ("Black", "Orange")),
    },
    "Cycling": {
        "Bike Helmet": (75, "Size", ("S", "M", "L")),
        "Bike Light": (40, "Title", ("Default Title",)),
        "Inner Tube": (7, "Wheel", ("26 inch", "28 inch", "29 inch")),
        "Tyre Levers": (6, "Title", ("Default Title",)),
        "Bike Pump": (29, "Title", ("Default Title",)),
        "Pannier Bag": (85, "Colour", ("Black", "Green", "Yellow")),
    },
    "Office": {
        "Office Chair": (310, "Colour", ("Black", "Grey")),
        "Desk": (280, "Width", ("120 cm", "160 cm")),
        "Desk Lamp": (48, "Colour", ("Black", "White")),
        "Monitor Arm": (90, "Title", ("Default Title",)),
        "Cable Tray": (19, "Title", ("Default Title",)),
        "Footrest": (39, "Title", ("Default Title",)),
    },
    "Painting": {
        "Acrylic Paint Set": (32, "Colours", ("12", "24")),
        "Watercolour Set": (28, "Colours", ("12", "24")),
        "Paint Brushes": (15, "Set", ("5 pieces", "10 pieces")),
        "Stretched Canvas": (12, "Size", ("30 x 40 cm", "50 x 70 cm")),
        "Easel": (65, "Title", ("Default Title",)),
        "Palette Knife": (9, "Title", ("Default Title",)),
    },
    "Baby": {
        "Stroller": (480, "Colour", ("Black", "Sand", "Navy")),
        "Stroller Rain Cover": (29, "Title", ("Default Title",)),
        "Baby Bottle": (11, "Volume", ("150 ml", "260 ml")),
        "Bottle Brush": (7, "Title", ("Default Title",)),
        "Changing Mat": (27, "Colour", ("White", "Grey")),
        "Nappy Bag": (70, "Colour", ("Black", "Sand")),
    },
}
GOES_WITH: tuple[tuple[str, str], ...] = (
    ("Espresso Machine", "Coffee Grinder"), ("Espresso Machine", "Milk Frother"), ("Espresso Machine", "Descaler"),
    ("Coffee Grinder", "Coffee Beans"), ("Espresso Machine", "Coffee Beans"), ("Espresso Cups", "Coffee Beans"),
    ("Tent", "Sleeping Mat"), ("Sleeping Mat", "Sleeping Bag"), ("Camping Stove", "Gas Cartridge"),
    ("Tent", "Sleeping Bag"), ("Head Torch", "Tent"), ("Bike Light", "Bike Helmet"), ("Inner Tube", "Tyre Levers"),
    ("Inner Tube", "Bike Pump"), ("Bike Helmet", "Pannier Bag"), ("Bike Light", "Pannier Bag"),
    ("Office Chair", "Footrest"), ("Desk", "Desk Lamp"), ("Desk", "Monitor Arm"), ("Desk", "Cable Tray"),
    ("Desk", "Office Chair"), ("Acrylic Paint Set", "Paint Brushes"), ("Acrylic Paint Set", "Stretched Canvas"),
    ("Stretched Canvas", "Easel"), ("Watercolour Set", "Paint Brushes"), ("Acrylic Paint Set", "Palette Knife"),
    ("Stroller", "Stroller Rain Cover"), ("Stroller", "Nappy Bag"), ("Baby Bottle", "Bottle Brush"),
    ("Nappy Bag", "Changing Mat"),
)  # fmt: skip
VENDORS = (
    "Alpenhof",
    "Nordlys",
    "Brisa",
    "Kestrel",
    "Maison Verte",
    "Tallow & Sons",
    "Umi",
    "Ferrand",
    "Oakline",
    "Piko",
)
SERIES = ("Classic", "Pro", "Go", "Studio", "Trail", "Lite", "One", "Plus", "Heritage", "Nova", "Urban", "Comfort")
MATERIALS = ("oak", "steel", "recycled nylon", "aluminium", "cotton", "ceramic", "bamboo", "glass", "leather", "cork")


@dataclass(frozen=True)
class Product:
    """A product with its variants: `skus` and `options` align."""

    handle: str
    title: str
    vendor: str
    department: str
    kind: str
    price: float
    skus: tuple[str, ...]
    options: tuple[str, ...]


def make_products(count: int, rng: np.random.Generator) -> list[Product]:
    """Make products; titles are unique and say what the product is."""
    kinds = [(department, kind) for department, kinds in DEPARTMENTS.items() for kind in kinds]
    products: dict[str, Product] = {}
    while len(products) < count:
        department, kind = kinds[len(products) % len(kinds)]
        base, _, options = DEPARTMENTS[department][kind]
        vendor, series = str(rng.choice(VENDORS)), str(rng.choice(SERIES))
        title = f"{vendor} {series} {rng.integers(1, 90)} {kind}"
        handle = title.lower().replace(" & ", "-").replace(" ", "-")
        if handle in products:
            continue
        number = len(products) + 1
        skus = tuple(f"{kind[:2].upper()}-{number:05d}-{option + 1}" for option in range(len(options)))
        price = round(base * float(rng.lognormal(0, 0.35)), 2)
        products[handle] = Product(handle, title, vendor, department, kind, price, skus, options)
    return list(products.values())


def write_products(path: Path, products: list[Product], rng: np.random.Generator) -> None:
    """Write the product export: the first row of a handle says all, the others only what differs."""
    head = ["Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published", "Option1 Name",
            "Option1 Value", "Variant SKU", "Variant Grams", "Variant Price", "Variant Barcode", "Image Src",
            "Image Position", "Gift Card", "Status"]  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, head, restval="")
        rows.writeheader()
        for number, product in enumerate(products):
            status = "draft" if number % 97 == 96 else "archived" if number % 89 == 88 else "active"
            option_name = DEPARTMENTS[product.department][product.kind][1]
            material = rng.choice(MATERIALS)
            for variant, (sku, option) in enumerate(zip(product.skus, product.options, strict=True)):
                row = {
                    "Handle": product.handle,
                    "Option1 Value": option,
                    "Variant SKU": sku,
                    "Variant Price": f"{product.price * (1 + 0.1 * variant):.2f}",
                    "Variant Grams": "500",
                }
                if variant == 0:
                    row |= {
                        "Title": product.title,
                        "Vendor": product.vendor,
                        "Type": product.kind,
                        "Body (HTML)": f"<p>{product.kind} by {product.vendor}, {material}.</p><p>Don&#39;t wet.</p>",
                        "Product Category": f"{product.department} &gt; {product.kind}s",
                        "Tags": f"{product.department.lower()}, {material}",
                        "Published": "true" if status == "active" else "false",
                        "Option1 Name": option_name,
                        "Image Src": f"https://cdn.shop.example/{product.handle}.jpg?v=17{number}",
                        "Image Position": "1",
                        "Gift Card": "false",
                        "Status": status,
                    }
                rows.writerow(row)
            if number % 3 == 0:  # a further picture stands in a row of its own
                picture = f"https://cdn.shop.example/{product.handle}-2.jpg"
                rows.writerow({"Handle": product.handle, "Image Src": picture, "Image Position": "2"})


@dataclass(frozen=True)
class Shoppers:
    """Who looks at what: popularity of products (products,), and the products of each type and of each partner type."""

    products: list[Product]
    popularity: np.ndarray
    of_kind: dict[str, np.ndarray]
    partners: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, products: list[Product], rng: np.random.Generator) -> Shoppers:
        """Draw the popularity, and look up who goes with whom."""
        popularity = rng.lognormal(0, 1.1, len(products))
        kinds = np.array([product.kind for product in products])
        of_kind = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
        partners: dict[str, tuple[str, ...]] = {}
        for first, second in GOES_WITH:
            partners[first] = (*partners.get(first, ()), second)
            partners[second] = (*partners.get(second, ()), first)
        return cls(products, popularity, of_kind, partners)

    def draw(self, kind: str, rng: np.random.Generator, near: float | None = None) -> int:
        """Draw a product of a type by popularity, likelier near a price level (a multiple of the type's price)."""
        rows = self.of_kind[kind]
        weights = self.popularity[rows].copy()
        if near is not None:
            levels = np.array([self.level(row) for row in rows])
            weights *= np.exp(-(((np.log(levels) - np.log(near)) / 0.25) ** 2))
        return int(rng.choice(rows, p=weights / weights.sum()))

    def level(self, row: int) -> float:
        """The price as a multiple of its type's."""
        product = self.products[row]
        return product.price / DEPARTMENTS[product.department][product.kind][0]

    def visit(self, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        """One session: (event, product) in order."""
        kinds = list(self.of_kind)
        first = self.draw(str(rng.choice(kinds)), rng)
        kind, level = self.products[first].kind, self.level(first)
        seen = [first, *(self.draw(kind, rng, level) for _ in range(rng.integers(0, 5)))]
        if rng.random() < 0.15:  # something else catches the eye
            seen.append(self.draw(str(rng.choice(kinds)), rng))
        for row in dict.fromkeys(seen):
            yield "view_item", row
        if rng.random() > 0.3:
            return
        basket = [seen[int(rng.integers(len(seen)))]]
        while rng.random() < 0.6 and len(basket) < 5:
            if rng.random() < 0.74 and kind in self.partners:
                basket.append(self.draw(str(rng.choice(self.partners[kind])), rng, level))
            else:
                basket.append(self.draw(str(rng.choice(kinds)), rng))
        basket = list(dict.fromkeys(basket))
        for row in basket:
            if row not in seen:
                yield "view_item", row
            yield "add_to_cart", row
        if rng.random() < 0.75:
            for row in basket:
                yield "purchase", row


def write_behaviour(folder: Path, products: list[Product], events: int, rng: np.random.Generator) -> None:
    """Write `events.jsonl` (GA4 as BigQuery exports it) and `orders_export.csv` (Shopify) of the same sessions."""
    shoppers = Shoppers.of(products, rng)
    start, days = datetime(2026, 8, 1, tzinfo=UTC), 90
    written = order_number = session = 0
    head = [
        "Name",
        "Email",
        "Financial Status",
        "Created at",
        "Lineitem quantity",
        "Lineitem name",
        "Lineitem price",
        "Lineitem sku",
    ]
    with (
        (folder / "events.jsonl").open("w", encoding="utf-8") as log,
        (folder / "orders_export.csv").open("w", encoding="utf-8", newline="") as orders,
    ):
        rows = csv.DictWriter(orders, head, restval="")
        rows.writeheader()
        while written < events:
            session += 1
            moment = start + timedelta(seconds=days * 86_400 * session / (events / 5.2) % (days * 86_400))
            shopper = f"{rng.integers(1_000_000, 2_000_000)}.{session}"
            bought: list[dict[str, Any]] = []
            for event, row in shoppers.visit(rng):
                product = products[row]
                variant = int(rng.integers(len(product.skus)))
                moment += timedelta(seconds=int(rng.integers(5, 90)))
                item = {"item_id": product.skus[variant], "item_name": product.title, "item_brand": product.vendor,
                        "price": product.price, "quantity": 1}  # fmt: skip
                if event == "purchase":
                    bought.append(item)
                    continue
                written += 1
                log.write(json.dumps(_ga4(event, moment, shopper, session, [item])) + "\n")
            if bought:  # GA4 writes one purchase with all its items
                written += 1
                order_number += 1
                log.write(json.dumps(_ga4("purchase", moment, shopper, session, bought)) + "\n")
                for line, item in enumerate(bought):
                    rows.writerow({
                        "Name": f"#{order_number + 1000}", "Email": f"c{shopper}@shop.example",
                        "Financial Status": "" if line else "paid",
                        "Created at": (moment + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M:%S +0200"),
                        "Lineitem quantity": 1, "Lineitem name": item["item_name"], "Lineitem price": item["price"],
                        "Lineitem sku": item["item_id"],
                    })  # fmt: skip
            if session % 7 == 0:
                written += 1
                log.write(json.dumps(_ga4("page_view", moment, shopper, session, [])) + "\n")


def _ga4(event: str, moment: datetime, shopper: str, session: int, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Build one line of the export."""
    session_id = int(moment.timestamp()) // 1800 * 1800 + session % 1800
    return {
        "event_date": moment.strftime("%Y%m%d"),
        "event_timestamp": str(int(moment.timestamp() * 1e6)),
        "event_name": event,
        "event_params": [
            {
                "key": "ga_session_id",
                "value": {"int_value": str(session_id)},
            },
            {"key": "page_location", "value": {"string_value": "https://shop.example/"}},
        ],
        "user_pseudo_id": shopper,
        "platform": "WEB",
        "items": items,
    }


def make_shop(folder: Path, products: int, events: int, seed: int) -> None:
    """Write `products_export.csv`, `events.jsonl`, `orders_export.csv` and `truth.json` into a folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = make_products(products, rng)
    write_products(folder / "products_export.csv", made, rng)
    write_behaviour(folder, made, events, rng)
    kinds = {sku: product.kind for product in made for sku in (product.handle, *product.skus)}
    (folder / "truth.json").write_text(json.dumps({"kind": kinds, "goes_with": GOES_WITH}), encoding="utf-8")


def main() -> None:
    """Parse the command line and write the shop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--products", type=int, default=2_400)
    parser.add_argument("--events", type=int, default=232_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    make_shop(given.folder, given.products, given.events, given.seed)


if __name__ == "__main__":
    main()
