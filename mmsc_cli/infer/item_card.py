"""All that a workspace knows of an item: its columns, its pairs, its answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsc_cli.errors import UnknownItemError, WorkspaceError
from mmsc_cli.files.unpacking import open_parquet
from mmsc_cli.index.kept_columns import NAME as KEPT
from mmsc_cli.index.kept_columns import KeptColumns
from mmsc_cli.index.storage import Strings
from mmsc_cli.infer.attributes import ItemAttributes
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.tables.items import ITEM_SCHEMA, known_values, read_item
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS
from mmsc_cli.tables.table import check_texts
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.strange_folder import refuse_strange_folder


class ItemCards:
    """Shows items of a prepared workspace; their answers too, once it is trained."""

    def __init__(self, root: Path) -> None:
        """Open the item table.

        Raises:
            WorkspaceError: nothing is prepared, or a table is damaged.
        """
        self._root = root
        self._path = root / "items.parquet"
        check_at_a_glance(root, "prepare", ["items.parquet", "pairs.parquet"])
        if not self._path.exists():
            refuse_strange_folder(root)
            raise WorkspaceError(f"there are no items in {root}", hint="run `mmsc run SOURCE`")
        try:
            self._names = open_parquet(self._path).read(["item_id", "title"])
        except (OSError, ValueError, pa.ArrowException) as error:
            raise WorkspaceError(
                f"{self._path} cannot be read as an item table: {error}", hint="run `mmsc prepare SOURCE` again"
            ) from error

        check_texts(self._names, "items.parquet", ITEM_SCHEMA)

    def find(self, words: Sequence[str], count: int) -> list[dict[str, Any]]:
        """Id and title of the items whose titles contain all words, in any case; the shortest titles first."""
        titles = self._names["title"]
        matches = pc.fill_null(pc.match_substring(titles, "", ignore_case=True), False)
        for word in words:
            matches = pc.and_(matches, pc.match_substring(titles, word, ignore_case=True))
        matching: list[dict[str, Any]] = self._names.filter(matches).to_pylist()
        return sorted(matching, key=lambda item: (len(item["title"]), item["item_id"]))[:count]

    def item(self, item_id: str) -> dict[str, Any]:
        """All columns of an item, kept ones too; an unknown price is None.

        Raises:
            UnknownItemError: it is not in the catalogue; the hint names the nearest ids.
        """
        row = self._row(item_id)
        with pq.ParquetFile(self._path) as file:
            record = read_item(file, row)
        return {**{name: self._kept.column(name).of(row) for name in self._kept.names}, **known_values(record)}

    def pairs(self, item_id: str, count: int) -> list[dict[str, Any]]:
        """The pairs of an item, the strongest first: relation, partner, title, strength, sessions with both, split."""
        row = self._row(item_id)
        pairs = Pairs.read(self._root / "pairs.parquet", len(self._names))
        pairs = pairs.select((pairs.a == row) | (pairs.b == row))
        partners = np.where(pairs.a == row, pairs.b, pairs.a)
        records = []
        for relation in RELATIONS:
            strength, together = pairs.strength(relation), pairs.together(relation)
            strongest = np.argsort(-strength, kind="stable")[: min(count, int((strength > 0).sum()))]
            named = self._names.take(partners[strongest]).to_pylist()
            records += [
                {
                    "relation": relation,
                    "item": partner["item_id"],
                    "strength": float(strength[partner_row]),
                    "together": int(together[partner_row]) or None,
                    "split": str(pairs.split[partner_row]),
                    "title": partner["title"],
                }
                for partner_row, partner in zip(strongest.tolist(), named, strict=True)
            ]
        return records

    def answers(self, item_id: str, count: int) -> list[dict[str, Any]]:
        """The answers of an item in both relations, with their reasons; none before training."""
        if not (self._root / "index" / "index.json").exists():
            return []
        recommender = Recommender.open(self._root, exact=True)
        (outcome,) = recommender.answer([item_id], "both", count, explain=True)
        if isinstance(outcome, Exception):
            raise outcome
        shown = ("relation", "rank", "item", "score", "title")
        return [
            {name: getattr(answer, name) for name in shown} | {"why": answer.why.summary if answer.why else ""}
            for answer in outcome
        ]

    @cached_property
    def _ids(self) -> Strings:
        return Strings.of(self._names["item_id"].to_pylist())

    @cached_property
    def _kept(self) -> KeptColumns:
        return KeptColumns(self._root / KEPT, self._ids)

    def _row(self, item_id: str) -> int:
        ids = self._ids
        try:
            return ids.find(item_id)
        except UnknownItemError:
            first = ItemAttributes(self._root, ["group"], self._kept, len(ids)).first_rows("group")
            if item_id not in first:
                raise
            return first[item_id]
