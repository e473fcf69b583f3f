"""What the rules of the shop did to answers, counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from mmsc_cli.infer.answers import Answers

Outcome = TypeVar("Outcome")


@dataclass
class RuleCounts:
    """Counts over outcomes.

    Attributes:
        questions: questions that were answered.
        changed: those whose answers the rules changed.
        blocked: answers that the rules left out: they would have been among the best.
        pinned: answers at the place that a rule gives them.
        boosted: answers whose score a rule changed.
        bestsellers: answers that fill a list (`--fallback`), which is no rule and changes no `changed`.
    """

    questions: int = 0
    changed: int = 0
    blocked: int = 0
    pinned: int = 0
    boosted: int = 0
    bestsellers: int = 0

    def watch(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Pass outcomes on, and count what the rules did to them."""
        for outcome in outcomes:
            if isinstance(outcome, Answers):
                self._count(outcome)
            yield outcome

    def _count(self, answers: Answers) -> None:
        sources = [answer.source for answer in answers]
        pinned, boosted = sources.count("pinned"), sources.count("boosted")
        self.questions += 1
        self.changed += bool(answers.blocked or pinned or boosted)
        self.blocked += answers.blocked
        self.pinned += pinned
        self.boosted += boosted
        self.bestsellers += sources.count("bestseller")

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)

    def in_words(self) -> str:
        """The counts of the rules in one line."""
        kinds: Sequence[str] = [f"{getattr(self, kind):,} {kind}" for kind in ("blocked", "pinned", "boosted")]
        items = "item" if self.questions == 1 else "items"
        return f"rules changed the answers of {self.changed:,} of {self.questions:,} {items}: {', '.join(kinds)}"
