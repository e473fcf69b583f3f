"""The questions of `infer`, batch by batch, and their answers; a question that fails is reported where it is met."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from mmsc_cli.cli.failures import GATE, OK, describe, exit_code
from mmsc_cli.cli.formats import Answered
from mmsc_cli.errors import InputError, MmscError, UnknownItemError
from mmsc_cli.files.lines import Line, parse_pair, read_basket, read_lines
from mmsc_cli.infer.answers import Answer
from mmsc_cli.infer.recommender import Outcome, Recommender
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.runtime.shares.shards import WHOLE, Shard

if TYPE_CHECKING:
    from mmsc_cli.infer.probabilities import PairOpinion

Parsed = TypeVar("Parsed")
Outcomes: TypeAlias = "Iterable[Sequence[Answer | PairOpinion] | MmscError]"
AskItems = Callable[[Sequence[str]], Iterable[Outcome]]
# Items of `--all` that are asked about together.
_SLICE = 4_096
_LOG = logging.getLogger(__name__)


class Failures:
    """Questions that failed: reported on stderr as they are met, and the exit code they lead to."""

    def __init__(self, strict: bool, report: Callable[[list[str], int], None]) -> None:
        """With `strict` the first failure is raised instead; `report` writes the lines and the code of others."""
        self.code = OK
        self._strict = strict
        self._report = report

    def report(self, error: MmscError) -> None:
        """Report a failure: an unknown item leads to exit code 3, else a line that cannot be used to 1."""
        if self._strict:
            raise error
        code = GATE if isinstance(error, InputError) else exit_code(error)
        self._report(describe(error), code)
        self.code = max(self.code, code)


def named_items(recommender: Recommender, ids: Sequence[str], ask: AskItems, failures: Failures) -> Iterator[Answered]:
    """Answer items whose ids were typed; `ask` is the recommender's `answer` with all its options."""
    for item_id, outcome in zip(ids, ask(ids), strict=True):
        if isinstance(outcome, MmscError):
            failures.report(outcome)
        else:
            yield recommender.title(item_id), _rows(outcome)


def whole_catalogue(
    recommender: Recommender, ask: AskItems, failures: Failures, progress: Progress, shard: Shard = WHOLE
) -> Iterator[Answered]:
    """Answer every item, in the order of ids; of a shard, its run of them."""
    rows = shard.rows(len(recommender))
    with progress.task("Answering", len(rows)) as task:
        for start in range(0, len(rows), _SLICE):
            ids = [recommender.index.ids[row] for row in rows[start : start + _SLICE]]
            yield from named_items(recommender, ids, ask, failures)
            task.advance(len(ids))


def baskets(texts: Sequence[str], ask: AskItems, recommender: Recommender, failures: Failures) -> Iterator[Answered]:
    """Answer baskets, each a text of ids with commas between them."""
    for text in texts:
        ids = read_basket(text)
        for outcome in ask(ids):
            if isinstance(outcome, MmscError):
                failures.report(type(outcome)(f"--basket {text}: {outcome.message}", outcome.hint))
            else:
                yield " + ".join(filter(None, map(recommender.title, ids))), _rows(outcome)


def listed_items(recommender: Recommender, source: str, ask: AskItems, failures: Failures) -> Iterator[Answered]:
    """Answer items whose ids stand in a file, one a line."""
    return answered_lines(source, lambda line: line.text, lambda ids, _: ask(ids), recommender.title, failures)


def pairs(recommender: Recommender, source: str, explain: bool, failures: Failures) -> Iterator[Answered]:
    """Judge pairs of ids, two a line."""

    def judge(ends: Sequence[tuple[str, str]], _: Sequence[Line]) -> Outcomes:
        outcomes = recommender.judge(ends, explain)
        return (outcome if isinstance(outcome, MmscError) else [outcome] for outcome in outcomes)

    return answered_lines(source, parse_pair, judge, lambda _: "", failures)


def answered_lines(
    source: str,
    parse: Callable[[Line], Parsed],
    ask: Callable[[Sequence[Parsed], Sequence[Line]], Outcomes],
    heading: Callable[[Parsed], str],
    failures: Failures,
) -> Iterator[Answered]:
    """Answer the lines of a file in their order; all lines that can be read are answered before it waits for more.

    Args:
        source: the file, or `-`.
        parse: makes a question of a line, or raises InputError.
        ask: answers questions, given with their lines.
        heading: the heading of the table that answers a question.
        failures: reports lines that cannot be used and questions without an answer.

    Raises:
        InputError: there is no such file (at once).
    """
    return _answered(read_lines(source), parse, ask, heading, failures)


def _answered(
    batches: Iterator[list[Line | InputError]],
    parse: Callable[[Line], Parsed],
    ask: Callable[[Sequence[Parsed], Sequence[Line]], Outcomes],
    heading: Callable[[Parsed], str],
    failures: Failures,
) -> Iterator[Answered]:
    def answer(lines: Sequence[Line], questions: Sequence[Parsed]) -> Iterator[Answered]:
        for line, question, outcome in zip(lines, questions, ask(questions, lines), strict=True):
            if isinstance(outcome, UnknownItemError) and line.number == 1 and _is_header(line):
                _LOG.info("%s: passed over as the names of columns", line.place)
            elif isinstance(outcome, MmscError):
                failures.report(type(outcome)(f"{line.place}: {outcome.message}", outcome.hint))
            else:
                yield heading(question), _rows(outcome)

    sys.stdout.flush()
    for batch in batches:
        lines: list[Line] = []
        questions: list[Parsed] = []
        for line in batch:
            try:
                if isinstance(line, InputError):
                    raise line
                questions.append(parse(line))
                lines.append(line)
            except InputError as error:
                yield from answer(lines, questions)  # a strict run ends here, and these come before
                lines, questions = [], []
                failures.report(error)
        yield from answer(lines, questions)
        sys.stdout.flush()


def _rows(outcome: Sequence[Answer | PairOpinion]) -> list[dict[str, Any]]:
    return [answer._asdict() for answer in outcome]


def _is_header(line: Line) -> bool:
    """Whether a first line names columns of ids instead of items."""
    from mmsc_cli.prepare.sources.aliases import ALIASES  # noqa: PLC0415  brings pyarrow

    def plain(name: str) -> str:
        return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")  # `Art.-Nr.` and `art_nr` are one name

    names = {plain(name) for column in ("item_id", "item", "a", "b") for name in (column, *ALIASES[column])}
    return all(plain(word) in names for word in re.split("[\t,;]", line.text))
