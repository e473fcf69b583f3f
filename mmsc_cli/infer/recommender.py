"""The Python twin of `mmsc infer`: a workspace's index, opened once and asked many times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mmsc_cli.errors import InputError, MmscError, WorkspaceError
from mmsc_cli.index.filters import Filters, Sieve, sieves
from mmsc_cli.index.hnsw import Hnsw, file_names
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.kept_columns import NAME as KEPT
from mmsc_cli.index.kept_columns import KeptColumns
from mmsc_cli.index.look_up import LookUp
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import IndexRanker, QueryBlock, Ranked, block_size
from mmsc_cli.index.shop_rules import RuleBook, ShopRule
from mmsc_cli.infer.answers import Answer, Answers, Asked, asked_relations
from mmsc_cli.infer.basket import BasketRanker, BasketWhys, basket_of
from mmsc_cli.infer.entries import Entry, bestseller, n_blocked, ranked_entries
from mmsc_cli.infer.opening import catalogue_of, open_index
from mmsc_cli.infer.overlap import SeparateRanker
from mmsc_cli.infer.probabilities import PairOpinion, pair_probabilities
from mmsc_cli.infer.shop.bestsellers import Bestsellers, ListLimits
from mmsc_cli.infer.shop.rule_sources import read_rules, recorded_rules
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.tables.relations import EVIDENCE, RELATIONS, Relation
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.manifest_file import read_manifest_file
from mmsc_cli.workspace.pins import Pins

if TYPE_CHECKING:
    import torch

    from mmsc_cli.files.settings import DownloadSettings
    from mmsc_cli.infer.attributes import ItemAttributes
    from mmsc_cli.infer.explain import Explainer, Explanation, Subject
    from mmsc_cli.infer.new_item import NewItem
    from mmsc_cli.infer.new_items import NewItemEncoder

Result = TypeVar("Result")
# Conditions on answers, the same for both relations or one for each.
AnyFilters = Filters | Mapping[Relation, Filters]
AnyRanker = IndexRanker | SeparateRanker
# Explains an answer in a relation.
Why = Callable[[Relation, Entry], "Explanation"]
_LOG = logging.getLogger(__name__)
# The outcome of one question of many: its answers, or the error that says why there are none.
Outcome = Answers | MmscError
PairOutcome = PairOpinion | MmscError


def _cpu() -> torch.device:
    import torch  # noqa: PLC0415  slow to import

    return torch.device("cpu")


def _groups(index: Index, root: Path, kept: KeptColumns) -> dict[str, int]:
    """The first variant of each group, by name; empty without variants, or where the index answers alone."""
    if index.optional("group") is None:
        return {}
    from mmsc_cli.infer.attributes import ItemAttributes  # noqa: PLC0415  brings pyarrow

    try:
        return ItemAttributes(root, ["group"], kept, len(index)).first_rows("group")
    except (InputError, WorkspaceError):
        return {}


def _read(rules: str | Path | Sequence[ShopRule]) -> Sequence[ShopRule]:
    return read_rules(Path(rules)) if isinstance(rules, str | Path) else rules


def _only(outcomes: Iterable[Result | MmscError]) -> Result:
    """The outcome of a single question, or its error, raised."""
    (outcome,) = outcomes
    if isinstance(outcome, MmscError):
        raise outcome
    return outcome


class Recommender:
    """Answers for known items, for pairs, and for items the model has never seen."""

    def __init__(self, index: Index, root: Path, exact: bool = True) -> None:
        """Take an opened index and its workspace; see `open`."""
        self.index = index
        self._root = root
        self._exact = exact
        self._pins = Pins(root, ())
        self._catalogue = catalogue_of(read_manifest_file(root))
        self.book = RuleBook(index, ())
        self.kept = KeptColumns(root / KEPT, index.ids)
        self._device: Callable[[], torch.device] = _cpu
        self._images: DownloadSettings | None = None
        # The last one is kept, as questions come in batches, and looking up what is in stock takes a while.
        self._sieves: tuple[AnyFilters, dict[Relation, Sieve]] | None = None
        self._look_up = LookUp(index, partial(_groups, index, root, self.kept))
        self._reported: set[Relation] = set()
        self._fallback = False

    @classmethod
    def open(
        cls,
        workspace: str | Path = "workspace",
        *,
        exact: bool = False,
        judged: bool = False,
        follow_labels: float | None = None,
        rules: str | Path | Sequence[ShopRule] | None = None,
    ) -> Recommender:
        """Open a trained workspace. Its index is memory-mapped, so that only what answers need is read.

        Args:
            workspace: its folder.
            exact: search exactly even if there is an approximate index, which training adds for a large catalogue if
                faiss is installed.
            judged: answer from the index that `evaluate` judges, which has not seen the held-out pairs.
            follow_labels: how far to follow the student of labels, 0 to 1; None: as far as training chose.
            rules: rules of the shop, or a file of them; None: those of the recipe.

        Raises:
            InputError: `follow_labels` is not from 0 to 1, or the rules are none.
            WorkspaceError: it has no index, or one that is damaged or of another model, or has no student to follow.
        """
        if follow_labels is not None and not 0 <= follow_labels <= 1:
            raise InputError(f"--follow-labels {follow_labels}: not from 0 to 1", hint="for example 0.5")
        root = Path(workspace)
        opened = open_index(root, "judged" if judged else "index")
        index = opened.index
        if follow_labels is not None:
            index = index.with_follow_labels(dict.fromkeys(RELATIONS, follow_labels))
        recommender = cls(index, root, exact)
        recommender._pins, recommender._catalogue = opened.pins, catalogue_of(opened.manifest)
        recommender.book = RuleBook(index, recorded_rules(opened.manifest) if rules is None else _read(rules))
        return recommender

    def __len__(self) -> int:
        """The number of items in the catalogue."""
        return len(self.index)

    def substitutes(self, item_id: str, k: int = 10, *, explain: bool = False, **filters: Any) -> list[Answer]:
        """The items that can replace an item, best first.

        Args:
            item_id: an item of the catalogue.
            k: the maximum number of answers.
            explain: fill each answer's `why`.
            filters: the fields of Filters: `novel`, `min_score`, `category` ("same" or "other"), `price_within` (0.2
                for 20 %), `in_stock` (ids).

        Raises:
            UnknownItemError: it is not in the catalogue; the hint names the nearest ids.
        """
        return _only(self.answer([item_id], "substitute", k, Filters(**filters), explain))

    def complements(self, item_id: str, k: int = 10, *, explain: bool = False, **filters: Any) -> list[Answer]:
        """The items that go with an item, best first; `diversify=True` takes different product types first.

        Args and errors as in `substitutes`.
        """
        return _only(self.answer([item_id], "complement", k, Filters(**filters), explain))

    def basket(self, item_ids: Sequence[str], k: int = 10, *, explain: bool = False, **filters: Any) -> list[Answer]:
        """The items that go with several items together, best first, without these.

        Args and errors as in `complements`; `query` of an answer is the ids, joined by commas.
        """
        return _only([self.answer_basket(item_ids, k, Filters(**filters), explain)])

    def answer_basket(
        self, item_ids: Sequence[str], k: int = 10, filters: AnyFilters | None = None, explain: bool = False
    ) -> Outcome:
        """The complements of a basket; for one that is empty, too large, or has an unknown item, its error.

        Raises:
            WorkspaceError: there were no co-purchases to train on.
        """
        self._relations("complement")
        items, errors = self._look_up.queries(item_ids)
        for error in errors.values():
            return error
        try:
            basket = basket_of(list(items.values()))
        except InputError as error:
            return error
        ranker = BasketRanker(self.index, self._prepared(k, filters), k)
        ranked, closest = ranker.rank(basket)
        whys = BasketWhys(self._explainer, basket, ranked, closest) if explain else None
        return self._answers(ranker, basket, [ranked], whys)

    def probabilities(self, a: str, b: str, *, explain: bool = False) -> PairOpinion:
        """Calibrated probabilities that two items are substitutes, complements, neither.

        Raises:
            UnknownItemError: one of them is not in the catalogue.
            WorkspaceError: the model was trained on too few validation pairs to be calibrated.
        """
        return _only(self.judge([(a, b)], explain))

    def answer(
        self,
        item_ids: Sequence[str],
        relation: Asked = "both",
        k: int = 10,
        filters: AnyFilters | None = None,
        explain: bool = False,
        overlap: bool = False,
    ) -> Iterator[Outcome]:
        """Yield the answers for each of many items, in their order; for an unknown item, its error.

        Searches on all cores; memory follows the catalogue, not the number of questions.

        Args:
            item_ids: items of the catalogue.
            relation: which relations.
            k: the maximum number of answers per item and relation.
            filters: conditions on answers, the same for both relations or one for each.
            explain: fill each answer's `why`.
            overlap: allow an item to be both a substitute and a complement of the same query.

        Raises:
            WorkspaceError: there was nothing to train the relation on.
        """
        relations = self._relations(relation)
        ranker = self._ranker(k, filters, relations, overlap)
        known, errors = self._look_up.queries(item_ids)
        queries = list(known.values())
        size = block_size(len(self.index)) if len(queries) > 1 else 1
        blocks = [queries[start : start + size] for start in range(0, len(queries), size)]

        def rank(block: Sequence[Query]) -> list[list[Ranked]]:
            return ranker.rank(QueryBlock.of_items(self.index, block, relations))

        ranked = (rankings for block in map_blocks(rank, blocks) for rankings in block)
        answered = zip(queries, ranked, strict=True)
        for position in range(len(item_ids)):
            if position in errors:
                yield errors[position]
                continue
            query, rankings = next(answered)
            yield self._answers(ranker, query, rankings, self._why(self._explainer.subject(query)) if explain else None)

    def rank_at_once(self, item_id: str, relation: Relation, k: int, filters: AnyFilters) -> Ranked | None:
        """Return what `answer` would, if that takes no search of the catalogue and no look for similar ids; else None.

        Raises:
            WorkspaceError: there was nothing to train the relation on.
        """
        if (row := self.index.ids.exact(item_id)) is None:
            return None
        ranker = self._ranker(k, filters, self._relations(relation), overlap=True)
        assert isinstance(ranker, IndexRanker)
        return ranker.rank_at_once(Query.of_row(self.index, row), relation)

    def answer_new(
        self,
        items: Sequence[NewItem | Mapping[str, Any]],
        relation: Asked = "both",
        k: int = 10,
        filters: AnyFilters | None = None,
        explain: bool = False,
        overlap: bool = False,
        names: Sequence[str] | None = None,
    ) -> Iterator[Outcome]:
        """Yield answers for items that are not in the catalogue, in their order.

        The first call loads torch and the encoder.

        Args:
            items: what is known of each; see NewItem for the fields.
            relation: which relations.
            k: the maximum number of answers per item and relation.
            filters: as for known items.
            explain: fill each answer's `why`.
            overlap: as for known items.
            names: what to call items without an `id`; default: by their number.

        Raises:
            WorkspaceError: the workspace lacks what encodes new items, or there was nothing to train the relation on.
            InputError: a mapping is no new item.
        """
        from mmsc_cli.infer.new_item import NewItem, parse_new_item  # noqa: PLC0415  brings pydantic
        from mmsc_cli.infer.new_items import BATCH  # noqa: PLC0415  brings torch

        relations = self._relations(relation)
        ranker = self._ranker(k, filters, relations, overlap)
        called = names or [f"item {number}" for number in range(1, len(items) + 1)]
        asked = [
            item if isinstance(item, NewItem) else parse_new_item(item, name)
            for item, name in zip(items, called, strict=True)
        ]
        called = [item.id or name for item, name in zip(asked, called, strict=True)]
        size = min(BATCH, block_size(len(self.index)))
        for start in range(0, len(asked), size):
            batch = slice(start, start + size)
            newcomers, errors = self._encoder.encode(asked[batch], called[batch], relations)
            answered = zip(newcomers.block.queries, ranker.rank(newcomers.block), newcomers.subjects, strict=True)
            for position in range(len(asked[batch])):
                if position in errors:
                    yield errors[position]
                    continue
                query, rankings, subject = next(answered)
                yield self._answers(ranker, query, rankings, self._why(subject) if explain else None)

    def judge(self, pairs: Sequence[tuple[str, str]], explain: bool = False) -> list[PairOutcome]:
        """The probabilities of each of many pairs, in their order; an error for an unknown end, and for one item twice.

        Raises:
            WorkspaceError: the model was trained on too few validation pairs to be calibrated.
        """
        queries, errors = self._look_up.queries([item_id for pair in pairs for item_id in pair])
        for position in range(0, 2 * len(pairs), 2):
            if not errors.keys() & {position, position + 1} and queries[position].row == queries[position + 1].row:
                message = f"{queries[position].name} beside itself: a pair has two items"
                errors[position] = InputError(message, hint="give two different ids")
        ends = {
            position: (queries[2 * position], queries[2 * position + 1])
            for position in range(len(pairs))
            if not errors.keys() & {2 * position, 2 * position + 1}
        }
        rows = np.array([(a.row, b.row) for a, b in ends.values()], np.int64).reshape(-1, 2)
        probabilities = dict(zip(ends, pair_probabilities(self.index, rows[:, 0], rows[:, 1]).tolist(), strict=True))
        outcomes: list[PairOutcome] = []
        for position in range(len(pairs)):
            if position not in ends:
                outcomes.append(errors[2 * position] if 2 * position in errors else errors[2 * position + 1])
                continue
            (a, b), (substitute, complement, neither) = ends[position], probabilities[position]
            why = self._explained_pair(a, b, RELATIONS[int(complement > substitute)]) if explain else None
            outcomes.append(PairOpinion(a.name, b.name, substitute, complement, neither, why))
        return outcomes

    def title(self, item_id: str) -> str:
        """Title of an item; of the name of a group, that of its first variant.

        Raises:
            UnknownItemError: it is not in the catalogue.
        """
        return self._look_up.title(item_id)

    def attributes(self, columns: Sequence[str]) -> ItemAttributes:
        """Columns of the item table, such as `price`, `brand` or `category`, and kept columns, by item row.

        Raises:
            InputError: there is no such column.
            WorkspaceError: the item table is missing, damaged, or of another size than the index.
        """
        from mmsc_cli.infer.attributes import ItemAttributes  # noqa: PLC0415  brings pyarrow

        return ItemAttributes(self._root, columns, self.kept, len(self.index))

    def reads_new_items_with(self, device: Callable[[], torch.device], images: DownloadSettings) -> None:
        """Choose, before the first new item, where to compute and how to fetch images (else the CPU, and defaults)."""
        self._device, self._images = device, images

    def with_distinct(self, share: float) -> Recommender:
        """The same for items of the catalogue, with another share of the ranking by pairs of one relation alone.

        Raises:
            WorkspaceError: the index was made by an older mmsc, which had no such ranking.
        """
        changed = copy(self)
        changed.index = self.index.with_distinct(share)
        changed._sieves = None  # noqa: SLF001  its own
        vars(changed).pop("_explainer", None)
        return changed

    def with_fallback(self) -> Recommender:
        """The same, but lists that are shorter than asked for are filled with bestsellers.

        Substitutes are of the query's category, complements of those that go with it, then of the catalogue. Filters
        and rules of the shop hold for them, except conditions on scores, which they have none of. Their `source` is
        `bestseller`, their score None.
        """
        changed = copy(self)
        changed._fallback = True  # noqa: SLF001  its own
        return changed

    def _relations(self, asked: Asked) -> Sequence[Relation]:
        """The relations to answer in: those asked for, of `both` those that the model was trained on."""
        relations = asked_relations(asked)
        trained = [relation for relation in relations if relation in self.index.relations]
        for relation in relations:
            if relation not in trained:
                message = f"this index has no {relation}s: there were no {EVIDENCE[relation]} pairs to train on"
                if not trained:
                    hint = f"use --relation {next(other for other in RELATIONS if other != relation)}, or prepare data "
                    raise WorkspaceError(message, hint=hint + f"with {EVIDENCE[relation]} pairs")
                if relation not in self._reported:
                    _LOG.warning("%s", message)
                    self._reported.add(relation)
        return trained

    def _prepared(self, k: int, filters: AnyFilters | None) -> dict[Relation, Sieve]:
        if k < 1:
            raise InputError("at least one answer must be asked for", hint="give k of 1 or more")
        filters = filters or Filters()
        last = self._sieves  # read once, as another thread may ask with other filters
        prepared = last[1] if last and last[0] is filters else sieves(self.index, filters, self.book, self.kept)
        self._sieves = filters, prepared
        return prepared

    def _ranker(self, k: int, filters: AnyFilters | None, relations: Sequence[Relation], overlap: bool) -> AnyRanker:
        prepared = self._prepared(k, filters)
        if overlap or len(relations) < len(RELATIONS):
            return IndexRanker(self.index, prepared, k, self._approximate)
        return SeparateRanker(self.index, prepared, k, self._approximate)

    def _answers(
        self,
        ranker: ListLimits,
        query: Query,
        rankings: Sequence[Ranked],
        why: Why | None,
    ) -> Answers:
        """The answers to one query; its rankings are one per relation, and `why` explains each."""
        fills = self._bestsellers.fills(query, rankings, ranker) if self._fallback else [[] for _ in rankings]
        answers = Answers(blocked=sum(n_blocked(ranked, ranker.k) for ranked in rankings))
        for ranked, fill in zip(rankings, fills, strict=True):
            entries = [*ranked_entries(ranked), *(bestseller(row) for row in fill)]
            answers += [
                Answer(
                    query.name,
                    ranked.relation,
                    rank,
                    self.index.ids[entry.row],
                    entry.score,
                    self.index.titles[entry.row],
                    query.modalities,
                    None if why is None else why(ranked.relation, entry),
                    entry.source,
                )
                for rank, entry in enumerate(entries, start=1)
            ]
        return answers

    def _why(self, subject: Subject) -> Why:
        return partial(self._explainer.explain, subject)

    def _explained_pair(self, a: Query, b: Query, relation: Relation) -> Any:
        assert a.row is not None
        assert b.row is not None
        rows = np.array([a.row]), np.array([b.row])
        side = self.index.vectors(relation)
        network = (side.query[a.row] @ side.key[b.row] + side.query[b.row] @ side.key[a.row]) / 2
        score = self.index.pair_scores(relation, *rows)[0]
        entry = Entry(b.row, float(score), float(network))
        return self._explainer.explain(self._explainer.subject(a), relation, entry)

    @cached_property
    def _bestsellers(self) -> Bestsellers:
        return Bestsellers(self.index)

    @cached_property
    def _explainer(self) -> Explainer:
        from mmsc_cli.infer.explain import Explainer, open_embeddings  # noqa: PLC0415  brings pydantic
        from mmsc_cli.workspace.workspace import Workspace  # noqa: PLC0415  brings pydantic

        return Explainer(self.index, open_embeddings(Workspace(self._root, self._pins), len(self.index)))

    @cached_property
    def _approximate(self) -> Hnsw | None:
        if self._exact or "hnsw" not in self.index.about:
            return None

        names = [name for relation in RELATIONS for name in file_names(relation)]
        check_at_a_glance(self._root, "train", [f"index/{name}" for name in names])
        return Hnsw.open(self._pins.path("index"), self.index)

    @cached_property
    def _encoder(self) -> NewItemEncoder:
        from mmsc_cli.files.settings import DownloadSettings  # noqa: PLC0415  brings pydantic
        from mmsc_cli.infer.new_items import NewItemEncoder  # noqa: PLC0415  brings torch
        from mmsc_cli.workspace.workspace import Workspace  # noqa: PLC0415  brings pydantic

        if catalogue_of(read_manifest_file(self._root)) != self._catalogue:
            raise WorkspaceError(f"{self._root} was prepared again since its index was opened", hint="open it again")
        workspace = Workspace(self._root, self._pins)
        return NewItemEncoder.open(workspace, self.index, self._device, self._images or DownloadSettings())
