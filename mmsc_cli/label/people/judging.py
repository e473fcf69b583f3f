"""Judging by hand in a workspace: which pairs, how they are shown, and where the answers are kept."""

from __future__ import annotations

from datetime import datetime

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

    def pairs(self, count: int, seed: int) -> list[PairToJudge]:
        """Pairs that this person has not judged, at most `count`.

        Raises:
            WorkspaceError: nothing is trained yet.
        """
        judgements = read_judgements(self.path)
        own = votes_of(
            judgements.filter(np.array(judgements["who"].to_pylist(), dtype=np.str_) == self._who), self._ids
        )
        index = Index.open(self._workspace.path("index"))
        if len(index) != len(self._ids):
            raise WorkspaceError("index/ is of another catalogue than items.parquet", hint="run `mmsc train` again")
        labels = self._workspace.find_current("labels.parquet")
        return pairs_to_judge(
            index,
            None if labels is None else Labels.read(labels, len(self._ids)),
            set(pair_keys(own.a, own.b, len(self._ids)).tolist()),
            count,
            seed,
        )

    def shown(self, pair: PairToJudge) -> list[tuple[str, str]]:
        """What a person sees of both items, a name and a text a line; nothing of what mmsc thinks."""
        lines = []
        for letter, row in (("A", pair.a), ("B", pair.b)):
            item = self._items.slice(row, 1).to_pylist()[0]
            lines.append((letter, item["title"]))
            known = {
                "brand": item["brand"],
                "category": " > ".join(item["category"]),
                "price": "" if np.isnan(item["price"]) else f"{item['price']:g}",
                "description": item["description"][:DESCRIPTION],
            }
            lines += [(name, text) for name, text in known.items() if text]
        return lines

    def keep(self, pair: PairToJudge, label: str, when: datetime) -> None:
        """Write a judgement down."""
        ends = {"a": self._ids[pair.a], "b": self._ids[pair.b]}
        append_judgement(self.path, {**ends, "label": label, "who": self._who, "time": when, "source": pair.source})
