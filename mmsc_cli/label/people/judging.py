"""Judging by hand in a workspace: which pairs, how they are shown, and where the answers are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from mmsc_cli.arrays.pair_keys import pair_keys
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.index.index_file import Index
from mmsc_cli.label.people.judge_pairs import PairToJudge, pairs_to_judge
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.judgements import FILE, append_judgement, read_judgements, votes_of
from mmsc_cli.tables.labels import Labels
from mmsc_cli.workspace.stages import StageFiles
from mmsc_cli.workspace.strange_folder import refuse_strange_folder
from mmsc_cli.workspace.workspace import Workspace

DESCRIPTION = 200  # characters shown


class Judging:
    """What one person judges."""

    def __init__(self, workspace: Workspace, who: str) -> None:
        """Read the items; `who` is written beside every judgement.

        Raises:
            WorkspaceError: nothing is trained yet, or the folder is no workspace.
        """
        refuse_strange_folder(workspace.root)
        workspace.check_inputs(StageFiles(makes=(), needs=("items.parquet", "index")), "judge")
        self.path = workspace.root / FILE
        self._workspace, self._who = workspace, who
        self._items = read_items(workspace.path("items.parquet"))
        self._ids: list[str] = self._items["item_id"].to_pylist()
        judgements = read_judgements(self.path)
        own = judgements.filter(np.array(judgements["who"].to_pylist(), dtype=np.str_) == who)
        self._judged = votes_of(own, self._ids)

    @property
    def judged(self) -> int:
        """How many pairs of the catalogue this person had judged."""
        return len(self._judged)

    def pairs(self, count: int, seed: int) -> list[PairToJudge]:
        """Pairs that this person has not judged, at most `count`.

        Raises:
            WorkspaceError: nothing is trained yet.
        """
        index = Index.open(self._workspace.path("index"))
        if len(index) != len(self._ids):
            raise WorkspaceError("index/ is of another catalogue than items.parquet", hint="run `mmsc train` again")
        labels = self._workspace.find_current("labels.parquet")
        return pairs_to_judge(
            index,
            None if labels is None else Labels.read(labels, len(self._ids)),
            set(pair_keys(self._judged.a, self._judged.b, len(self._ids)).tolist()),
            count,
            seed,
        )

    def item(self, row: int) -> dict[str, Any]:
        """What a person sees of an item: its columns, nothing of what mmsc thinks; an unknown price is None."""
        item = self._items.slice(row, 1).to_pylist()[0]
        shown = {name: item[name] for name in ("item_id", "title", "brand", "category", "price")}
        if shown["price"] is not None and math.isnan(shown["price"]):
            shown["price"] = None
        return shown | {"description": item["description"][:DESCRIPTION], "image_path": item.get("image_path")}

    def keep(self, pair: PairToJudge, label: str, when: datetime) -> None:
        """Write a judgement down."""
        ends = {"a": self._ids[pair.a], "b": self._ids[pair.b]}
        append_judgement(self.path, {**ends, "label": label, "who": self._who, "time": when, "source": pair.source})


def in_lines(letter: str, item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An item as a terminal shows it, a name and a text a line."""
    known = {
        "brand": item["brand"],
        "category": " > ".join(item["category"]),
        "price": "" if item["price"] is None else f"{item['price']:g}",
        "description": item["description"],
    }
    return [(letter, item["title"]), *((name, text) for name, text in known.items() if text)]
