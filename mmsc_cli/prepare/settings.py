"""What a recipe says about its source, images and hold-out."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.places.address import check_database
from mmsc_cli.runtime.settings import EFFORT, AboveZero, Address, Fraction, PathText, Positive, Settings

ItemColumn = Literal[
    "item_id", "title", "description", "brand", "category", "price", "image_url", "image_path", "group"
]
PairColumn = Literal["a", "b", "co_view", "co_purchase"]
Column = Literal[ItemColumn, PairColumn]
EventColumn = Literal["session", "item", "type", "time", "quantity"]
EventType = Literal["view", "purchase"]
IdMatch = Literal["exact", "case", "zeros", "decimals", "punctuation", "last-part", "first-part"]
CategorySeparator = Annotated[
    str | None,
    Field(min_length=1, description="parts the names of a category; none: `>`, or `|` or `/` where every path has it"),
]

MatchIds = Annotated[
    IdMatch,
    Field(
        description="when an id of the log or of pairs is an item's: as it is, without case, leading zeros, .0, "
        "or punctuation, or by its last or first part"
    ),
]


def _once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a column is named twice")
    return names


Keep = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], AfterValidator(_once)]
Paths = PathText | Annotated[list[PathText], Field(min_length=1)]
SourceTable = Literal["items", "events", "pairs"]
Query = Annotated[str, Field(min_length=1)]


class SqlSettings(Settings):
    """Tables of the source that a query of a database reads, in place of files (extra `sql`)."""

    uri: Annotated[str, AfterValidator(check_database)] = Field(
        description="postgresql://user@host/database, or sqlite:///file.db, relative to the recipe; the password comes "
        "from PGPASSWORD or ~/.pgpass"
    )
    query: Query | Annotated[dict[SourceTable, Query], Field(min_length=1)] = Field(
        description="a SELECT of the events (or the pairs), or one for each table: [source.sql.query] items = ..."
    )


def _queries(sql: SqlSettings | None, main: SourceTable) -> dict[SourceTable, str]:
    """The query of each table; a query alone is that of the main one."""
    if sql is None:
        return {}
    return {main: sql.query} if isinstance(sql.query, str) else sql.query


def _check_tables(files: dict[SourceTable, Paths | None], queries: dict[SourceTable, str], needed: set[str]) -> None:
    """Refuse a table that is told twice, one that the source does not have, and one that is missing."""
    for name in queries:
        if name not in files:
            raise ValueError(f"sql.query.{name}: this kind of source has no {name}")
    for name, paths in files.items():
        if paths is not None and name in queries:
            raise ValueError(f"{name} is told twice: give its files or its query under [source.sql]")
        if name in needed and paths is None and name not in queries:
            raise ValueError(f"{name} is missing: name its files, or give a query under [source.sql]")


class AmazonSource(Settings):
    """Amazon product metadata, 2014 or 2018 schema (recognised by content)."""

    kind: Literal["amazon"]
    url: Address | None = Field(default=None, description="https URL of the gzip file")
    size: Positive | None = Field(default=None, description="bytes of that file, where known")
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="of that file, where known")
    allow_truncated: bool = Field(default=False, description="keep the whole records of a file that is cut short")


class TableSource(Settings):
    """Your own catalogue: a file of items and a file of pairs; paths are relative to the recipe."""

    kind: Literal["table"]
    items: Paths | None = Field(
        default=None, description="of items: a file, a folder, a pattern, or a list; also in a bucket (s3://, gs://)"
    )
    pairs: Paths | None = Field(default=None, description="of pairs: as for items")
    columns: dict[Column, str] = Field(default_factory=dict, description="our column name = yours")
    category_separator: CategorySeparator = None
    match_ids: MatchIds = "exact"
    keep: Keep = Field(default=[], description="columns of the items that are kept for --where and --columns")
    sql: SqlSettings | None = None

    @property
    def queries(self) -> dict[SourceTable, str]:
        """The queries of tables that are read from a database."""
        return _queries(self.sql, "pairs")

    @model_validator(mode="after")
    def _has_its_tables(self) -> TableSource:
        _check_tables({"items": self.items, "pairs": self.pairs}, self.queries, {"items", "pairs"})
        return self


class LogSettings(Settings):
    """Files of the log that are read by columns of their own."""

    files: Paths = Field(
        description="which files of events: names (visits.csv), ends of paths (visits/*.csv), patterns, or a list"
    )
    columns: dict[EventColumn, str] = Field(
        default_factory=dict, description="our name = yours in these files; [source.columns] does not count for them"
    )
    rows: EventType | None = Field(
        default=None, description="what every row is, where no column says it; none: a purchase"
    )

    @model_validator(mode="after")
    def _says_types_once(self) -> LogSettings:
        if self.rows is not None and "type" in self.columns:
            raise ValueError("rows says what every row is, and columns.type names a column that does: give one of them")
        return self


class EventsSource(Settings):
    """A log of what shoppers viewed and bought; paths are relative to the recipe."""

    kind: Literal["events"]
    events: Paths | None = Field(
        default=None,
        description="CSV, JSON lines or Parquet, also packed: a file, a folder, a pattern such as log-*.csv, or a "
        "list; also in a bucket (s3://, gs://)",
    )
    items: Paths | None = Field(default=None, description="as for events; none: only ids are known")
    columns: dict[Literal[ItemColumn, EventColumn], str] = Field(default_factory=dict, description="our name = yours")
    category_separator: CategorySeparator = None
    match_ids: MatchIds = "exact"
    keep: Keep = Field(default=[], description="columns of the items that are kept for --where and --columns")
    types: dict[EventType, list[str]] = Field(
        default={"view": ["view"], "purchase": ["purchase"]}, description="what your log calls them"
    )
    score: Literal["npmi", "llr"] = Field(default="npmi", description="how the strength of a pair is computed")
    min_support: Positive | dict[EventType, Positive] | None = Field(
        default=None, description="sessions in which a pair must occur; none: the one that ranks held-out pairs best"
    )
    session_items: Annotated[int, Field(ge=2)] = Field(
        default=50, description="items of a session that count per type, the earliest first"
    )
    window_minutes: AboveZero | None = Field(
        default=None, description="maximum time between two events of a pair; none: the whole session"
    )
    day_first: bool | None = Field(
        default=None, description="whether 1/2/2024 is 1 February; none: other dates of the column decide"
    )
    since: datetime | date | Annotated[str, Field(pattern="^[1-9][0-9]{0,4}d$")] | None = Field(
        default=None, description='events before this are left out: a date, or days back from the newest event ("90d")'
    )
    until: datetime | date | None = Field(default=None, description="events from this on are left out")
    memory_gib: Annotated[float, Field(ge=0.25), EFFORT] = Field(
        default=2.0, description="memory for the work; beyond it, the disk is used"
    )
    logs: list[LogSettings] = Field(
        default=[], description="files of events with other columns: visits beside orders, each a [[source.logs]]"
    )
    sql: SqlSettings | None = None

    @property
    def queries(self) -> dict[SourceTable, str]:
        """The queries of tables that are read from a database."""
        return _queries(self.sql, "events")

    @property
    def has_items(self) -> bool:
        """Whether it has a table of items, beside the ids of the log."""
        return self.items is not None or "items" in self.queries

    @model_validator(mode="after")
    def _has_its_tables(self) -> EventsSource:
        _check_tables({"items": self.items, "events": self.events}, self.queries, {"events"})
        return self

    @model_validator(mode="after")
    def _keeps_columns_of_items(self) -> EventsSource:
        if self.keep and not self.has_items:
            raise ValueError("keep names columns of the items, and the source names no items")
        return self


class DemoSource(Settings):
    """A synthetic catalogue with simulated shoppers, whose true relations are known."""

    kind: Literal["demo"]
    items: Annotated[int, Field(ge=200)] = Field(default=2_000, description="size of the catalogue")
    sessions_per_item: AboveZero = Field(default=40, description="simulated visits, per item")
    noise: Fraction = Field(default=0.25, description="fraction of the shoppers' choices that mislead")
    images: bool = Field(default=True, description="draw an image of each item")


Source = Annotated[AmazonSource | TableSource | EventsSource | DemoSource, Field(discriminator="kind")]


class ImageSettings(DownloadSettings):
    """Images other than those that an item file names by path: from a folder, or from the web."""

    folder: PathText | None = Field(
        default=None, description="of images named by item id (B00X.jpg), relative to the recipe"
    )
    download: bool = Field(default=False, description="fetch images from the web; else only local files are used")
    allow_outside: bool = Field(
        default=False, description="use files that an image_path names outside the folder of the item file"
    )


class SplitSettings(Settings):
    """Fractions held out: of the pairs between warm items, and of the items."""

    valid: Fraction = Field(default=0.1, description="of the pairs between warm items, for validation")
    test: Fraction = Field(default=0.1, description="of the pairs between warm items, for the test")
    cold_valid: Fraction = Field(default=0.05, description="of the items, with all their pairs, for validation")
    cold_test: Fraction = Field(default=0.05, description="of the items, with all their pairs, for the test")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> SplitSettings:
        if self.valid + self.test >= 1 or self.cold_valid + self.cold_test >= 1:
            raise ValueError("the held-out fractions must leave something to train on")
        return self
