"""Exports of shop systems as they are written, each prepared without any conversion."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.stage import prepare
from mmsc_cli.recipe.loading import load_recipe
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.workspace.workspace import Workspace

Row = Sequence[Any]
SHOPIFY_HEAD = [
    *("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags", "Published", "Option1 Name"),
    *("Option1 Value", "Variant SKU", "Variant Price", "Image Src", "Variant Image", "Status"),
]


class Prepared:
    """What was made of some files by a shipped recipe."""

    def __init__(self, folder: Path, recipe: str, *overrides: str) -> None:
        workspace = Workspace(folder / "space")
        self.counts = prepare(workspace, load_recipe(recipe, list(overrides)), recipe_directory=folder)
        self.items = {row["item_id"]: row for row in read_items(workspace.path("items.parquet")).to_pylist()}
        self.table = Pairs.read(workspace.path("pairs.parquet"))

    def pairs(self, kind: str) -> set[frozenset[str]]:
        """The pairs of ids that were seen in a behaviour."""
        ids, held = list(self.items), getattr(self.table, f"{kind}_ab") > 0
        ends = zip(self.table.a[held].tolist(), self.table.b[held].tolist(), strict=True)
        return {frozenset((ids[a], ids[b])) for a, b in ends}


def _write(path: Path, head: Row, rows: Sequence[Row], separator: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([head, *rows])


def _pair(*ids: str) -> frozenset[str]:
    return frozenset(ids)


def _others(count: int) -> list[tuple[str, str]]:
    """Orders of other things, without which nothing is more often together than chance would have it."""
    return [(f"x{number}", f"X{number % 5}") for number in range(count)]


@pytest.fixture
def shopify_products(tmp_path: Path) -> Path:
    """Two mugs of one Handle, a pot without a SKU, a draft, an archived product."""
    rows = [
        *[["mug", "Enamel mug", "<p>Steel &amp; enamel</p>", "Nordo", "Home & Garden > Mugs", "Mugs", "", "true"]],
        ["mug", "", "", "", "", "", "", ""],
        ["mug", "", "", "", "", "", "", ""],
        ["pot", "Steel pot", "", "Nordo", "", "Pots", "", "true"],
        ["old", "Old pan", "", "Nordo", "", "Pans", "", "true"],
        ["new", "New pan", "", "Nordo", "", "Pans", "", "false"],
    ]
    variants = [
        ["Colour", "White", "MUG-W", "12.50", "https://cdn.example/a.jpg", "https://cdn.example/w.jpg", "active"],
        ["", "Blue", "'MUG-B".strip("'"), "13.50", "", "", ""],
        ["", "", "", "", "https://cdn.example/c.jpg", "", ""],
        ["Title", "Default Title", "", "49.00", "", "", "active"],
        ["Title", "Default Title", "PAN-O", "9.00", "", "", "archived"],
        ["Title", "Default Title", "PAN-N", "9.00", "", "", "draft"],
    ]
    path = tmp_path / "products_export.csv"
    _write(path, SHOPIFY_HEAD, [product + variant for product, variant in zip(rows, variants, strict=True)])
    return tmp_path


def test_shopify_products_and_orders(shopify_products: Path) -> None:
    head = ["Name", "Email", "Financial Status", "Created at", "Lineitem quantity", "Lineitem name", "Lineitem sku"]
    orders: list[Row] = []
    for number in range(6):
        orders.append([f"#10{number}", "a@b.example", "paid", "2026-10-01 10:00:00 +0200", 1, "Mug", "MUG-W", ""])
        orders.append([f"#10{number}", "a@b.example", "", "", 1, "Steel pot", "pot", ""])
    orders.append(["#199", "c@d.example", "refunded", "2026-10-02 10:00:00 +0200", 1, "Mug", "MUG-B", "2026-10-03"])
    orders.append(["#199", "c@d.example", "", "", 1, "X0", "X0", ""])
    orders += [
        [f"#3{name}", "e@f.example", "paid", "2026-10-02 10:00:00 +0200", 1, item, item, ""]
        for name, item in _others(9)
    ]
    _write(shopify_products / "orders_export.csv", [*head, "Cancelled at"], orders)
    shop = Prepared(shopify_products, "shopify", "source.since=2026-10-01")
    assert list(shop.items) == ["MUG-B", "MUG-W", "pot"], "a product without a SKU is known by its Handle"
    blue = shop.items["MUG-B"]
    assert (blue["title"], blue["description"], blue["brand"]) == ("Enamel mug", "Steel & enamel", "Nordo")
    assert blue["category"] == ["Home & Garden", "Mugs"]
    assert (blue["price"], blue["image_url"], blue["group"]) == (13.5, "https://cdn.example/a.jpg", "mug")
    assert shop.items["MUG-W"]["image_url"] == "https://cdn.example/w.jpg"
    assert shop.items["pot"]["category"] == ["Pots"]
    assert shop.pairs("buy") == {_pair("MUG-W", "pot"), _pair("MUG-B", "pot")}
    assert (shop.counts["records_unpublished"], shop.counts["records_of_pictures"]) == (2, 1)
    assert (shop.counts["events_cancelled"], shop.counts["events_without_time"]) == (2, 0)
    assert shop.counts["formats"] == {"products_export.csv": "shopify", "orders_export.csv": "shopify-orders"}


FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>P1</g:id><title>Pot &amp;amp; lid</title><g:description><![CDATA[<p>Cast iron</p>]]></g:description>
<link>https://s.example/1</link><g:image_link>https://s.example/1.jpg?a=1&amp;b=2</g:image_link>
<g:price>1299.00 EUR</g:price><g:brand>Nordo</g:brand><g:product_type>Home &gt; Kitchen &gt; Pots</g:product_type>
<g:product_type>Sale</g:product_type><g:item_group_id>G1</g:item_group_id></item>
<item><g:id>P2</g:id><title>Pan</title><link>https://s.example/2</link><g:image_link>https://s.example/2.jpg</g:image_link>
<g:price>24,90 EUR</g:price><g:product_type>Home &gt; Kitchen &gt; Pans</g:product_type></item>
</channel></rss>
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_google_feed_in_xml(tmp_path: Path, packed: bool) -> None:
    name = "feed.xml.gz" if packed else "feed.xml"
    (tmp_path / name).write_bytes(gzip.compress(FEED.encode()) if packed else FEED.encode())
    views = [(f"s{number}", item) for number in range(5) for item in ("P1", "P2")] + _others(9)
    _write(tmp_path / "events.csv", ["session", "item", "type"], [(*visit, "view") for visit in views])
    shop = Prepared(tmp_path, "google-merchant", f"source.items={name}")
    pot = shop.items["P1"]
    assert (pot["title"], pot["description"], pot["price"]) == ("Pot & lid", "Cast iron", 1299.0)
    assert pot["category"] == ["Home", "Kitchen", "Pots"]
    assert (pot["image_url"], pot["group"]) == ("https://s.example/1.jpg?a=1&b=2", "G1")
    assert shop.items["P2"]["price"] == 24.9
    assert shop.pairs("view") == {_pair("P1", "P2")}


@pytest.mark.parametrize(
    "entity",
    ['<!ENTITY a "boom"><!ENTITY b "&a;&a;&a;&a;&a;&a;">', '<!ENTITY a SYSTEM "file:///etc/passwd">'],
    ids=["expansion", "file"],
)
def test_entities_of_a_feed_are_never_expanded(tmp_path: Path, entity: str) -> None:
    bad = f'<?xml version="1.0"?><!DOCTYPE rss [{entity}]><rss><item><id>&a;</id></item></rss>'
    (tmp_path / "feed.xml").write_text(bad)
    (tmp_path / "events.csv").write_text("session,item,type\n1,A,view\n")
    with pytest.raises(InputError, match=r"feed\.xml: not readable as xml: EntitiesForbidden"):
        Prepared(tmp_path, "google-merchant")


def test_a_google_feed_in_tsv(tmp_path: Path) -> None:
    head = ["id", "title", "description", "link", "image_link", "price", "product_type", "item_group_id"]
    rows = [
        ["000123", "Pot &amp; lid", "<p>x</p>", "l", "https://s.example/1.jpg", "1299.00 EUR", "Home &gt; Pots", ""],
        ["000124", 'Rack 19"', "y", "l", "", "15 EUR", "Home > Racks, Home > Office > Racks", ""],
    ]
    lines = ["\t".join(head), *("\t".join(row) for row in rows)]
    (tmp_path / "feed.tsv").write_text("\n".join(lines) + "\n")
    views = [(f"s{number}", item) for number in range(5) for item in ("000123", "000124")] + _others(9)
    _write(tmp_path / "events.csv", ["session", "item", "type"], [(*visit, "view") for visit in views])
    shop = Prepared(tmp_path, "google-merchant", "source.items=feed.tsv")
    assert shop.items["000123"]["title"] == "Pot & lid"
    assert shop.items["000124"]["title"] == 'Rack 19"'
    assert shop.items["000124"]["category"] == ["Home", "Office", "Racks"]


def test_woocommerce_products_and_order_lines(tmp_path: Path) -> None:
    head = ["ID", "Type", "SKU", "Name", "Published", "Categories", "Images", "Regular price", "Parent"]
    rows = [
        [11, "variable", "HOOD", "Hoodie", 1, "Clothing, Clothing > Hoodies", "https://w.example/a.jpg", "", ""],
        [12, "variation", "HOOD-B", "Hoodie - Blue", 1, "", "https://w.example/b.jpg", "45", "id:11"],
        [13, "variation", "HOOD-R", "Hoodie - Red", 1, "", "", "42,50", "HOOD"],
        [14, "simple", "BELT", "Belt\\, leather", 1, "Care > Perfume\\, Cologne", "", "55,00", ""],
        [15, "simple", "GONE", "Draft", -1, "", "", "1", ""],
    ]
    _write(tmp_path / "wc-product-export.csv", head, rows)
    orders: list[Row] = [(number, item) for number in range(6) for item in ("HOOD-B", "BELT")]
    _write(tmp_path / "orders.csv", ["order_id", "sku"], [*orders, *_others(9)])
    shop = Prepared(tmp_path, "woocommerce")
    assert list(shop.items) == ["BELT", "HOOD", "HOOD-B", "HOOD-R"]
    red = shop.items["HOOD-R"]
    assert (red["category"], red["price"]) == (["Clothing", "Hoodies"], 42.5)
    assert red["image_url"] == "https://w.example/a.jpg"
    assert {shop.items[item]["group"] for item in ("HOOD", "HOOD-B", "HOOD-R")} == {"HOOD"}, "by SKU and by number"
    assert shop.items["HOOD"]["price"] == 45, "as the shop shows it: that of its first variation"
    assert shop.items["BELT"]["title"] == "Belt, leather"
    assert shop.items["BELT"]["category"] == ["Care", "Perfume, Cologne"]
    assert shop.pairs("buy") >= {_pair("HOOD-B", "BELT")}
    assert shop.counts["all_purchases"] is True


def _ga4_event(user: int, name: str, *items: str) -> dict[str, Any]:
    params = [
        {"key": "page_location", "value": {"string_value": "https://s.example", "int_value": None}},
        {"key": "ga_session_id", "value": {"string_value": None, "int_value": 1_700_000_000 + user}},
    ]
    return {
        "event_date": "20261001",
        "event_timestamp": 1_790_000_000_000_000 + user,
        "event_name": name,
        "event_params": params,
        "user_pseudo_id": f"u{user}.1",
        "items": [{"item_id": item, "item_name": item.lower(), "price": 1.5} for item in items],
    }


@pytest.mark.parametrize("kind", ["json", "json.gz", "parquet"])
def test_ga4_events_with_nested_items(tmp_path: Path, kind: str) -> None:
    events = [_ga4_event(user, "view_item", item) for user in range(6) for item in ("A", "B")]
    events += [_ga4_event(user, "purchase", "A", "C") for user in range(6)]
    events += [_ga4_event(user, "session_start") for user in range(80)]
    events += [_ga4_event(20 + user, name, f"X{user % 4}") for user in range(9) for name in ("view_item", "purchase")]
    path = tmp_path / f"events_1.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(events), path)
    else:
        content = "".join(json.dumps(event) + "\n" for event in events).encode()
        path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    _write(tmp_path / "products.csv", ["item_id", "title"], [(item, item.lower()) for item in "ABC"])
    shop = Prepared(tmp_path, "ga4", f"source.events=events_*.{kind}", "source.since=2026-01-01")
    assert shop.pairs("view") == {_pair("A", "B")}
    assert shop.pairs("buy") == {_pair("A", "C")}
    assert shop.counts["events_of_other_type"] == 80
    assert not any("types" in warning for warning in shop.counts["warnings"])


def test_plain_order_lines_without_a_type_are_purchases(tmp_path: Path) -> None:
    lines: list[Row] = [(number, item, 1) for number in range(6) for item in ("A", "B")]
    lines += [("r1", "A", -1), ("r1", "C", -1)] + [(name, item, 1) for name, item in _others(9)]
    _write(tmp_path / "order_lines.csv", ["order_id", "sku", "quantity"], lines)
    _write(tmp_path / "items.csv", ["item_id", "title"], [(item, item.lower()) for item in "ABC"])
    shop = Prepared(tmp_path, "orders")
    assert shop.pairs("buy") == {_pair("A", "B")}
    assert shop.counts["events_cancelled"] == 2
    assert any("no co_view pairs" in warning for warning in shop.counts["warnings"])


def test_retailrocket(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1_433_221_332_117 + 1_000 * number, number, event, item, "")
        for number in range(6)
        for event, item in (("view", 355908), ("view", 248676), ("transaction", 355908), ("addtocart", 1))
    ]
    rows += [(1_433_221_332_117, f"9{number}", "view", number, "") for number in range(9)]
    _write(tmp_path / "events.csv", ["timestamp", "visitorid", "event", "itemid", "transactionid"], rows)
    shop = Prepared(tmp_path, "retailrocket")
    assert shop.pairs("view") == {_pair("248676", "355908")}
    assert shop.counts["events_of_other_type"] == 6


def test_a_known_format_gives_way_to_the_recipe(shopify_products: Path) -> None:
    _write(
        shopify_products / "orders_export.csv",
        ["Name", "Lineitem sku"],
        [*((number, item) for number in range(5) for item in ("mug", "pot")), *_others(9)],
    )
    shop = Prepared(shopify_products, "shopify", 'source.columns.title="Tags"', "source.min_support=1")
    assert {row["title"] for row in shop.items.values()} == {""}


def test_duckdb_reads_json_without_a_download() -> None:
    """The extensions that logs need are built in, as nothing may be fetched."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        assert connection.execute("SELECT json_extract_string('{\"a\": 1}', '$.a')").fetchone() == ("1",)
