"""From ids, as people give them, to queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from mmsc_cli.errors import MmscError, UnknownItemError
from mmsc_cli.files.item_fields import spellings
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query

_LOG = logging.getLogger(__name__)


class LookUp:
    """Finds the items that ids name; the name of a group of variants means its first variant."""

    def __init__(self, index: Index, read_groups: Callable[[], Mapping[str, int]]) -> None:
        """`read_groups` tells the first variant of each group, by name; it is asked when an id is unknown."""
        self._index = index
        self._read_groups = read_groups

    def queries(self, item_ids: Sequence[str]) -> tuple[dict[int, Query], dict[int, MmscError]]:
        """Queries of the known among some ids, and errors of the unknown, both by position."""
        queries: dict[int, Query] = {}
        errors: dict[int, MmscError] = {}
        for position, item_id in enumerate(item_ids):
            try:
                queries[position] = Query.of_item(self._index, item_id)
            except UnknownItemError as error:
                try:
                    queries[position] = Query.of_item(self._index, self._first_variant(item_id))
                except UnknownItemError:
                    errors[position] = error
                else:
                    _LOG.info("%s names variants of one product: answered for %s", item_id, queries[position].name)
        return queries, errors

    def title(self, item_id: str) -> str:
        """Title of an item; of the name of a group, that of its first variant.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        try:
            return self._index.title(item_id)
        except UnknownItemError:
            return self._index.title(self._first_variant(item_id))

    @cached_property
    def _groups(self) -> Mapping[str, int]:
        return self._read_groups()

    def _first_variant(self, group: str) -> str:
        """The id of the first variant of a group.

        Raises:
            UnknownItemError: no group has this name.
        """
        groups = self._groups
        row = next((groups[name] for name in spellings(group) if name in groups), None)
        if row is None:
            raise UnknownItemError(f"unknown item {group!r}")
        return str(self._index.ids[row])
