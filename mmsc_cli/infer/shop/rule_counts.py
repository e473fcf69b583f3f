"""What the rules of the shop did to answers, counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mmsc_cli.errors import MmscError
from mmsc_cli.infer.answers import Answers


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

    @classmethod
    def of(cls, answers: Answers) -> RuleCounts:
        """The counts over the answers to one question."""
        counts = cls()
        counts._count(answers)
        return counts

    def watch(self, outcomes: Iterable[Answers | MmscError]) -> Iterator[Answers | MmscError]:
        """Pass outcomes on, and count what the rules did to them."""
        for outcome in outcomes:
            if not isinstance(outcome, MmscError):
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

    def of_rules(self) -> dict[str, int]:
        """What the rules did, by kind."""
        return {"blocked": self.blocked, "pinned": self.pinned, "boosted": self.boosted}

    def in_words(self) -> str:
        """The counts of the rules in one line."""
        kinds = [f"{count:,} {kind}" for kind, count in self.of_rules().items()]
        items = "item" if self.questions == 1 else "items"
        return f"rules changed the answers of {self.changed:,} of {self.questions:,} {items}: {', '.join(kinds)}"
