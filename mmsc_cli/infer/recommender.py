"""The Python twin of `mmsc infer`: a workspace's index, opened once and asked as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmsc_cli.errors import InputError, MmscError, WorkspaceError
from mmsc_cli.index.filters import Filters, Sieve
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import Block, Ranked, Ranker
from mmsc_cli.index.search import block_size
from mmsc_cli.index.storage import model_of
from mmsc_cli.infer.answers import Answer, Asked, asked_relations
from mmsc_cli.infer.probabilities import PairOpinion, pair_probabilities
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.checksums import check_at_a_glance

if TYPE_CHECKING:
    import torch

    from mmsc_cli.files.settings import DownloadSettings
    from mmsc_cli.index.hnsw import Hnsw
    from mmsc_cli.infer.explain import Explainer, Subject
    from mmsc_cli.infer.new_item import NewItem
    from mmsc_cli.infer.new_items import NewItemEncoder

# What becomes of one question of many: its answers, or why there are none.
Outcome = list[Answer] | MmscError
PairOutcome = PairOpinion | MmscError


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


def _unreadable() -> InputError:
    return InputError(
        "the model knows nothing of what the item says", hint="say more: a longer title, a category, a price"
    )


class Recommender:
    """Answers for known items, for pairs, and for items the model has never seen."""

    def __init__(self, index: Index, root: Path, exact: bool = True) -> None:
        """Take an opened index and the workspace it lies in; see `open`."""
        self.index = index
        self._root = root
        self._exact = exact
        self._device: Callable[[], torch.device] = _cpu
        self._images: DownloadSettings | None = None
        # The last one is kept, as questions come in batches, and looking up what is in stock takes a while.
        self._sieve: Sieve | None = None

    @classmethod
    def open(cls, workspace: str | Path = "workspace", *, exact: bool = False) -> Recommender:
        """Open a trained workspace; nothing is loaded that is not touched.

        Args:
            workspace: its folder.
            exact: search exactly even where training left an approximate index, which a large catalogue has if faiss
                was installed then.

        Raises:
            WorkspaceError: it has no index, or one that is damaged or of another model.
        """
        root = Path(workspace)
        check_at_a_glance(root, "train", ["index/index.json", "index/index.safetensors", "model/model.safetensors"])
        index = Index.open(root / "index")
        try:
            trained = model_of(root / "model" / "model.safetensors")
        except FileNotFoundError:
            trained = None  # the index answers alone
        except ValueError as error:
            raise WorkspaceError(f"{root / 'model'} is damaged: {error}", hint="run `mmsc train` again") from error
        if trained is not None and trained != index.about.get("model"):
            raise WorkspaceError(f"{root}: index/ is of another model than model/", hint="run `mmsc train` again")
        return cls(index, root, exact)

    def __len__(self) -> int:
        """How many items the catalogue has."""
        return len(self.index)

    def substitutes(self, item_id: str, k: int = 10, *, explain: bool = False, **filters: Any) -> list[Answer]:
        """What can replace an item, best first.

        Args:
            item_id: an item of the catalogue.
            k: at most so many answers.
            explain: say why, in each answer's `why`.
            filters: `novel`, `min_score`, `category` ("same" or "other"), `price_within` (0.2 for 20 %), `in_stock`
                (ids); see Filters.

        Raises:
            UnknownItemError: it is not in the catalogue; the hint names the nearest ids.
        """
        return self._one(item_id, "substitute", k, Filters.of(**filters), explain)

    def complements(self, item_id: str, k: int = 10, *, explain: bool = False, **filters: Any) -> list[Answer]:
        """What goes with an item, best first; `diversify=True` takes different product types first.

        Args and errors as in `substitutes`.
        """
        return self._one(item_id, "complement", k, Filters.of(**filters), explain)

    def probabilities(self, a: str, b: str, *, explain: bool = False) -> PairOpinion:
        """Calibrated probabilities that two items are substitutes, complements, neither.

        Raises:
            UnknownItemError: one of them is not in the catalogue.
            WorkspaceError: the model was trained on too few validation pairs to be calibrated.
        """
        (outcome,) = self.judge([(a, b)], explain)
        if isinstance(outcome, MmscError):
            raise outcome
        return outcome

    def answer(
        self,
        item_ids: Sequence[str],
        relation: Asked = "both",
        k: int = 10,
        filters: Filters | None = None,
        explain: bool = False,
    ) -> Iterator[Outcome]:
        """Answers for many items, in their order; for an unknown one the error that says so, and the others go on.

        Searches on all cores; memory follows the catalogue, not the number of questions.
        """
        relations = asked_relations(relation)
        ranker = self._ranker(k, filters or Filters())
        queries = list(map(self._query, item_ids))
        known = [query for query in queries if isinstance(query, Query)]
        size = block_size(len(self.index))
        blocks = [known[start : start + size] for start in range(0, len(known), size)]

        def rank(block: Sequence[Query]) -> list[list[Ranked]]:
            return ranker.rank(Block.of_items(self.index, block, relations))

        ranked = (each for block in map_blocks(rank, blocks) for each in block)
        for query in queries:
            yield query if isinstance(query, MmscError) else self._told(query, next(ranked), explain)

    def answer_new(
        self,
        items: Sequence[NewItem | Mapping[str, Any]],
        relation: Asked = "both",
        k: int = 10,
        filters: Filters | None = None,
        explain: bool = False,
        names: Sequence[str] | None = None,
    ) -> Iterator[Outcome]:
        """Answers for items that the catalogue lacks, in their order. The first call loads torch and the encoder.

        Args:
            items: what is known of each; see NewItem for the fields.
            relation: which relations.
            k: at most so many answers per item and relation.
            filters: as for known items.
            explain: say why.
            names: what to call items without an `id`; else by their number.

        Raises:
            WorkspaceError: the workspace lacks what encodes new items.
            InputError: a mapping is no new item.
        """
        from mmsc_cli.infer.new_item import NewItem, parse_new_item
        from mmsc_cli.infer.new_items import BATCH

        ranker = self._ranker(k, filters or Filters())
        called = names or [f"item {number}" for number in range(1, len(items) + 1)]
        given = list(zip(items, called, strict=True))
        asked = [item if isinstance(item, NewItem) else parse_new_item(item, name) for item, name in given]
        called = [item.id or name for item, name in zip(asked, called, strict=True)]
        size = min(BATCH, block_size(len(self.index)))
        for start in range(0, len(asked), size):
            part = slice(start, start + size)
            found, failed = self._encoder.encode(asked[part], called[part], asked_relations(relation))
            ranked = zip(found.block.queries, ranker.rank(found.block), found.subjects, strict=True)
            for place in range(len(asked[part])):
                if place in failed:
                    yield failed[place]
                else:
                    query, answers, subject = next(ranked)
                    yield self._told(query, answers, explain, subject) if query.modalities else _unreadable()

    def judge(self, pairs: Sequence[tuple[str, str]], explain: bool = False) -> list[PairOutcome]:
        """Probabilities of many pairs, in their order; for an unknown end the error that says so, and the others go on.

        Raises:
            WorkspaceError: the model was trained on too few validation pairs to be calibrated.
        """
        ends = [(self._query(a), self._query(b)) for a, b in pairs]
        known = [(a, b) for a, b in ends if isinstance(a, Query) and isinstance(b, Query)]
        rows = np.array([(a.row, b.row) for a, b in known], np.int64).reshape(-1, 2)
        shares = iter(pair_probabilities(self.index, rows[:, 0], rows[:, 1]).tolist())
        outcomes: list[PairOutcome] = []
        for a, b in ends:
            if isinstance(a, MmscError) or isinstance(b, MmscError):
                outcomes.append(a if isinstance(a, MmscError) else b)  # type: ignore[arg-type]
                continue
            share = next(shares)
            why = self._explained_pair(a, b, RELATIONS[int(share[1] > share[0])]) if explain else None
            outcomes.append(PairOpinion(a.name, b.name, share[0], share[1], share[2], why))
        return outcomes

    def title(self, item_id: str) -> str:
        """Title of an item.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return self.index.title(item_id)

    def reads_new_items_with(self, device: Callable[[], torch.device], images: DownloadSettings) -> None:
        """Choose, before the first new item, where to compute and how to fetch images (else the CPU, and defaults)."""
        self._device, self._images = device, images

    def _one(self, item_id: str, relation: Relation, k: int, filters: Filters, explain: bool) -> list[Answer]:
        (outcome,) = self.answer([item_id], relation, k, filters, explain)
        if isinstance(outcome, MmscError):
            raise outcome
        return outcome

    def _query(self, item_id: str) -> Query | MmscError:
        try:
            return Query.of_item(self.index, item_id)
        except MmscError as error:
            return error

    def _ranker(self, k: int, filters: Filters) -> Ranker:
        if k < 1:
            raise InputError("at least one answer must be asked for", hint="give k of 1 or more")
        if self._sieve is None or self._sieve.filters is not filters:
            self._sieve = Sieve(self.index, filters)
        return Ranker(self.index, self._sieve, k, self._approximate)

    def _told(
        self, query: Query, ranked: Sequence[Ranked], explain: bool, subject: Subject | None = None
    ) -> list[Answer]:
        """The answers to one query, as a reader gets them."""
        subject = (subject or self._explainer.subject(query)) if explain else None
        index = self.index
        return [
            Answer(
                query.name,
                part.relation,
                rank,
                index.ids[row],
                score,
                index.titles[row],
                query.modalities,
                None if subject is None else self._explainer.explain(subject, part.relation, row, network, score),
            )
            for part in ranked
            for rank, (row, score, network) in enumerate(
                zip(part.rows.tolist(), part.scores.tolist(), part.network.tolist(), strict=True), start=1
            )
        ]

    def _explained_pair(self, a: Query, b: Query, relation: Relation) -> Any:
        assert a.row is not None
        assert b.row is not None
        rows = np.array([a.row]), np.array([b.row])
        side = self.index.vectors(relation)
        network = (side.query[a.row] @ side.key[b.row] + side.query[b.row] @ side.key[a.row]) / 2
        score = self.index.pair_scores(relation, *rows)[0]
        return self._explainer.explain(self._explainer.subject(a), relation, b.row, float(network), float(score))

    @cached_property
    def _explainer(self) -> Explainer:
        from mmsc_cli.infer.explain import Explainer, Similarity
        from mmsc_cli.workspace.workspace import Workspace

        return Explainer(self.index, Similarity.open(Workspace(self._root), len(self.index)))

    @cached_property
    def _approximate(self) -> Hnsw | None:
        if self._exact or "hnsw" not in self.index.about:
            return None
        from mmsc_cli.index.hnsw import Hnsw, file_names

        names = [name for relation in RELATIONS for name in file_names(relation)]
        check_at_a_glance(self._root, "train", [f"index/{name}" for name in names])
        return Hnsw.open(self._root / "index", self.index)

    @cached_property
    def _encoder(self) -> NewItemEncoder:
        from mmsc_cli.files.settings import DownloadSettings
        from mmsc_cli.infer.new_items import NewItemEncoder
        from mmsc_cli.workspace.workspace import Workspace

        return NewItemEncoder.open(Workspace(self._root), self.index, self._device, self._images or DownloadSettings())
