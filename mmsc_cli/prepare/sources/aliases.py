"""What exports call our columns: known formats, and other names for each column. Data only.

A format is told by the columns it must have. Its names apply where the recipe maps nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmsc_cli.files.table_file import find_name


@dataclass(frozen=True)
class Format:
    """An export of a shop system.

    Attributes:
        marks: the columns that tell it from others.
        columns: our column to the export's, the preferred one first.
        types: for logs: our event type to the export's words.
    """

    name: str
    marks: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ITEM_FORMATS = (
    Format(
        "shopify",
        ("Handle", "Variant SKU"),
        {
            "item_id": ("Variant SKU",),
            "title": ("Title",),
            "description": ("Body (HTML)",),
            "brand": ("Vendor",),
            "category": ("Product Category", "Type"),
            "price": ("Variant Price",),
            "image_url": ("Variant Image", "Image Src"),
            "group": ("Handle",),
        },
    ),
    Format(
        "woocommerce",
        ("SKU", "Name", "Regular price"),
        {
            "item_id": ("SKU",),
            "title": ("Name",),
            "description": ("Description", "Short description"),
            "brand": ("Brands", "Brand"),
            "category": ("Categories",),
            "price": ("Regular price",),
            "image_url": ("Images",),
            "group": ("Parent",),
        },
    ),
    Format(
        "google-merchant",
        ("id", "title", "image_link"),
        {
            "item_id": ("id",),
            "title": ("title",),
            "description": ("description",),
            "brand": ("brand",),
            "category": ("product_type", "google_product_category"),
            "price": ("price",),
            "image_url": ("image_link",),
            "group": ("item_group_id",),
        },
    ),
)

LOG_FORMATS = (
    Format(
        "ga4",
        ("event_name", "event_timestamp", "items"),
        {
            "session": ("user_pseudo_id + event_params.ga_session_id",),
            "item": ("items[].item_id",),
            "type": ("event_name",),
            "time": ("event_timestamp",),
        },
        {"view": ("view_item",), "purchase": ("purchase",)},
    ),
    Format(
        "shopify-orders",
        ("Name", "Lineitem sku"),
        {
            "session": ("Name",),
            "item": ("Lineitem sku",),
            "time": ("Created at",),
            "quantity": ("Lineitem quantity",),
            "cancelled": ("Cancelled at",),
        },
    ),
    Format(
        "retailrocket",
        ("visitorid", "event", "itemid"),
        {"session": ("visitorid",), "item": ("itemid",), "type": ("event",), "time": ("timestamp",)},
        {"view": ("view",), "purchase": ("transaction",)},
    ),
)

# Columns that say who shops rather than in which visit.
SHOPPER_COLUMNS = (
    *("visitor", "user", "customer", "client", "cookie", "member", "shopper"),
    *("kunde", "besucher", "nutzer"),
)

# Columns that say which purchase a line belongs to.
ORDER_COLUMNS = (
    *("order", "basket", "invoice", "receipt", "transaction", "purchase", "checkout", "ticket", "sale"),
    *("bestell", "auftrag", "rechnung", "bon", "beleg", "warenkorb"),
    *("commande", "facture", "panier", "pedido", "compra"),
)

# What an item is called, and what an id is called: `article_no`, `ArtikelNr`, `SKU code` are all of this form.
_ITEM_WORDS = (
    *("item", "product", "prod", "article", "art", "sku", "variant", "material", "artikel", "produkt"),
    *("produit", "producto", "articulo", "prodotto", "articolo"),
)
_ID_WORDS = ("id", "no", "nr", "num", "number", "nummer", "code", "ref", "key", "sku")


def _ids_of(nouns: Sequence[str]) -> tuple[str, ...]:
    """The names that columns of ids of something have: `article_no`, `articleno`."""
    return tuple(f"{noun}{joint}{word}" for word in _ID_WORDS for noun in nouns for joint in ("_", ""))


ALIASES: dict[str, tuple[str, ...]] = {
    "item_id": (
        *("item_id", "id", "sku", "product_id", "productid", "item", "itemid", "article", "article_id"),
        *_ids_of(_ITEM_WORDS),
        *("id_produit", "id_producto", "id_prodotto", "reference", "référence", "stockcode", "stock_code"),
        *("asin", "parent_asin", "ean", "gtin", "upc", "plu", "barcode", "handle"),
    ),
    "title": (
        *("title", "name", "product_name", "product_title", "item_name", "productname", "display_name", "bezeichnung"),
        *("label", "product", "headline"),
    ),
    "description": (
        *("description", "body", "body_html", "body (html)", "long_description", "product_description", "beschreibung"),
        *("short_description", "details", "text", "about"),
    ),
    "brand": ("brand", "vendor", "manufacturer", "brand_name", "marke", "hersteller", "maker", "label_name", "store"),
    "category": (
        *("category", "categories", "product_type", "category_path", "product_category", "category_name", "kategorie"),
        *("type", "google_product_category", "category_code", "department", "taxonomy", "breadcrumb", "breadcrumbs"),
        *("product_group", "main_category", "category_id"),
    ),
    "price": (
        *("price", "regular_price", "sale_price", "unit_price", "unitprice", "list_price", "retail_price", "preis"),
        *("variant_price", "amount", "current_price", "price_eur", "price_usd", "msrp"),
    ),
    "image_url": (
        *("image_url", "image_link", "image", "image_src", "images", "img_url", "imgurl", "picture", "picture_url"),
        *("thumbnail", "photo", "imageurl", "imurl", "image_urls"),
    ),
    "image_path": ("image_path", "image_file", "img_path", "photo_path", "filename"),
    "group": (
        "group",
        "item_group_id",
        "handle",
        "parent_id",
        "parent_sku",
        "product_group_id",
        "style",
        "parent",
        "model_id",
        "model_group",
        "variant_group",
        "modellgruppe",
        "variantengruppe",
        "vaterartikel",
    ),
    "a": (
        "a",
        "item_a",
        "item1",
        "item_1",
        "source",
        "item_id_a",
        "product_a",
        "left",
        "from",
        "item_id",
        "sku_a",
        "id1",
    ),
    "b": (
        "b",
        "item_b",
        "item2",
        "item_2",
        "target",
        "item_id_b",
        "product_b",
        "right",
        "to",
        "related",
        "sku_b",
        "id2",
    ),
    "co_view": ("co_view", "coview", "views", "view", "viewed", "viewed_together", "co_views", "also_viewed"),
    "co_purchase": (
        *("co_purchase", "copurchase", "purchases", "purchase", "bought", "bought_together", "co_purchases"),
        *("also_bought", "orders", "co_buy"),
    ),
    "session": (
        *("session", "session_id", "sessionid", "user_session", "visit_id", "visit", "order_id", "orderid"),
        *("invoiceno", "invoice", "invoice_no", "basket_id", "basket", "transaction_id", "order", "order_name"),
        *("sitzung", "sitzungs_id", "besuch", "id_commande", "commande", "pedido", "id_pedido", "ordine"),
        *_ids_of(("session", "visit", "order", "invoice", "basket", "transaction", "receipt", "ticket", "cart")),
        *_ids_of(("bestell", "auftrags", "rechnungs", "beleg", "bon", "facture")),
        *("visitor_id", "visitorid", "user_id", "userid", "customer_id", "customerid", "client_id"),
        *("user_pseudo_id", "cookie_id", "user", "customer", "besucher_id", "besucher", "kunde", "nutzer"),
        *("id_client", "cliente", "id_cliente"),
        *_ids_of(("visitor", "user", "customer", "client", "cookie", "member", "shopper", "kunden", "nutzer")),
    ),
    "item": (
        *("item", "item_id", "itemid", "product_id", "productid", "sku", "article_id", "stockcode", "stock_code"),
        *("asin", "lineitem_sku", "content_id"),
        *_ids_of(_ITEM_WORDS),
        *("id_produit", "reference", "référence", "id_producto", "producto", "id_prodotto"),
        *("product", "article", "artikel", "ean", "gtin", "upc", "plu", "barcode", "id"),
    ),
    "type": (
        "type",
        "event_type",
        "event",
        "event_name",
        "action",
        "behavior",
        "behaviour",
        "action_type",
        "activity",
        "kind",
        "eventtype",
        *("ereignis", "ereignistyp", "aktion", "evenement", "événement", "evento", "accion", "azione"),
    ),
    "time": (
        *("time", "timestamp", "event_time", "datetime", "date", "ts", "created_at", "event_timestamp", "invoicedate"),
        *(
            "order_date",
            "bestelldatum",
            "datum",
            "invoice_date",
            "event_date",
            "occurred_at",
            "created",
            "time_stamp",
            "eventtime",
            "date_time",
            *("zeitpunkt", "zeitstempel", "zeit", "horodatage", "fecha", "fecha_hora", "data_ora"),
        ),
    ),
    "quantity": (
        *("quantity", "qty", "lineitem_quantity", "lineitem quantity", "units", "pcs", "pieces", "count"),
        *("menge", "anzahl", "amount"),
    ),
}

EVENT_WORDS: dict[str, tuple[str, ...]] = {
    "view": (
        *("view", "views", "view_item", "viewed", "click", "clicks", "pv", "pageview", "page_view", "product_view"),
        *("productview", "detail", "detail_view", "product viewed", "product_viewed", "item_view", "viewitem", "open"),
        *("ansicht", "produktansicht", "artikelansicht", "aufruf", "angesehen", "klick", "vue", "vista", "visto"),
    ),
    "purchase": (
        *(
            "purchase",
            "purchases",
            "purchased",
            "buy",
            "bought",
            "order",
            "ordered",
            "transaction",
            "conversion",
            "sale",
        ),
        *(
            "checkout_completed",
            "order completed",
            "order_completed",
            "product_purchased",
            "ecommerce_purchase",
            "paid",
            *("kauf", "gekauft", "bestellung", "bestellt", "achat", "commande", "compra", "pedido", "acquisto"),
        ),
    ),
}


def known_format(formats: Sequence[Format], names: Sequence[str]) -> Format | None:
    """The first format all of whose marks are among the names of columns."""
    return next(
        (export_format for export_format in formats if all(find_name(mark, names) for mark in export_format.marks)),
        None,
    )


def looks_like(names: Sequence[str]) -> tuple[str, str]:
    """What a table with such columns seems to hold (`items`, `events`, `pairs`, or ``), and what it is called."""
    for kind, formats in (("events", LOG_FORMATS), ("items", ITEM_FORMATS)):
        if (export := known_format(formats, names)) is not None:
            return kind, f"{export.name} export"
    has = {column for column in ALIASES if alike(column, names)}
    if "session" in has and has & {"item"} and has & {"type", "time", "quantity"}:
        return "events", "log of events or orders"
    if {"a", "b"} <= has and has & {"co_view", "co_purchase"}:
        return "pairs", "table of pairs"
    if "item_id" in has and has & {"title", "description", "price", "image_url"}:
        return "items", "table of items"
    return "", ""


def alike(column: str, names: Sequence[str]) -> str | None:
    """The name among those of a table that is known to stand for one of our columns, the likeliest first."""
    return next((name for alias in ALIASES.get(column, ()) if (name := find_name(alias, names))), None)
