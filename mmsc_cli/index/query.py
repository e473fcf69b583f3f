"""A query: an item of the catalogue, a new one, or a basket of several, with what filters need."""

from __future__ import annotations

from dataclasses import dataclass

from mmsc_cli.index.index_file import Index


@dataclass(frozen=True)
class Query:
    """An item, or a basket of items, whose answers are asked for.

    Attributes:
        name: how answers name it.
        row: its row in the catalogue, None for a new item and a basket.
        category: the number of its category path; -1 without one, or with one that the catalogue lacks.
        price: NaN if unknown.
        group: the number of its group of variants, -1 without one.
        modalities: the inputs that a new item was read from, joined by `+`; None for an item of the catalogue.
        items: the items of a basket, all of the catalogue; empty for a single item.
    """

    name: str
    row: int | None = None
    category: int = -1
    price: float = float("nan")
    group: int = -1
    modalities: str | None = None
    items: tuple[Query, ...] = ()

    @property
    def rows(self) -> list[int]:
        """The rows of the catalogue that are asked about."""
        return [item.row for item in self.items or (self,) if item.row is not None]

    @property
    def categories(self) -> list[int]:
        """The numbers of the known categories that are asked about, each once."""
        return list(dict.fromkeys(item.category for item in self.items or (self,) if item.category >= 0))

    @property
    def groups(self) -> list[int]:
        """The numbers of the groups of variants that are asked about."""
        return [item.group for item in self.items or (self,) if item.group >= 0]

    @classmethod
    def of_item(cls, index: Index, item_id: str) -> Query:
        """An item of the catalogue as a query.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return cls.of_row(index, index.row(item_id))

    @classmethod
    def of_row(cls, index: Index, row: int) -> Query:
        """An item of the catalogue, by its row, as a query."""
        category, price, group = (index.optional(name) for name in ("category", "price", "group"))
        return cls(
            index.ids[row],
            row,
            -1 if category is None else int(category[row]),
            float("nan") if price is None else float(price[row]),
            -1 if group is None else int(group[row]),
        )
