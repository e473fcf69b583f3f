"""What changed between two nights: items, answers, figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmsc_cli.diff.answer_table import AnswerTable
from mmsc_cli.diff.churn import NOTHING, TOP, AlignedLists, align, changed_by_rank, largest, rank_biased_distance
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.metrics.gates import AT_MOST, DECIMALS, Gate, Grammar, check_gates
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.regular_file import read_regular

# What `--fail-under` can be about.
GRAMMAR = Grammar(
    {"prefix": ("churn",), "relation": RELATIONS, "figure": ("top1", f"top{TOP}")},
    AT_MOST,
)


@dataclass(frozen=True)
class Move:
    """A query whose answers changed much: its first answers, how far its lists are apart (0 to 1), and why.

    A title is None where no night tells it.
    """

    query: str
    old: str | None
    new: str | None
    title: str | None
    old_title: str | None
    new_title: str | None
    distance: float
    reason: str


class Nights(NamedTuple):
    """The two nights."""

    old: AnswerTable
    new: AnswerTable

    def title(self, item_id: str | None) -> str | None:
        """The title of an item, by the later night that tells it."""
        return None if item_id is None else self.new.title(item_id) or self.old.title(item_id)


def compare(old: AnswerTable, new: AnswerTable, moves: int) -> dict[str, Any]:
    """Compare two nights.

    Args:
        old: the earlier night.
        new: the later night.
        moves: the maximum number of queries shown per relation, the most changed first.

    Returns:
        `items`: counts, and the ids that came and went; `churn`: per relation `queries` (that both nights answer),
        `top1` (share whose first answer changed), `top5` (mean rank-biased distance of the first five), `by_rank`
        (share changed at each rank) and `moves`, with the fields of Move.
    """
    added, gone = _missing(new.items, old.items), _missing(old.items, new.items)
    churn: dict[str, Any] = {}
    for relation in RELATIONS:
        sides = [night.answers.filter(pc.equal(night.answers["relation"], relation)) for night in (old, new)]
        if all(map(len, sides)):
            churn[relation] = _churn(relation, align(*sides), Nights(old, new), moves)
    counts = {"old": len(old.items), "new": len(new.items), "added": len(added), "gone": len(gone)}
    return {
        "old": old.source,
        "new": new.source,
        "items": {**counts, "added_ids": added.to_pylist(), "gone_ids": gone.to_pylist()},
        "churn": churn,
    }


def check_churn(gates: Sequence[Gate], churn: Mapping[str, Any]) -> None:
    """Check gates against the `churn` of a comparison.

    Raises:
        GateError: naming every figure beyond its limit, and every relation that one night does not have.
    """

    def figure(path: str) -> float | None:
        _, relation, name = path.split(".")
        value: float | None = churn[relation][name] if relation in churn else None
        return value

    check_gates(gates, figure, missing="no query has such answers in both nights")


def read_figures(workspace: Path) -> dict[str, float]:
    """The figures of a workspace's last `evaluate`, such as `substitute.all.ndcg@10`; none where there are none.

    Raises:
        WorkspaceError: the file that holds them is damaged.
    """
    path = workspace / "metrics.json"
    if not path.parent.is_dir() or not os.path.lexists(path):
        return {}
    check_at_a_glance(workspace, "evaluate", [path.name])
    try:
        return figures_of(json.loads(read_regular(path)))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise WorkspaceError(f"{path} is damaged: {error}", hint="run `mmsc evaluate` again") from error


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """NDCG@10 of the model by relation and slice, of the result of an `evaluate`; without those that are empty."""
    model = metrics["models"]["mmsc"]
    figures = {
        f"{relation}.{part}.ndcg@10": values["ndcg@10"]
        for relation in RELATIONS
        for part, values in model.get(relation, {}).items()
    }
    return {path: float(value) for path, value in figures.items() if value is not None}


def _missing(ids: pa.Array, among: pa.Array) -> pa.Array:
    return ids.filter(pc.invert(pc.is_in(ids, among)))


def _churn(relation: Relation, lists: AlignedLists, nights: Nights, moves: int) -> dict[str, Any]:
    by_rank = changed_by_rank(lists)
    distance = rank_biased_distance(lists, TOP)
    return {
        "queries": len(lists.queries),
        "top1": round(float(by_rank[0]), DECIMALS),
        f"top{TOP}": round(float(distance.mean()), DECIMALS) if len(distance) else 0.0,
        "by_rank": [round(share, DECIMALS) for share in by_rank.tolist()],
        "moves": _moves(relation, lists, largest(distance, moves), distance, nights),
    }


def _moves(
    relation: Relation, lists: AlignedLists, rows: Sequence[int], distance: NDArray[np.float64], nights: Nights
) -> list[dict[str, Any]]:
    """The queries in `rows`, as dictionaries of the fields of Move."""
    moves = []
    for row in rows:
        query, old, new = lists.queries[row].as_py(), _first(lists, lists.old[row]), _first(lists, lists.new[row])
        reason = "; ".join(_reasons(lists, row, (old, new), nights))
        why = nights.new.why(query, relation, new)
        move = Move(
            query,
            old,
            new,
            nights.title(query),
            nights.title(old),
            nights.title(new),
            round(float(distance[row]), DECIMALS),
            f"{reason} ({why})" if why else reason,
        )
        moves.append(asdict(move))
    return moves


def _first(lists: AlignedLists, ranked: NDArray[np.int64]) -> str | None:
    """The id of a list's first answer."""
    item_id: str | None = None if ranked[0] == NOTHING else lists.items[int(ranked[0])].as_py()
    return item_id


def _reasons(lists: AlignedLists, row: int, firsts: tuple[str | None, str | None], nights: Nights) -> Iterator[str]:
    """What became of the first answer, and where the new one comes from."""
    old, new = firsts
    if old == new:
        kept = np.intersect1d(lists.old[row, :TOP], lists.new[row, :TOP])
        yield f"the first answer stayed, {(kept != NOTHING).sum()} of the first {TOP} were there before"
        return
    if old is None:
        yield "it had no answers before"
    elif not nights.new.has(old):
        yield f"{old} left the catalogue"
    else:
        yield f"{old} fell {_rank(lists.new[row], lists.old[row, 0], 'to')}"
    if new is None:
        yield "it has no answers any more"
    elif not nights.old.has(new):
        yield f"{new} is new in the catalogue"
    else:
        yield f"{new} rose {_rank(lists.old[row], lists.new[row, 0], 'from')}"


def _rank(ranked: NDArray[np.int64], item: int, way: Literal["to", "from"]) -> str:
    """Where an item code stands in a list that it moved to or from."""
    at = np.flatnonzero(ranked == item)
    if len(at):
        return f"{way} rank {at[0] + 1}"
    return f"{'' if way == 'to' else 'from '}below rank {len(ranked)}"
