"""The ranked candidates of every item, and how they become an index: vectors and sparse rows whose sum is the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmsc_cli.arrays.pair_keys import find_keys
from mmsc_cli.arrays.rows import divide
from mmsc_cli.arrays.sparse_rows import symmetric_matrix
from mmsc_cli.index.following import RANGE, followed_scores
from mmsc_cli.runtime.parallel import map_blocks
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.linear_branch import Sparse
from mmsc_cli.train.ranking.evidence import Evidence
from mmsc_cli.train.ranking.ranker import HEADS, Ranker

CHUNK = 1_024
# Scores are multiples of this: an index keeps each as a sum of two parts, which gives the same score again.
STEP = 2.0**-10
# Says how probable substitute, complement and neither are, (queries, candidates, 3), of queries (queries,), candidates
# (queries, candidates) and their evidence.
Opinion: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Answers:
    """Candidates of every item: `candidates` (n_items, count), -1 for none; `scores` (HEADS, n_items, count) from 0.

    `truth` (n_items, count): how probable the student thinks that the relation is true; None without a student.
    """

    candidates: NDArray[np.int64]
    scores: NDArray[np.float32]
    truth: NDArray[np.float32] | None = None


def answer(
    evidence: Evidence,
    rankers: Mapping[Relation, Ranker],
    count: int,
    affinity_weights: Mapping[Relation, float],
    opinion: Opinion | None = None,
    progress: Progress = SILENT,
) -> dict[Relation, Answers]:
    """Rank `count` candidates of every item; in the order of the linear branch where a relation has no ranker.

    The rankers' scores get the affinity of the categories added, times its weight in the relation.
    """
    known = evidence.known
    n_items = len(known.catalogue)
    seen = symmetric_matrix(known.visible.pairs.a, known.visible.pairs.b, None, n_items).astype(np.float32)
    blocks = [np.arange(start, min(start + evidence.chunk, n_items)) for start in range(0, n_items, evidence.chunk)]

    def look(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        candidates = known.candidates(rows, count)
        features = evidence.of(rows, candidates)
        said = np.zeros((*candidates.shape, 0), np.float32) if opinion is None else opinion(rows, candidates, features)
        is_known = evidence.entries(seen[rows], candidates) > 0
        scores = [
            rankers[relation].scores(features).transpose(2, 0, 1)
            + np.float32(affinity_weights[relation])
            * evidence.affinity[relation].log_ratio(rows[:, None], np.maximum(candidates, 0))
            if relation in rankers
            else np.stack([features[:, :, evidence.linear_column(relation)]] * len(HEADS))
            for relation in RELATIONS
        ]
        above = [_above_zero(of_relation, candidates < 0, is_known) for of_relation in scores]
        return candidates, said[:, :, : len(RELATIONS)], *above

    ranked = []
    with progress.task("Ranking", n_items) as task:
        for block in map_blocks(look, blocks):
            ranked.append(block)
            task.advance(len(block[0]))
    chosen, opinions, *scores = zip(*ranked, strict=True)
    candidates = np.concatenate(chosen)
    truth = None if opinion is None else _both_ways(candidates, np.concatenate(opinions))
    return {
        relation: Answers(
            candidates, np.concatenate(scores[number], axis=1), None if truth is None else truth[:, :, number]
        )
        for number, relation in enumerate(RELATIONS)
    }


def _both_ways(candidates: NDArray[np.int64], said: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is said of candidates (n_items, count, relations), averaged where query and candidate are each other's."""
    query, place = np.nonzero(candidates >= 0)
    answer = candidates[query, place]
    back = find_keys(query * len(candidates) + answer, answer * len(candidates) + query)
    values = said[query, place]
    both = said.copy()
    both[query, place] = np.where(back[:, None] >= 0, (values + values[back]) / 2, values)
    return both


def _above_zero(
    scores: NDArray[np.float32], missing: NDArray[np.bool_], is_known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Scores (HEADS, queries, candidates) in units that mean the same for every query; 0 without a candidate."""
    scores = np.where(missing, -np.inf, scores)
    unknown = np.where(is_known, -np.inf, scores)
    # Where every candidate is known already, they share among themselves.
    unknown = np.where((unknown > -np.inf).any(axis=2, keepdims=True), unknown, scores)
    highest = np.where(missing.all(axis=1, keepdims=True), 0, unknown.max(axis=2, initial=-np.inf, keepdims=True))
    total = np.log(np.exp(unknown - highest).sum(axis=2, keepdims=True) + 1e-30) + highest
    above: NDArray[np.float32] = np.logaddexp(0, RANGE + scores - total).astype(np.float32)
    return above


@dataclass(frozen=True)
class ByStudent:
    """What following another weight of the student takes, (entries,) each, as the rows of an index have them.

    `truth`: how probable the student thinks that the relation is true; `behaviour`: scores without the student.
    """

    truth: NDArray[np.float32]
    behaviour: NDArray[np.float32]


@dataclass(frozen=True)
class Composed:
    """What scores one relation in an index.

    `query` and `key` (n_items, dim); `rows` (n_items, n_items) what is added; `by_distinct` with the same columns: how
    much more is added for each unit that the second head's share is raised by; `by_student`: None without a student.
    """

    query: NDArray[np.float32]
    key: NDArray[np.float32]
    rows: Sparse
    by_distinct: Sparse
    by_student: ByStudent | None = None


def in_steps(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores as multiples of STEP."""
    rounded: NDArray[np.float32] = np.round(scores / np.float32(STEP)) * np.float32(STEP)
    return rounded


def compose(
    query: NDArray[np.float32],
    key: NDArray[np.float32],
    answers: Answers,
    distinct: float,
    follow: float = 0.0,
    hold: Callable[[NDArray[np.int64], NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Composed:
    """Query vectors, key vectors and sparse rows whose scores put an item's ranked candidates before all others.

    score(i, j) = query[i] . key[j] + rows[i, j] stays what the index computes: the rows hold what is missing from the
    product to the ranker's score. What is no candidate follows in the order of the network, between 2 and 0 below the
    last candidate. That takes one further column in the vectors. Each row has its candidates best first, by which an
    index may answer from the first of them (`ranked` of its description).

    Args:
        query: (n_items, dim) of the network.
        key: (n_items, dim) of the network.
        answers: the ranked candidates.
        distinct: the share of the second head in `rows`.
        follow: the weight of the student in `rows`, 0 to 1.
        hold: returns the scores to show, from candidates and today's scores, (n_items, count) each; None: the latter.
    """
    reach = np.linalg.norm(query, axis=1) * np.linalg.norm(key, axis=1).max(initial=0)
    query = np.column_stack([divide(query, reach[:, None]), np.full(len(query), -1)]).astype(np.float32)
    key = np.column_stack([key, np.ones(len(key))]).astype(np.float32)
    filled = answers.candidates >= 0
    products = np.concatenate(
        [
            np.matmul(key[answers.candidates[start : start + CHUNK]], query[start : start + CHUNK, :, None])[:, :, 0]
            for start in range(0, len(query), CHUNK)
        ]
    )
    pointers = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    products, columns = products[filled], answers.candidates[filled]
    first, second = (head[filled] for head in answers.scores)
    mixed = first + np.float32(distinct) * (second - first)
    by_student = None
    if answers.truth is not None:
        by_student = ByStudent(answers.truth[filled], mixed)
        mixed = followed_scores(by_student.behaviour, by_student.truth, pointers, follow)
    mixed = in_steps(mixed)
    if hold is not None:
        scores = np.zeros(filled.shape, np.float32)
        scores[filled] = mixed
        mixed = hold(answers.candidates, scores)[filled]

    order = _best_first(mixed, filled)

    def as_rows(values: NDArray[np.float32]) -> Sparse:
        return sparse.csr_array((values[order], columns[order], pointers), shape=(len(query),) * 2)

    if by_student is not None:
        by_student = ByStudent(by_student.truth[order], by_student.behaviour[order])
    return Composed(query, key, as_rows(mixed - products), as_rows(second - first), by_student)


def _best_first(scores: NDArray[np.float32], filled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The order (n_filled,) in which each item's candidates come best first; `filled` (n_items, count) says whose."""
    place = np.full(filled.shape, -1)
    place[filled] = np.arange(len(scores))
    lowest = np.full(filled.shape, np.inf, np.float32)
    lowest[filled] = -scores
    ordered = np.take_along_axis(place, np.argsort(lowest, axis=1, kind="stable"), axis=1)
    best_first: NDArray[np.int64] = ordered[ordered >= 0]
    return best_first
