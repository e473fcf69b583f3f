"""An item that is not in the catalogue, as the user describes it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mmsc_cli.errors import InputError
from mmsc_cli.files.item_fields import (
    MAX_DESCRIPTION,
    MAX_TITLE,
    is_missing,
    plain_text,
    read_category,
    read_id,
    read_image_url,
    read_text,
)
from mmsc_cli.files.prices import read_price

# Columns of the item table that say nothing here, so that a row of it may be asked about as it is.
_IGNORED = ("group", "split")


class NewItem(BaseModel):
    """Every field is optional, but at least one is required; `id` only names the item in the answers.

    `image_path` is a file on this machine, `image_url` a URL on the public internet; the file has priority.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str | None = None
    title: str = ""
    description: str = ""
    brand: str = ""
    category: list[str] = Field(default_factory=list)
    price: float | None = Field(default=None, gt=0)
    image_path: str | None = None
    image_url: str | None = None

    def says_something(self) -> bool:
        """Whether it has anything to read other than an image."""
        texts = (self.title, self.description, self.brand, *self.category)
        return self.price is not None or any(text.strip() for text in texts)


def parse_new_item(given: str | Mapping[str, Any], place: str) -> NewItem:
    """A new item from a JSON object, whose fields are read as `prepare` reads those of a table.

    Args:
        given: JSON, or the parsed object.
        place: file and line, for messages.

    Raises:
        InputError: it is no JSON object, has unknown or unreadable fields, or has nothing to read.
    """
    cells = _cells(given, place)
    counts: Counter[str] = Counter()
    price = read_price(cells.get("price"), counts)
    item = NewItem(
        id=read_id(cells.get("id")) or None,
        title=read_text(cells.get("title"), MAX_TITLE, name="title", counts=counts),
        description=read_text(
            cells.get("description"), MAX_DESCRIPTION, name="description", counts=counts, joint="\n\n"
        ),
        brand=read_text(cells.get("brand"), MAX_TITLE, name="brand", counts=counts),
        category=read_category(cells.get("category"), counts),
        price=None if math.isnan(price) else price,
        image_path=plain_text(cells.get("image_path")),
        image_url=read_image_url(cells.get("image_url")),
    )
    if counts["prices_unreadable"] and cells["price"] != 0:  # exports write 0 where they know none
        raise InputError(
            f"{place}: price: {cells['price']!r} is not a price", hint='write a number above 0, or "19.90 EUR"'
        )
    unreadable = [name for name in ("title", "description", "brand") if counts[f"{name}_unreadable"]]
    unreadable += ["category"] * (not item.category and isinstance(cells.get("category"), Mapping))
    if unreadable:
        raise InputError(f"{place}: {', '.join(unreadable)}: not a text", hint=_hint())
    if not (item.says_something() or item.image_path or item.image_url):
        raise InputError(f"{place}: the item says nothing", hint="give at least a title")
    return item


def _cells(given: str | Mapping[str, Any], place: str) -> dict[str, Any]:
    """The object's fields by our names, which may be in other case."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: not JSON: {error}", hint=_hint()) from error
    if not isinstance(given, Mapping):
        raise InputError(f"{place}: not a JSON object", hint=_hint())
    cells: dict[str, Any] = {}
    for name, value in given.items():
        known = {"item_id": "id"}.get(str(name).strip().lower(), str(name).strip().lower())
        if known in NewItem.model_fields:
            cells[known] = value
        elif known not in _IGNORED and not is_missing(value):
            close = get_close_matches(known, NewItem.model_fields, n=1)
            raise InputError(
                f"{place}: {name}: there is no such field", hint=f"did you mean {close[0]}?" if close else _hint()
            )
    return cells


def _hint() -> str:
    return f"one JSON object a line, with any of {', '.join(NewItem.model_fields)}"
