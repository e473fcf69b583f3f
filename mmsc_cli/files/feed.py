"""Read a product feed in XML (Google Merchant: RSS 2.0 or Atom), one product at a time, without expanding entities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from mmsc_cli.files.separated import LONGEST_RECORD

_PRODUCTS = ("item", "entry", "product", "offer")


def read_feed(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each product with its size: its fields by their names without the namespace; a repeated field is a list.

    Raises:
        ValueError: it is no XML, or one with a document type that defines entities, or a product is longer than
            LONGEST_RECORD.
    """
    content = _Metered(file)
    around: list[Any] = []  # the elements that are open
    depth = 0
    try:
        for event, element in iterparse(content, events=("start", "end"), forbid_dtd=False):
            name = _local(element.tag)
            if event == "start":
                around.append(element)
                depth += name in _PRODUCTS
                continue
            around.pop()
            depth -= name in _PRODUCTS
            if depth:
                continue
            if name in _PRODUCTS:
                yield content.since_last, _fields(element)
            content.since_last = 0
            if around:
                del around[-1][:]  # with all that has been read of it
    except (ParseError, DefusedXmlException, LookupError) as error:  # of an encoding that there is not
        raise ValueError(f"{type(error).__name__}: {error}") from error


class _Metered:
    """A file that ends with an error where a product does not end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.since_last = 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self.since_last += len(content)
        if self.since_last > LONGEST_RECORD:
            raise ValueError(f"a product is longer than {LONGEST_RECORD >> 20} MiB")
        return content


def _fields(product: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {_local(name): value for name, value in product.attrib.items()}
    for child in product:
        name = _local(child.tag)
        text = (child.text or "").strip() or child.get("href", "") or "".join(child.itertext()).strip()
        if name in fields and fields[name] != text:
            if not isinstance(fields[name], list):
                fields[name] = [fields[name]]
            fields[name].append(text)
        else:
            fields[name] = text
    return fields


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
