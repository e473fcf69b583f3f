"""The questions of `infer`, batch by batch, and what becomes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mmsc_cli.cli.formats import Outcome
from mmsc_cli.errors import InputError, MmscError
from mmsc_cli.files.lines import Line, parse_pair, read_lines
from mmsc_cli.index.filters import Filters
from mmsc_cli.infer.answers import Asked
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from mmsc_cli.infer.new_item import NewItem

Batches = Iterator[Iterable[Outcome]]
Parsed = TypeVar("Parsed")
# Items of `--all` that are asked about together.
_SLICE = 4_096


@dataclass(frozen=True)
class Question:
    """What is asked of every item."""

    relation: Asked
    k: int
    filters: Filters
    explain: bool


def named_items(recommender: Recommender, ids: Sequence[str], question: Question) -> Batches:
    """Items whose ids were typed."""
    yield _answered(recommender, ids, question)


def whole_catalogue(recommender: Recommender, question: Question, progress: Progress) -> Batches:
    """Every item, in the order of ids."""
    with progress.task("Answering", len(recommender)) as task:
        for start in range(0, len(recommender), _SLICE):
            rows = range(start, min(start + _SLICE, len(recommender)))
            yield _answered(recommender, [recommender.index.ids[row] for row in rows], question)
            task.advance(len(rows))


def listed_items(recommender: Recommender, source: str, question: Question) -> Batches:
    """Items whose ids stand in a file, one a line."""

    def answer(ids: Sequence[str], lines: Sequence[Line]) -> Iterator[Outcome]:
        return _answered(recommender, ids, question)

    return _batches(source, lambda line: line.text, answer)


def new_items(recommender: Recommender, source: str, question: Question) -> Batches:
    """Items that are not in the catalogue, a JSON object a line."""
    from mmsc_cli.infer.new_item import parse_new_item

    def answer(items: Sequence[NewItem], lines: Sequence[Line]) -> Iterator[Outcome]:
        names = [f"line {line.number}" for line in lines]
        outcomes = recommender.answer_new(
            items, question.relation, question.k, question.filters, question.explain, names
        )
        for item, outcome in zip(items, outcomes, strict=True):
            yield outcome if isinstance(outcome, MmscError) else (item.title, outcome)

    return _batches(source, lambda line: parse_new_item(line.text, line.place), answer)


def pairs(recommender: Recommender, source: str, explain: bool) -> Batches:
    """Pairs of ids, two a line."""

    def judge(ends: Sequence[tuple[str, str]], lines: Sequence[Line]) -> Iterator[Outcome]:
        for outcome in recommender.judge(ends, explain):
            yield outcome if isinstance(outcome, MmscError) else ("", [outcome])

    return _batches(source, parse_pair, judge)


def _answered(recommender: Recommender, ids: Sequence[str], question: Question) -> Iterator[Outcome]:
    outcomes = recommender.answer(ids, question.relation, question.k, question.filters, question.explain)
    for item_id, outcome in zip(ids, outcomes, strict=True):
        yield outcome if isinstance(outcome, MmscError) else (recommender.title(item_id), outcome)


def _batches(
    source: str,
    parse: Callable[[Line], Parsed],
    answer: Callable[[Sequence[Parsed], Sequence[Line]], Iterator[Outcome]],
) -> Batches:
    """What becomes of each line, in their order; errors say where the line stands. A missing file is told at once."""
    return _answered_lines(read_lines(source), parse, answer)


def _answered_lines(
    batches: Iterator[list[Line | InputError]],
    parse: Callable[[Line], Parsed],
    answer: Callable[[Sequence[Parsed], Sequence[Line]], Iterator[Outcome]],
) -> Batches:
    for batch in batches:
        parsed: list[Any] = []
        for line in batch:
            try:
                parsed.append(line if isinstance(line, MmscError) else parse(line))
            except InputError as error:
                parsed.append(error)
        good = [(each, line) for each, line in zip(parsed, batch, strict=True) if not isinstance(each, MmscError)]
        lines = [line for _, line in good if isinstance(line, Line)]
        yield _merged(parsed, answer([each for each, _ in good], lines), lines)


def _merged(parsed: Sequence[Any], answers: Iterator[Outcome], lines: Sequence[Line]) -> Iterator[Outcome]:
    placed = zip(answers, lines, strict=True)
    for each in parsed:
        if isinstance(each, MmscError):
            yield each
            continue
        outcome, line = next(placed)
        if isinstance(outcome, MmscError):
            outcome = type(outcome)(f"{line.place}: {outcome.message}", outcome.hint)
        yield outcome
