"""A query: an item of the catalogue, or a new one, with what filters need."""

from __future__ import annotations

from dataclasses import dataclass

from mmsc_cli.index.index_file import Index


@dataclass(frozen=True)
class Query:
    """An item whose answers are asked for.

    Attributes:
        name: how answers name it.
        row: its row in the catalogue, None for a new item.
        category: the number of its category path; -1 without one, or with one that the catalogue lacks.
        price: NaN if unknown.
        group: the number of its group of variants, -1 without one.
        modalities: the inputs that a new item was read from, joined by `+`; None for an item of the catalogue.
    """

    name: str
    row: int | None = None
    category: int = -1
    price: float = float("nan")
    group: int = -1
    modalities: str | None = None

    @classmethod
    def of_item(cls, index: Index, item_id: str) -> Query:
        """An item of the catalogue as a query.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        row = index.row(item_id)
        category, price, group = (index.optional(name) for name in ("category", "price", "group"))
        return cls(
            index.ids[row],
            row,
            -1 if category is None else int(category[row]),
            float("nan") if price is None else float(price[row]),
            -1 if group is None else int(group[row]),
        )
