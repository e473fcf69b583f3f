"""The books of `prepare`: what came in is what was kept and every named kind of loss, or the stage fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What came in, and what became of it. Each kind of loss is explained to the user in LOSSES.
BALANCES: dict[str, tuple[str, ...]] = {
    "records": (
        "items",
        "repeated",
        "without_id",
        "records_unreadable",
        "records_unpublished",
        "records_of_pictures",
    ),
    "relations": (
        "relations_kept",
        "relations_repeated",
        "relations_outside_kept",
        "relations_outside",
        "relations_to_itself",
        "relations_within_group",
        "relations_without_strength",
        "relations_of_repeated_records",
        "relations_unreadable",
    ),
    "events": (
        "events_kept",
        "events_repeated",
        "events_over_cap",
        "events_without_id",
        "events_of_other_type",
        "events_without_time",
        "events_outside_period",
        "events_cancelled",
    ),
    "event_pairs": ("event_pairs_kept", "event_pairs_below_support", "event_pairs_by_chance"),
    "images_named": ("images", "images_not_found", "images_failed"),
}

LOSSES = {
    "repeated": "repeated records (the richest of each id is kept)",
    "without_id": "records without an id",
    "records_unreadable": "records that are no products",
    "records_unpublished": "drafts, archived and private products",
    "records_of_pictures": "rows that only add a picture",
    "relations_repeated": "relations said twice",
    "relations_outside": "relations to or from items outside the set that no second item has",
    "relations_to_itself": "relations of an item to itself",
    "relations_within_group": "relations between variants of one product",
    "relations_without_strength": "relations without a strength",
    "relations_of_repeated_records": "relations of records that were repeated",
    "relations_unreadable": "relations that are no text",
    "events_repeated": "events of an item that the session had already",
    "events_over_cap": "events beyond source.session_items",
    "events_without_id": "events without session or item",
    "events_of_other_type": "events of other types",
    "events_without_time": "events without a readable time",
    "events_outside_period": "events before source.since or after source.until",
    "events_cancelled": "events of cancelled orders or negative quantities",
    "event_pairs_below_support": "pairs in fewer sessions than source.min_support",
    "event_pairs_by_chance": "pairs no more frequent than chance",
    "images_not_found": "images that are not there (see images/failures.jsonl)",
    "images_failed": "images that cannot be had (see images/failures.jsonl)",
}

MENDS = {
    "texts_with_markup": "texts freed of tags or entities",
    "titles_of_page_code": "titles that were a page's code, now empty",
    "descriptions_of_page_code": "descriptions that were a page's code, now empty",
    "brands_of_page_code": "brands that were a page's code, now empty",
    "categories_of_page_code": "category names that were a page's code, left out",
    "texts_cut": "texts cut at their greatest length",
    "categories_cut": "category paths cut where feature text begins",
    "price_ranges": "price ranges, of which the lower end is kept",
    "prices_unreadable": "prices that are none",
    "brands_unreadable": "brands that are objects without an obvious text",
    "titles_unreadable": "titles that are objects without an obvious text",
    "descriptions_unreadable": "descriptions that are objects without an obvious text",
    "ids_mended": 'ids written in another form (101.0, ="00123", Unicode forms)',
    "ids_matched": "ids of the log or of pairs that are an item's by source.match_ids",
    "ids_with_controls": "ids with tabs, line ends or marks of direction in them, each now a blank",
    "null_words": "cells that say NULL, NA, nan, None or \\N, read as empty",
    "times_unreadable": "times that are none",
    "empty_fields": "empty fields",
    "without_title": "items without a title",
}


def balance(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts with every kind of loss named, 0 where there was none.

    Raises:
        ArithmeticError: something came in and is neither kept nor counted as lost, which is a bug of ours.
    """
    whole = dict(counts)
    for total, parts in BALANCES.items():
        if total not in whole:
            continue
        for part in parts:
            whole.setdefault(part, 0)
        if whole[total] != sum(whole[part] for part in parts):
            sums = " + ".join(f"{whole[part]} {part}" for part in parts)
            raise ArithmeticError(f"counts do not add up: {whole[total]} {total}, but {sums}")
    return whole
