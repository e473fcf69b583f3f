"""This night's answers as the shop shows them: what the rules did to them, and what changed since the night before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmsc_cli.arrays.id_hashes import hash_ids
from mmsc_cli.diff.answer_table import AnswerTable, table_of
from mmsc_cli.diff.diff import compare, figures_of
from mmsc_cli.diff.kept_answers import DEPTH, FILE, KeptNight, read_kept, write_kept
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.infer.shop.rule_counts import RuleCounts
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.workspace.workspace import Workspace

# Items that are looked at.
QUERIES = 1_000
MOVES = 3
# Ids of items that came or went, of those that are named.
NAMED = 5


def describe_night(
    workspace: Workspace,
    metrics: Mapping[str, Any],
    target: Path,
    progress: Progress = SILENT,
    *,
    rules: Path | None = None,
) -> dict[str, Any]:
    """Answer some items from the served index; count what rules change, and compare with what was kept of a night.

    Items are drawn by a hash of their ids, so that another night answers the same ones; those that a rule names as
    query are looked at too.

    Args:
        workspace: where `evaluate` runs.
        metrics: its result so far.
        target: where the answers are kept for the next night; see `kept_answers`.
        progress: told of the work.
        rules: a file of rules; None: those of the recipe.

    Returns:
        `queries`; `rules`, None without any: the number of each kind, `unknown` names, and the counts of RuleCounts;
        `since`, None on the first night: when the earlier index was `trained`, its `figures` beside the new ones, and
        `items` and `churn` as `compare` returns them, with NAMED ids and MOVES moves at most.

    Raises:
        WorkspaceError: the index is damaged.
        InputError: the rules are none.
    """
    recommender = Recommender.open(workspace.root, exact=True, rules=rules)
    ids = [str(recommender.index.ids[row]) for row in range(len(recommender))]
    queries = _drawn(ids, [rule.query for rule in recommender.book.rules if rule.query is not None])
    counts = RuleCounts()
    trained = recommender.index.relations
    asked = trained[0] if len(trained) == 1 else "both"
    with progress.task("answers of this night", total=len(queries)) as task:
        answers = table_of(counts.watch(recommender.answer(queries, asked, DEPTH)), task)
    training = workspace.manifest().stages["train"]
    table = AnswerTable(str(workspace.root), answers, pa.array(ids, pa.string()), recommender)
    now = KeptNight(training.outputs["index"], training.finished, figures_of(metrics), table)
    # After a repeated `evaluate` the last night that was kept is this one.
    earlier = next((night for night in read_kept(_kept(workspace)) if night.index != now.index), None)
    write_kept(target, [now] if earlier is None else [now, earlier])
    return {
        "queries": len(queries),
        "rules": _rules(recommender, counts),
        "since": None if earlier is None else _since(earlier, now),
    }


def _drawn(ids: Sequence[str], named: Sequence[str]) -> list[str]:
    """The ids of QUERIES items, the same ones each night as long as they are there, and some that are named."""
    order = hash_ids(ids, "night").argsort(kind="stable")
    known = set(ids)
    drawn = [ids[row] for row in sorted(order[:QUERIES].tolist())]
    return list(dict.fromkeys([*drawn, *(name for name in named if name in known)]))


def _kept(workspace: Workspace) -> Path | None:
    """The answers that lie here: whole, or not recorded as a run was killed while it put them in place."""
    record = workspace.manifest().stages.get("evaluate")
    return workspace.path(FILE) if record is None else workspace.find_whole(FILE)


def _rules(recommender: Recommender, counts: RuleCounts) -> dict[str, Any] | None:
    rules = recommender.book.rules
    if not rules:
        return None
    kinds = [rule.kind for rule in rules]
    return {
        "rules": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "unknown": recommender.book.unknown,
        "questions": counts.questions,
        "changed": counts.changed,
        **counts.of_rules(),
    }


def _since(earlier: KeptNight, now: KeptNight) -> dict[str, Any]:
    changes = compare(earlier.table, now.table, MOVES)
    items: dict[str, Any] = changes["items"]
    ids = {name: items[name][:NAMED] for name in ("added_ids", "gone_ids")}
    figures = {path: [earlier.figures[path], value] for path, value in now.figures.items() if path in earlier.figures}
    return {"trained": earlier.trained, "items": items | ids, "churn": changes["churn"], "figures": figures}
