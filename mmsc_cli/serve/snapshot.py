"""One opened index and all that is answered from it. A request uses one snapshot from beginning to end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, overload

import numpy as np
import orjson

from mmsc_cli.errors import MmscError, WorkspaceError
from mmsc_cli.index.filters import Filters
from mmsc_cli.index.kept_columns import NAME as KEPT
from mmsc_cli.infer.answers import COLUMNS, Answers, Asked, record
from mmsc_cli.infer.choices import Choices
from mmsc_cli.infer.probabilities import COLUMNS as PAIR_COLUMNS
from mmsc_cli.infer.recommender import Outcome, Recommender
from mmsc_cli.infer.shop.rule_counts import RuleCounts
from mmsc_cli.serve.item_file import ItemFile
from mmsc_cli.serve.problems import of_error
from mmsc_cli.serve.questions import AnswersBody, Choosing, read_choosing
from mmsc_cli.serve.titles import Titles
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.version import __version__
from mmsc_cli.workspace.checksums import check_at_a_glance, describe, first_difference
from mmsc_cli.workspace.digests import artefact_digests
from mmsc_cli.workspace.manifest_file import outdated_inputs, read_manifest_file
from mmsc_cli.workspace.regular_file import open_regular

# Items of a batch that are answered in one go, so that others are answered in between.
_AT_A_TIME = 64
# Answers that are found and written in less than a millisecond.
_FEW = 50
# Answers of so many questions are kept as they were sent.
_WRITTEN = 4_096
# Items that the page begins with, at most.
_EXAMPLES = 6
# Partners of an item that are shown.
_PARTNERS = 50


class Snapshot:
    """An index, its item table, and what the manifest says of them."""

    def __init__(self, recommender: Recommender, root: Path, manifest: Mapping[str, Any]) -> None:
        """Take an opened index; see `open`."""
        self.recommender = recommender
        self.digest = index_digest(root, manifest)
        self.kept_digest = kept_digest(manifest)
        self._manifest = manifest
        self._root = root
        self._items = ItemFile(root, recommender.kept, len(recommender))
        self._titles = Titles(recommender.index)
        # What was answered at once, as many items are asked about again and again.
        self._written: dict[tuple[str, Relation, bytes], bytes] = {}
        # The encoder of new items is loaded once, and works for one request at a time.
        self._encoding = Lock()

    @classmethod
    def open(cls, root: Path, *, rules: Path | None = None, read_through: bool = False) -> Snapshot:
        """Open a workspace's index, and ask it a question.

        Args:
            root: the workspace.
            rules: a file of rules of the shop; None: those of the recipe.
            read_through: compare the index with the manifest byte by byte, not by size and time.

        Raises:
            WorkspaceError: there is none, or it is damaged.
            InputError: the file is none of rules.
        """
        while True:
            manifest = read_manifest_file(root) or {}
            recommender = Recommender.open(root, rules=rules)
            if (read_manifest_file(root) or {}) != manifest:
                continue  # `mmsc train` is putting another one in place
            if read_through:
                _read_through(root, manifest)
            snapshot = cls(recommender, root, manifest)
            snapshot._try()
            return snapshot

    def _try(self) -> None:
        """Answer for one item, as an index may be whole and still be none that answers."""
        index = self.recommender.index
        if not len(index):
            raise WorkspaceError("the index has no items", hint="run `mmsc prepare SOURCE`, then train again")
        (outcome,) = self.recommender.answer([index.ids[0]], "both", 1)
        if isinstance(outcome, MmscError):
            raise outcome

    def tag(self, *others: str) -> str:
        """The ETag of what is answered from this index, kept columns, rules, and other things with these digests."""
        return f'"{"-".join(filter(None, [self.digest, self.kept_digest, self.recommender.book.digest, *others]))}"'

    def answers(
        self, ids: Sequence[str], relation: Asked, choosing: Choosing, stock: frozenset[str] | None, overlap: bool
    ) -> list[dict[str, Any] | MmscError]:
        """The answers to items of the catalogue, their records as `mmsc infer --json` writes them; or errors.

        Raises:
            InputError: the choices exclude one another.
            WorkspaceError: the index lacks what they need.
        """
        choices = choosing.choices(stock, overlap)
        choices.check(relation)
        filters = choices.filters()
        recommender = self._asked(choosing)
        parts = (ids[start : start + _AT_A_TIME] for start in range(0, len(ids), _AT_A_TIME))
        return [
            self._records(outcome, choosing)
            for part in parts
            for outcome in recommender.answer(part, relation, choosing.k, filters, choosing.explain, overlap)
        ]

    def answers_at_once(self, item_id: str, relation: Relation, query: bytes) -> bytes | None:
        """What `answers` would return for an item, as JSON, if that takes less than a millisecond; else None.

        Raises:
            MmscError: the parameters in the query are wrong, or the index lacks what they need.
        """
        asked = item_id, relation, query
        if (known := self._written.get(asked)) is not None:
            return known
        k, choices, filters = _quick(query)
        if filters is None or self.recommender.book:
            return None
        choices.check(relation)
        ranked = self.recommender.rank_at_once(item_id, relation, k, filters)
        if ranked is None:
            return None
        index, rows = self.recommender.index, ranked.rows.tolist()
        items, titles = [index.ids[row] for row in rows], [index.titles[row] for row in rows]
        answers = [
            {"query": item_id, "relation": relation, "rank": rank, "item": item, "score": score, "title": title}
            for rank, (item, score, title) in enumerate(
                zip(items, ranked.scores.tolist(), titles, strict=True), start=1
            )
        ]
        if len(self._written) >= _WRITTEN:
            self._written.clear()
        content = self._written[asked] = orjson.dumps({"answers": answers})
        return content

    def many(self, body: AnswersBody, stock: frozenset[str] | None) -> list[dict[str, Any]]:
        """The outcome of each of many questions: its answers, or the problem with it."""
        old = [question.id for question in body.questions if question.id is not None]
        new = [question.new.model_dump() for question in body.questions if question.new is not None]
        by_id = iter(self.answers(old, body.relation, body, stock, body.overlap))
        by_content = self._new_answers(new, body, stock) if new else iter(())
        of_baskets = self._of_baskets(body, stock)
        outcomes = []
        for question in body.questions:
            if question.basket is not None:
                outcome = next(of_baskets)
            else:
                outcome = next(by_id) if question.new is None else next(by_content)
            outcomes.append({"problem": of_error(outcome)} if isinstance(outcome, MmscError) else outcome)
        return outcomes

    def _of_baskets(self, body: AnswersBody, stock: frozenset[str] | None) -> Iterator[dict[str, Any] | MmscError]:
        filters = body.choices(stock).filters()
        recommender = self._asked(body)
        for question in body.questions:
            if question.basket is not None:
                outcome = recommender.answer_basket(question.basket, body.k, filters, body.explain)
                yield self._records(outcome, body)

    def _asked(self, choosing: Choosing) -> Recommender:
        """The recommender, as a request wants it."""
        recommender = self.recommender
        if choosing.distinct is not None:
            recommender = recommender.with_distinct(choosing.distinct)
        return recommender.with_fallback() if choosing.fallback else recommender

    def _new_answers(
        self, items: Sequence[Mapping[str, Any]], body: AnswersBody, stock: frozenset[str] | None
    ) -> Iterator[dict[str, Any] | MmscError]:
        filters = body.choices(stock, body.overlap).filters()
        recommender = self.recommender.with_fallback() if body.fallback else self.recommender
        with self._encoding:
            for outcome in recommender.answer_new(items, body.relation, body.k, filters, body.explain, body.overlap):
                yield self._records(outcome, body, ("modalities",))

    @overload
    def _records(self, outcome: Answers, choosing: Choosing, more: Sequence[str] = ()) -> dict[str, Any]: ...

    @overload
    def _records(
        self, outcome: Outcome, choosing: Choosing, more: Sequence[str] = ()
    ) -> dict[str, Any] | MmscError: ...

    def _records(self, outcome: Outcome, choosing: Choosing, more: Sequence[str] = ()) -> dict[str, Any] | MmscError:
        """The records of answers, and, where rules of the shop hold, what they did."""
        if isinstance(outcome, MmscError):
            return outcome
        book = self.recommender.book
        if not (book or choosing.fallback or choosing.explain or choosing.more or more):
            return {"answers": [dict(zip(COLUMNS, answer, strict=False)) for answer in outcome]}
        sources = ["source"] if book or choosing.fallback else []
        columns = [*COLUMNS, *sources, *more, *(["why"] if choosing.explain else [])]
        records = [record(answer._asdict(), columns) for answer in outcome]
        if choosing.more and records:
            rows = [self.recommender.index.row(answer.item) for answer in outcome]
            extra = self._items.columns(choosing.more, rows)
            records = [{**more_columns, **whole} for whole, more_columns in zip(records, extra, strict=True)]
        return {"answers": records, **({"rules": RuleCounts.of(outcome).of_rules()} if book else {})}

    def judge(self, pairs: Sequence[tuple[str, str]], explain: bool) -> list[dict[str, Any]]:
        """The probabilities of pairs, as `mmsc infer --pairs --json` writes them; or the problem with a pair."""
        columns = [*PAIR_COLUMNS, *(["why"] if explain else [])]
        return [
            {"problem": of_error(outcome)} if isinstance(outcome, MmscError) else record(outcome._asdict(), columns)
            for outcome in self.recommender.judge(pairs, explain)
        ]

    def item(self, item_id: str) -> dict[str, Any]:
        """All columns of an item, and its known pairs, the strongest first.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        index = self.recommender.index
        row = index.row(item_id)
        columns = self._items.item(row) or {"item_id": item_id, "title": index.titles[row]}
        return {"item": columns, "pairs": self._pairs(row)}

    def _pairs(self, row: int) -> list[dict[str, Any]]:
        index = self.recommender.index
        entries, partners = index.known.row(row), index.known.columns(row)
        records: list[dict[str, Any]] = []
        for relation in RELATIONS:
            strengths = index.optional(f"known.strength.{relation}")
            trusts = index.optional(f"known.reliability.{relation}")
            if strengths is None:
                continue
            strength = strengths[entries]
            trust = np.full(len(strength), np.nan) if trusts is None else trusts[entries]
            strongest = np.argsort(-strength, kind="stable")[: min(_PARTNERS, int((strength > 0).sum()))]
            records += [
                {
                    "relation": relation,
                    "item": index.ids[partners[place]],
                    "title": index.titles[partners[place]],
                    "strength": float(strength[place]),
                    "reliability": None if np.isnan(trust[place]) else float(trust[place]),
                }
                for place in strongest.tolist()
            ]
        return records

    def picture(self, item_id: str) -> tuple[bytes, str] | None:
        """The picture of an item and its media type; None where the workspace has none.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return self._items.picture(self.recommender.index.row(item_id))

    def find(self, text: str, count: int) -> list[dict[str, Any]]:
        """Items by words of their titles, and by ids."""
        return self._titles.find(text, count)

    def about(self) -> dict[str, Any]:
        """What is served: version, digest, when it was trained, figures and data checks."""
        self._look_again()
        stages = self._manifest.get("stages", {})
        prepared = stages.get("prepare", {}).get("counts", {})
        return {
            "mmsc": __version__,
            "index": self.digest,
            "items": len(self.recommender),
            "trained": stages.get("train", {}).get("finished"),
            "distinct": self.recommender.index.about.get("distinct"),
            "pairs": self.recommender.index.about.get("pairs", {}),
            "rules": len(self.recommender.book.rules),
            "figures": self._figures(),
            "examples": self._examples(),
            "report": self.report() is not None,
            "data": {
                "warnings": prepared.get("warnings", []),
                "counts": {name: value for name, value in prepared.items() if isinstance(value, int)},
            },
        }

    def _examples(self) -> list[dict[str, Any]]:
        """Some items to begin with, evenly spread over the ids."""
        index = self.recommender.index
        rows = range(0, len(index), -(-len(index) // _EXAMPLES))
        return [{"item": index.ids[row], "title": index.titles[row]} for row in rows]

    def report(self) -> bytes | None:
        """The report of `mmsc evaluate`; None where there is none, or it is of another index."""
        self._look_again()
        return self._evaluated("report.html")

    def _look_again(self) -> None:
        """Read the manifest, as `evaluate` may have run since the index was opened."""
        now = read_manifest_file(self._root) or {}
        if index_digest(self._root, now) == self.digest:
            self._manifest = now

    def _figures(self) -> dict[str, Any] | None:
        """The figures of the model and its gains, per relation and slice; None where they are of another index."""
        if (content := self._evaluated("metrics.json")) is None:
            return None
        try:
            result = json.loads(content)
            shown = {relation: dict(result["models"]["mmsc"][relation]) for relation in RELATIONS}
            return {"slices": shown, "gains": result.get("gains", {})}
        except (ValueError, KeyError, TypeError):
            return None

    def _evaluated(self, name: str) -> bytes | None:
        """What `mmsc evaluate` wrote of this index into a file of the workspace."""
        entry = self._manifest.get("stages", {}).get("evaluate", {})
        if name not in entry.get("files", {}) or outdated_inputs(self._manifest, "evaluate"):
            return None
        try:
            check_at_a_glance(self._root, "evaluate", [name])
            with open_regular(self._root / name) as file:
                return file.read()
        except (OSError, WorkspaceError):
            return None


@lru_cache(1_024)
def _quick(query: bytes) -> tuple[int, Choices, dict[Relation, Filters] | None]:
    """How many answers a query wants, and by which filters; None where answers take longer than a moment."""
    choosing = read_choosing(query)
    choices = choosing.choices(None)
    slow = choosing.explain or choosing.columns or choosing.in_stock or choosing.where or choosing.fallback
    if slow or choosing.k > _FEW or choosing.distinct is not None:
        return choosing.k, choices, None
    return choosing.k, choices, choices.filters()


def index_digest(root: Path, manifest: Mapping[str, Any]) -> str:
    """The digest of the served index: the manifest's, else that of its description."""
    trained = manifest.get("stages", {}).get("train", {})
    recorded = artefact_digests(trained).get("index")
    return recorded or sha256((root / "index" / "index.json").read_bytes()).hexdigest()


def kept_digest(manifest: Mapping[str, Any]) -> str:
    """What names the kept columns; empty where there are none."""
    return artefact_digests(manifest.get("stages", {}).get("prepare", {})).get(KEPT, "")[:16]


def _read_through(root: Path, manifest: Mapping[str, Any]) -> None:
    recorded = {
        name: file
        for name, file in manifest.get("stages", {}).get("train", {}).get("files", {}).items()
        if name.startswith("index/")
    }
    if recorded and (wrong := first_difference(recorded, describe(root, "index"))):
        raise WorkspaceError(f"{root / wrong} is damaged", hint="run `mmsc train` again")
