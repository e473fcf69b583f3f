"""Which answers are wanted of which index, in a form that other processes can be given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.infer.answers import Asked
from mmsc_cli.infer.recommender import AnyFilters, Outcome, Recommender
from mmsc_cli.workspace.digests import artefact_digests
from mmsc_cli.workspace.manifest_file import read_manifest_file

if TYPE_CHECKING:
    from mmsc_cli.infer.new_item import NewItem


@dataclass(frozen=True)
class Wanted:
    """Which answers are wanted, and of which workspace.

    Attributes:
        root: the workspace.
        relation: which relations.
        k: the maximum number of answers per item and relation.
        filters: as `Recommender.answer` takes them.
        explain: fill each answer's `why`.
        overlap: allow an item to be both a substitute and a complement of the same query.
        fallback: fill lists that are too short with bestsellers.
        exact: as `Recommender.open` takes it, and so the others.
        judged: answer from the index that `evaluate` judges.
        follow_labels: how far to follow the student of labels.
        rules: a file of rules of the shop.
    """

    root: Path
    relation: Asked
    k: int
    filters: AnyFilters
    explain: bool = False
    overlap: bool = False
    fallback: bool = False
    exact: bool = False
    judged: bool = False
    follow_labels: float | None = None
    rules: Path | None = None

    def open(self) -> Recommender:
        """Open the index. Errors are those of `Recommender.open`."""
        recommender = Recommender.open(
            self.root, exact=self.exact, judged=self.judged, follow_labels=self.follow_labels, rules=self.rules
        )
        return recommender.with_fallback() if self.fallback else recommender

    def absolute(self) -> Wanted:
        """The same, for processes with another current folder."""
        return dataclasses.replace(self, root=self.root.absolute(), rules=self.rules and self.rules.absolute())

    def answer(self, recommender: Recommender, ids: Sequence[str]) -> Iterator[Outcome]:
        """Yield the answers for some items of an index that `open` opened."""
        return recommender.answer(ids, self.relation, self.k, self.filters, self.explain, self.overlap)

    def answer_new(self, recommender: Recommender, items: Sequence[NewItem], names: Sequence[str]) -> Iterator[Outcome]:
        """Yield the answers for items that are not in the catalogue; `names` says what to call those without an id."""
        return recommender.answer_new(
            items, self.relation, self.k, self.filters, self.explain, self.overlap, names=names
        )

    def fingerprint(self) -> str:
        """What decides the answers to an item, as 16 hex digits: all of this, the index, and the rules."""
        stages: dict[str, Any] = (read_manifest_file(self.root) or {}).get("stages", {})
        made = {name: artefact_digests(stages.get(name, {})) for name in ("prepare", "train")}
        rules = stages.get("prepare", {}).get("config") if self.rules is None else self.rules.read_text("utf-8")
        wanted = dataclasses.asdict(dataclasses.replace(self, root=Path(), rules=None))
        text = json.dumps([wanted, made, rules], sort_keys=True, default=_plain)
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def check(self, fingerprint: str) -> None:
        """Refuse to mix the answers of two indexes.

        Raises:
            WorkspaceError: the fingerprint was another one before.
        """
        if self.fingerprint() != fingerprint:
            raise WorkspaceError(f"the index in {self.root} was replaced meanwhile", hint="ask again")


def _plain(value: object) -> object:
    """A value that JSON does not know."""
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value)
