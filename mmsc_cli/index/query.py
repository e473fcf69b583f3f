"""What is asked about: an item of the catalogue, or a new one, as filters see it."""

from __future__ import annotations

from dataclasses import dataclass

from mmsc_cli.index.index_file import Index


@dataclass(frozen=True)
class Query:
    """An item in question.

    Attributes:
        name: what answers call it.
        row: its row in the catalogue, None for a new item.
        category: the number of its category path, -1 where it has none or none that the catalogue knows.
        price: NaN where unknown.
        modalities: what a new item was read from, joined by `+`; None for an item of the catalogue.
    """

    name: str
    row: int | None = None
    category: int = -1
    price: float = float("nan")
    modalities: str | None = None

    @classmethod
    def of_item(cls, index: Index, item_id: str) -> Query:
        """A known item.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        row = index.row(item_id)
        category, price = index.optional("category"), index.optional("price")
        return cls(
            item_id,
            row,
            -1 if category is None else int(category[row]),
            float("nan") if price is None else float(price[row]),
        )
