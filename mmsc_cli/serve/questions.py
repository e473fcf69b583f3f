"""What a request may say, and how it is read: the choices of `infer` as query parameters and in JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mmsc_cli.errors import InputError
from mmsc_cli.infer.choices import LONGEST_BASKET, Choices
from mmsc_cli.runtime.plain_words import in_plain_words
from mmsc_cli.serve.settings import Limits

LIMITS = Limits()
Model = TypeVar("Model", bound=BaseModel)
Id = Annotated[str, Field(min_length=1, max_length=1_024)]


def _texts(value: Any) -> Any:
    """A number or a text as the one value of several, and numbers among several as text; anything else as it is."""
    values = [value] if isinstance(value, str | float | int) and not isinstance(value, bool) else value
    if not isinstance(values, list | tuple):
        return values
    return [f"{one}" if isinstance(one, float | int) and not isinstance(one, bool) else one for one in values]


_Score = Annotated[str, Field(max_length=40)]
_Condition = Annotated[str, Field(max_length=1_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Choosing(_Strict):
    """Which answers are wanted, and what is said of each; as the options of `mmsc infer`."""

    k: int = Field(10, ge=1, le=LIMITS.answers, description="Number of answers per relation.")
    novel: bool = Field(False, description="Leave out pairs known from training.")
    min_score: Annotated[
        tuple[_Score, ...],
        Field(max_length=2),
        BeforeValidator(_texts, json_schema_input_type=float | _Score | list[float | _Score]),
    ] = Field((), description="Lowest score: `3`, or `complement=3` for one relation; or a list of two.")
    min_truth: float | None = Field(
        None, ge=0, le=1, description="Lowest probability that the student of labels gives the relation."
    )
    same_category: bool = Field(False, description="Only answers of the query's category.")
    other_category: bool = Field(False, description="Only answers of another category.")
    price_within: str | None = Field(None, max_length=40, description="Largest difference in price, such as `20%`.")
    in_stock: bool = Field(False, description="Only answers that are in stock, as `PUT /v1/stock` said.")
    where: Annotated[
        tuple[_Condition, ...],
        Field(max_length=20),
        BeforeValidator(_texts, json_schema_input_type=_Condition | list[_Condition]),
    ] = Field((), description="A condition on kept columns, such as `colour=red` or `weight<=2.5`, or a list of them.")
    variants: bool = Field(False, description="Allow several variants of one product.")
    diversify: bool = Field(False, description="Complements of different product types first.")
    fallback: bool = Field(False, description="Fill lists that are too short with bestsellers.")
    distinct: float | None = Field(
        None, ge=0, le=1, description="Share of the ranking by pairs of one relation alone; default: as trained."
    )
    columns: str | None = Field(
        None, max_length=400, description="Further columns of the item table, separated by commas."
    )
    explain: bool = Field(False, description="Add the reasons.")

    def choices(self, in_stock: frozenset[str] | None, overlap: bool = False) -> Choices:
        """The same, as the library takes it; `in_stock` are the ids that are."""
        return Choices(
            novel=self.novel,
            min_score=self.min_score,
            min_truth=self.min_truth,
            same_category=self.same_category,
            other_category=self.other_category,
            price_within=self.price_within,
            in_stock=in_stock if self.in_stock else None,
            where=self.where,
            variants=self.variants,
            diversify=self.diversify,
            overlap=overlap,
        )

    @property
    def more(self) -> list[str]:
        """The further columns."""
        return [name.strip() for name in (self.columns or "").split(",") if name.strip()]


class NewItemBody(_Strict):
    """An item that is not in the catalogue. Files of the server cannot be named."""

    id: Id | None = None
    title: str = Field("", max_length=10_000)
    description: str = Field("", max_length=100_000)
    brand: str = Field("", max_length=1_000)
    category: list[Annotated[str, Field(max_length=1_000)]] = Field(default_factory=list, max_length=50)
    price: float | None = Field(default=None, gt=0)
    image_url: str | None = Field(default=None, max_length=4_000)


class Question(_Strict):
    """An item of the catalogue by its `id`, a `new` one, or a `basket` of ids, whose complements are asked for."""

    id: Id | None = None
    new: NewItemBody | None = None
    # One that is empty or too large is a problem of this question, not of the whole batch.
    basket: list[Id] | None = Field(default=None, description=f"1 to {LONGEST_BASKET} ids.")


class AnswersBody(Choosing):
    """Many questions, and what is wanted of all of them."""

    questions: list[Question] = Field(min_length=1, max_length=LIMITS.questions)
    relation: Literal["substitute", "complement", "both"] = "both"
    overlap: bool = Field(False, description="An item may be both a substitute and a complement of a query.")


class PairsBody(_Strict):
    """Pairs of ids to judge."""

    pairs: list[tuple[Id, Id]] = Field(min_length=1, max_length=LIMITS.questions)
    explain: bool = Field(False, description="Add the reasons.")


class StockBody(_Strict):
    """The ids that are in stock."""

    ids: list[Annotated[str, Field(max_length=1_024)]]


_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]


class PairsQuery(_Strict):
    """Which pairs a person is to judge."""

    who: _Name = Field("page", description="Who judges; pairs that this person has judged are left out.")
    n: int = Field(20, ge=1, le=100, description="Number of pairs.")
    seed: int = Field(1, ge=0, le=2**31, description="Of the draw: another one gives other pairs.")


class JudgementBody(_Strict):
    """What a person says of a pair; of several judgements of one person the last counts."""

    a: Id
    b: Id
    label: Literal["substitute", "complement", "neither"]
    who: _Name = "page"
    source: Literal["answers", "doubts", "random"] = Field(description="As it was given out with the pair.")


class SearchQuery(_Strict):
    """Words to look for in titles and ids."""

    q: str = Field(min_length=1, max_length=200, description="Words of a title, or a part of an id.")
    k: int = Field(20, ge=1, le=100, description="Number of items.")


@lru_cache(1_024)
def read_choosing(query: bytes) -> Choosing:
    """Read query parameters.

    Raises:
        InputError: one is unknown, repeated, or of another type.
    """
    return read_query(Choosing, query)


def read_query(model: type[Model], query: bytes) -> Model:
    """Read query parameters as a model; a parameter of several values is repeated.

    Raises:
        InputError: one is unknown, repeated, or of another type.
    """
    given: dict[str, Any] = {}
    try:
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=50):
            if name in ("min_score", "where"):
                given.setdefault(name, []).append(value)
            elif name in given:
                raise InputError(f"{name} is given twice", hint="give it once")
            else:
                given[name] = value
        return model.model_validate(given)
    except ValidationError as error:
        raise InputError(describe(error)) from error
    except ValueError as error:
        raise InputError(f"the query cannot be read: {error}") from error


def describe(error: ValidationError) -> str:
    """Return what is wrong, field by field, in plain words."""
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])) or 'the request'} {in_plain_words(wrong['msg'])}"
        for wrong in error.errors()[:5]
    )


def parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Return the fields of a model as query parameters of an OpenAPI document."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]
