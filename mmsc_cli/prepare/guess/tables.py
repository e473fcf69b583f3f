"""Whether a file holds items, events, pairs of items, or Amazon's metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.guess.head import Head
from mmsc_cli.prepare.guess.roles import has_event_words, item_columns, log_columns, pair_columns
from mmsc_cli.prepare.settings import EventType
from mmsc_cli.prepare.sources.aliases import ITEM_FORMATS, LOG_FORMATS, Format, alike, known_format

Kind = Literal["items", "events", "pairs", "amazon"]
_AMAZON = {"related", "also_buy", "also_view", "imUrl", "imageURL", "imageURLHighRes", "salesRank"}
# So many known columns tell what a file is that lacks another.
_TELLING = 2


@dataclass(frozen=True)
class Table:
    """A file of which it is known what it holds.

    Attributes:
        columns: our columns to the file's, as guessed; of a known export only what differs from it.
        export: the known export that it is.
        missing: our columns that it must have, and of which nobody knows what it calls them.
        rows: what all rows of a log are that has no column of types and is no known export.
    """

    head: Head
    kind: Kind
    columns: dict[str, str] = field(default_factory=dict)
    export: Format | None = None
    missing: tuple[str, ...] = ()
    rows: EventType | None = None

    @property
    def layout(self) -> tuple[object, ...]:
        """Equal for files that one mapping of columns reads."""
        return self.kind, self.export.name if self.export else (self.rows, *sorted(self.columns.items()))


def recognise(head: Head) -> Table:
    """Tell what a file holds. One that lacks a column is what its other columns say that it is.

    Raises:
        InputError: it cannot be told.
    """
    names = head.names
    if (export := known_format(LOG_FORMATS, names)) is not None:
        return Table(head, "events", {}, export)
    if (export := known_format(ITEM_FORMATS, names)) is not None:
        return Table(head, "items", {}, export)
    if "asin" in names and _AMAZON.intersection(names):
        return Table(head, "amazon")
    pairs = pair_columns(head)
    if pairs.keys() & {"co_view", "co_purchase"}:
        return Table(head, "pairs", pairs)
    log, items = log_columns(head), item_columns(head)
    if _is_log(head, log, items):
        return Table(head, "events", log)
    is_incomplete_log = "title" not in items and _has_events(head, log)
    if "item_id" in items and len(items) > 1 and not is_incomplete_log:
        return Table(head, "items", items)
    if not pairs and (incomplete := _incomplete(head, log, items)) is not None:
        return incomplete
    raise InputError(
        f"{head.path}: neither items nor events nor pairs: {_missing(head, log, pairs)}; its columns are {names}",
        hint="name the columns in a recipe: `mmsc recipes copy my-events shop.toml`, edit it, `mmsc run shop.toml`",
    )


def _incomplete(head: Head, log: dict[str, str], items: dict[str, str]) -> Table | None:
    """A catalogue without an id, or a log without sessions or items."""
    has_events = _has_events(head, log)
    if "title" in items and len(items) > _TELLING and not has_events:
        return Table(head, "items", items, missing=("item_id",))
    missing = tuple(name for name in ("session", "item") if name not in log)
    if len(log) >= _TELLING and (has_events or len(missing) == 1):
        return Table(head, "events", log, missing=missing)
    return None


def _has_events(head: Head, log: dict[str, str]) -> bool:
    return "type" in log and has_event_words(head.texts(log["type"]))


def _is_log(head: Head, log: dict[str, str], items: dict[str, str]) -> bool:
    if not {"item", "session"} <= log.keys():
        return False
    if _has_events(head, log):
        return True
    texts = head.texts(log["item"])
    # Each item once, with a title: a catalogue that says when an item was made, and by whom.
    if "title" in items and len(set(texts)) == len(texts) > 1:
        return False
    return bool(log.keys() & {"type", "time", "quantity"}) or len(set(texts)) < len(texts)


def _missing(head: Head, log: dict[str, str], pairs: dict[str, str]) -> str:
    for name in ("co_view", "co_purchase") if pairs else ():
        if (theirs := alike(name, head.names)) is not None:
            return f"two columns of ids, but {theirs!r} holds {head.texts(theirs)[:1]}, which is no number"
    if pairs:
        return "two columns of ids, but none that says how often both were viewed (co_view) or bought (co_purchase)"
    lacking = [name for name in ("session", "item") if name not in log]
    return f"as a log it lacks the column {' and '.join(lacking)}, as a catalogue an id and a title"
