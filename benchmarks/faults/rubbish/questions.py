"""The lines that `infer` reads: ids, pairs of ids, and new items."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import httpcore

from benchmarks.faults.rubbish.target import Tally, Target, scratch_file
from mmsc_cli.cli import questions
from mmsc_cli.cli.formats import Answered, choose_form, typed_columns
from mmsc_cli.cli.output import Output
from mmsc_cli.cli.questions import Failures
from mmsc_cli.errors import MmscError
from mmsc_cli.infer.answers import COLUMNS, Answer
from mmsc_cli.infer.new_item import parse_new_item
from mmsc_cli.infer.probabilities import COLUMNS as PAIR_COLUMNS
from mmsc_cli.infer.probabilities import PairOpinion
from mmsc_cli.infer.recommender import Recommender

Ask = Callable[[str, Failures], Iterator[Answered]]


class _CountedFailures(Failures):
    """Counts failures."""

    count = 0

    def report(self, error: MmscError) -> None:
        self.count += 1
        super().report(error)


async def _nowhere(host: str, port: int) -> list[str]:
    raise httpcore.ConnectError(f"{host}: there is no network here")


def _check(ask: Ask, kind: type, columns: Sequence[str]) -> Callable[[bytes], Tally]:
    """Every line that is not blank is answered, or has an error of its own; and the answers can be written."""

    def check(content: bytes) -> Tally:
        path = scratch_file("lines.txt", content)
        tally = Tally(sum(map(_says_something, enumerate(content.split(b"\n")))))

        failures = _CountedFailures(strict=False, report=lambda _, __: None)

        def counted() -> Iterator[Answered]:
            nonlocal tally
            for answered in ask(str(path), failures):
                tally = replace(tally, kept=tally.kept + 1)
                yield answered

        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()),
            # Addresses of images lead nowhere, at once.
            patch("mmsc_cli.files.web.public_network._resolve", _nowhere),
        ):
            choose_form(Output(quiet=True), typed_columns(kind, columns), "tsv")(counted())
        tally = replace(tally, skipped=failures.count)
        header, *lines = out.getvalue().split("\n")[:-1]
        if any(line.count("\t") != header.count("\t") for line in lines):
            raise AssertionError("a line of the answer has not as many cells as the header")
        return tally.checked("lines")

    return check


def _says_something(numbered: tuple[int, bytes]) -> bool:
    number, raw = numbered
    try:
        return bool(raw.decode("utf-8-sig" if number == 0 else "utf-8").strip())
    except UnicodeDecodeError:
        return True


def question_targets(workspace: Path) -> list[Target]:
    """The three kinds of lines, put to a trained workspace."""
    recommender = Recommender.open(workspace)
    first, second = recommender.index.ids[0], recommender.index.ids[1]

    def ids(source: str, failures: Failures) -> Iterator[Answered]:
        return questions.listed_items(recommender, source, functools.partial(recommender.answer, k=2), failures)

    def pairs(source: str, failures: Failures) -> Iterator[Answered]:
        return questions.pairs(recommender, source, False, failures)

    def new(source: str, failures: Failures) -> Iterator[Answered]:
        return questions.answered_lines(
            source,
            lambda line: parse_new_item(line.text, line.place),
            lambda items, lines: recommender.answer_new(items, k=2, names=[str(line.number) for line in lines]),
            lambda item: item.title,
            failures,
        )

    items = [
        {"id": "N1", "title": "Two-person tent", "brand": "Renix", "category": ["Camping", "Tents"], "price": 29.5},
        {"title": "=cmd()", "description": "\u202e\x1b[2J"},
        {"image_path": "/dev/null"},
        {"title": "x", "image_url": "https://images.example/x.jpg"},
    ]
    new_lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    return [
        Target("--items-from", _check(ids, Answer, COLUMNS), lambda: [f"{first}\n\n{second}\nnowhere".encode()]),
        Target(
            "--pairs",
            _check(pairs, PairOpinion, PAIR_COLUMNS),
            lambda: [f"{first}\t{second}\n{first},nowhere\n{second} {first}\n{first}\n".encode()],
        ),
        Target("--new", _check(new, Answer, (*COLUMNS, "modalities")), lambda: [new_lines, *new_lines.splitlines()]),
    ]
