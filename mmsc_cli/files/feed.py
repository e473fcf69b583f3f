"""Read a product feed in XML (Google Merchant: RSS 2.0 or Atom), one product at a time, without expanding entities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

_PRODUCTS = ("item", "entry", "product", "offer")


def read_feed(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the fields of each product by their names without the namespace; a repeated field is a list.

    Raises:
        ValueError: it is no XML, or one with a document type that defines entities.
    """
    depth = 0
    try:
        for event, element in iterparse(file, events=("start", "end"), forbid_dtd=False):
            name = _local(element.tag)
            if event == "start":
                depth += name in _PRODUCTS
                continue
            if name in _PRODUCTS:
                depth -= 1
                if not depth:
                    yield _fields(element)
                    element.clear()
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _fields(product: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {_local(name): value for name, value in product.attrib.items()}
    for child in product:
        name = _local(child.tag)
        text = (child.text or "").strip() or child.get("href", "") or "".join(child.itertext()).strip()
        if name in fields and fields[name] != text:
            known = fields[name]
            fields[name] = [*known, text] if isinstance(known, list) else [known, text]
        else:
            fields[name] = text
    return fields


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
