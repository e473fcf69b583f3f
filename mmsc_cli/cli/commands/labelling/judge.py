"""`mmsc judge`."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.plain_words import counted

KEYS = {"s": "substitute", "c": "complement", "n": "neither"}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "judge",
        "mmsc judge -n 100",
        "mmsc judge -n 20 --who anna",
        "mmsc label --model rules --gold workspace/judgements.parquet",
        shared=("workspace", "as_json", "quiet", "log_format", "seed"),
    )
    def judge_command(
        session: Session,
        count: Annotated[int, typer.Option("-n", min=1, metavar="N", help="Number of pairs.")] = 100,
        who: Annotated[
            str | None, typer.Option(metavar="NAME", help="Who judges; default: the name of the login.")
        ] = None,
    ) -> None:
        """Judge pairs by hand: substitute, complement or neither.

        Shows pairs without what mmsc thinks of them: some of its answers, the annotator's doubts, and any two items.
        Type s, c or n, Enter alone to skip, q to stop. Every answer is kept at once in judgements.parquet. Training
        uses them as labels, `label --gold` measures annotators by them, and `evaluate` the precision of the answers.
        """
        from mmsc_cli.label.people.judging import Judging, in_lines  # noqa: PLC0415  brings pyarrow

        judging = Judging(session.workspace, who or os.environ.get("USER") or getpass.getuser())
        pairs = judging.pairs(count, session.seed or 1)
        if not pairs:
            raise InputError("there is no pair left to judge", hint="you have judged every pair of items")
        if len(pairs) < count:
            session.out.note(f"{counted(len(pairs), 'pair')} left to judge, fewer than {count}")
        done = 0
        for number, pair in enumerate(pairs, start=1):
            for letter, row in (("A", pair.a), ("B", pair.b)):
                for name, text in in_lines(letter, judging.item(row)):
                    session.out.note(f"{name:>12}  {text}")
            answer = _asked(f"[{number}/{len(pairs)}] s, c, n, Enter or q: ")
            if answer == "q":
                break
            if answer in KEYS:
                judging.keep(pair, KEYS[answer], datetime.now(UTC))
                done += 1
        session.out.result(
            {"judged": done, "file": str(judging.path)},
            f"{counted(done, 'pair')} judged, kept in {judging.path}; `mmsc train` uses them",
        )


def _asked(prompt: str) -> str:
    """What is typed, one of the keys, q or nothing; the end of stdin means q."""
    # Not Typer's prompt, which makes one error of the end of stdin and of Ctrl-C.
    while True:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        try:
            typed = sys.stdin.readline() if sys.stdin is not None else ""
        except UnicodeDecodeError:
            typed = "?"
        answer = typed.strip().lower()[:1] if typed else "q"
        if answer in ("", "q", *KEYS):
            return answer
        sys.stderr.write("s for substitutes, c for complements, n for neither; Enter alone skips, q stops\n")
