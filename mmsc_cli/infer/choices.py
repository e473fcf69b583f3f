"""Which answers are wanted, as people ask for them: on the command line, and in requests to `serve`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mmsc_cli.errors import InputError
from mmsc_cli.infer.answers import Asked
from mmsc_cli.tables.relations import RELATIONS, Relation

if TYPE_CHECKING:
    from mmsc_cli.index.filters import Filters

# Items of a basket.
LONGEST_BASKET = 100


@dataclass(frozen=True)
class Choices:
    """Conditions on answers. Errors name each as an option, such as `--min-score`.

    Attributes:
        novel: leave out pairs known from training.
        min_score: lowest scores as text, `3` for both relations or `complement=3` for one.
        min_truth: the lowest probability that the student of labels gives the relation.
        same_category: only answers of the query's category; with `other_category`, only substitutes.
        other_category: only answers of another category; with `same_category`, only complements.
        price_within: the largest difference of a substitute's price, such as `20%`.
        in_stock: the only ids that may be answers.
        where: conditions on kept columns, such as `colour=red`.
        variants: several variants of one product may be answers.
        diversify: complements of different product types first.
        overlap: an item may be both a substitute and a complement of a query.
    """

    novel: bool = False
    min_score: Sequence[str] = field(default_factory=list)
    min_truth: float | None = None
    same_category: bool = False
    other_category: bool = False
    price_within: str | None = None
    in_stock: Collection[str] | None = None
    where: Sequence[str] = ()
    variants: bool = False
    diversify: bool = False
    overlap: bool = False

    def check(self, relation: Asked) -> None:
        """Refuse conditions that exclude one another or mean nothing in the relation.

        Raises:
            InputError: there is one.
        """
        if self.same_category and self.other_category and relation != "both":
            raise InputError("--same-category and --other-category exclude one another", hint="leave one of them out")
        if self.overlap and relation != "both":
            raise InputError("--overlap is for --relation both", hint="leave it out")
        if self.price_within is not None and relation == "complement":
            raise InputError("--price-within is for substitutes", hint="leave it out, or ask for --relation substitute")
        if self.diversify and relation == "substitute":
            raise InputError("--diversify is for complements", hint="leave it out, or ask for --relation complement")

    def filters(self) -> dict[Relation, Filters]:
        """The filters of each relation.

        Raises:
            InputError: a score or a percentage is none.
        """
        from mmsc_cli.index.filters import Filters  # noqa: PLC0415  brings numpy

        same, other = self.same_category, self.other_category
        in_stock = None if self.in_stock is None else frozenset(self.in_stock)
        scores = _scores(self.min_score)
        return {
            relation: Filters(
                novel=self.novel,
                min_score=scores[relation],
                min_truth=self.min_truth,
                category="same" if same and not (other and relation == "complement") else "other" if other else None,
                price_within=None if self.price_within is None else _fraction(self.price_within),
                in_stock=in_stock,
                where=self.where,
                variants=self.variants,
                diversify=self.diversify,
            )
            for relation in RELATIONS
        }


def _scores(given: Sequence[str]) -> dict[Relation, float | None]:
    """What --min-score says, per relation."""
    scores: dict[Relation, float | None] = dict.fromkeys(RELATIONS)
    for text in given:
        name, _, number = text.rpartition("=")
        relations = [relation for relation in RELATIONS if name in ("", relation)]
        try:
            scores |= dict.fromkeys(relations, float(number))
        except ValueError:
            relations = []
        if not relations:
            raise InputError(f"--min-score {text}: not a score", hint="for example --min-score 3, or complement=3")
    return scores


def _fraction(text: str) -> float:
    """`20%` as 0.2."""
    number = text.removesuffix("%").strip()
    try:
        fraction = float(number) / 100
    except ValueError:
        raise InputError(f"--price-within {text}: not a percentage", hint="for example --price-within 20%") from None
    if not text.endswith("%"):
        value = 100 * fraction
        meant = f"{value if value >= 1 else 100 * value:g}%"  # 0.2 is how Python writes 20%
        raise InputError(f"--price-within {text}: did you mean {meant}?", hint=f"write --price-within {meant}")
    return fraction
