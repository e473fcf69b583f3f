"""Whether the ids of a log are those of a catalogue, and which change of spelling makes them meet."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.files.item_fields import is_missing, plain_text
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import IdMatch

_LOG = logging.getLogger(__name__)
# Below this fraction of the smaller side they hardly meet.
HARDLY = 0.1
# A column of another name holds the ids of the log if it has so many of them.
_MOST = 0.5
_CHANGES: dict[IdMatch, tuple[str, Callable[[str], str]]] = {
    "case": ("upper and lower case are ignored", str.casefold),
    "zeros": ("leading zeros are removed", lambda text: text.lstrip("0")),
    "decimals": ("a trailing .0 is removed", lambda text: text.removesuffix(".0")),
    "punctuation": ("blanks, dashes and underscores are removed", lambda text: re.sub(r"[\s_-]", "", text)),
    "last-part": (
        "only the part after the last _, -, : or / counts",
        lambda text: re.split(r"[_\-:/]", text)[-1],
    ),
    "first-part": (
        "only the part before the first _, -, : or / counts",
        lambda text: re.split(r"[_\-:/]", text)[0],
    ),
}


@dataclass(frozen=True)
class Catalogue:
    """The ids of a catalogue, and which of them stands for each group."""

    ids: set[str]
    group_of: dict[str, str]
    standing_for: dict[str, str]

    @property
    def names(self) -> AbstractSet[str]:
        """What a log may call an item: ids, and names of groups."""
        return self.ids | self.standing_for.keys()

    def unit(self, item_id: str) -> str:
        """The id that stands for an item's group or for the group of this name; of an item without one, its own."""
        group = self.group_of.get(item_id, item_id if item_id not in self.ids else None)
        return self.standing_for.get(group, item_id) if group is not None else item_id


def read_catalogue(delivery: Delivery) -> Catalogue:
    """The ids and groups of the records that were delivered."""
    ids: list[str] = []
    group_of: dict[str, str] = {}
    for part in delivery.parts("records"):
        table = pq.read_table(part, columns=["item_id", "group"])
        of_part = table["item_id"].to_pylist()
        ids += of_part
        group_of |= {item: group for item, group in zip(of_part, table["group"].to_pylist(), strict=True) if group}
    standing_for: dict[str, str] = {}
    for item_id in sorted(group_of):
        standing_for.setdefault(group_of[item_id], item_id)
    return Catalogue(set(ids), group_of, standing_for)


def matcher(catalogue: Catalogue, match: IdMatch) -> Callable[[str], str]:
    """Return what turns an id of the log into that of the catalogue which it equals after the change.

    An id that is in the catalogue, or that equals none or several of its ids, stays as it is.
    """
    if match == "exact":
        return lambda item_id: item_id
    _, change = _CHANGES[match]
    names = catalogue.names
    changed: dict[str, str | None] = {}
    for name in names:
        key = change(name)
        changed[key] = name if key not in changed else None

    def matched(item_id: str) -> str:
        return item_id if item_id in names else changed.get(change(item_id)) or item_id

    return matched


def change_that_meets(log: AbstractSet[str], catalogue: AbstractSet[str]) -> tuple[IdMatch, str] | None:
    """The setting `match_ids` with which most ids of the smaller side are in both, and what it does; None: none."""
    for match, (text, change) in _CHANGES.items():
        one, other = {change(item_id) for item_id in log}, {change(item_id) for item_id in catalogue}
        if len((one & other) - {""}) * 2 > min(len(one), len(other)):
            return match, text
    return None


def check_ids_meet(
    log_ids: AbstractSet[str],
    catalogue: Catalogue,
    delivery: Delivery,
    item_files: Sequence[Path] = (),
    name: str = "log",
) -> None:
    """Note how many ids are in a log and in the catalogue; warn where hardly any is, with three examples of each side.

    Args:
        log_ids: the ids of the log, or of pairs.
        catalogue: the ids of the items.
        delivery: told.
        item_files: the tables of the items, where another column may hold the ids of the log.
        name: what the log is called.

    Raises:
        InputError: none is in both.
    """
    _note(log_ids, catalogue, delivery, name)
    names = catalogue.names
    both = len(log_ids & names)
    smaller = min(len(log_ids), len(catalogue.ids))
    if not smaller or both >= HARDLY * smaller:
        return
    message = (
        f"{both:,} of the {len(log_ids):,} ids of the {name} are among the {len(catalogue.ids):,} of the items: "
        f"the {name} {'has' if name == 'log' else 'have'} {_examples(log_ids - names)}, "
        f"the items have {_examples(catalogue.ids - log_ids)}"
    )
    columns = "item and item_id" if name == "log" else "a, b and item_id"
    way = f"map the columns {columns} to the same ids under [source.columns]"
    if column := _column_that_meets(log_ids, item_files):
        message += f'; the column "{column}" of the items has them'
        way = f'write item_id = "{column}" under [source.columns]'
    elif change := change_that_meets(log_ids, catalogue.ids):
        message += f"; they would meet if {change[1]}"
        way = f'write match_ids = "{change[0]}" under [source], or use --set source.match_ids={change[0]}'
    if not both:
        raise InputError(message, hint=way)
    delivery.warnings.append(f"{message}: {way}")


def _column_that_meets(log_ids: AbstractSet[str], item_files: Sequence[Path]) -> str | None:
    """The column of the items, by their first rows, whose cells are most often ids of the log."""
    best = (_MOST, "")
    for path in item_files[:1]:
        table = read_table_file(path)
        for name, cells in next(table.blocks(list(table)), {}).items():
            texts = {plain_text(cell) for cell in cells if not is_missing(cell)} - {"", None}
            best = max(best, (len(log_ids & texts) / min(len(log_ids), len(texts) or 1), name))
    return best[1] or None


def _note(log_ids: AbstractSet[str], catalogue: Catalogue, delivery: Delivery, name: str) -> None:
    log_only = sorted(log_ids - catalogue.names)
    items_only = sorted(catalogue.ids - log_ids)
    delivery.notes["ids"] = {
        "both": len(log_ids) - len(log_only),
        "log_only": len(log_only),
        "items_only": len(items_only),
        "log_only_examples": log_only[:3],
        "items_only_examples": items_only[:3],
    }
    _LOG.info(
        "ids: %s in %s and items, %s in the %s alone%s, %s in the items alone%s",
        f"{len(log_ids) - len(log_only):,}",
        name,
        f"{len(log_only):,}",
        name,
        f" ({', '.join(log_only[:3])})" if log_only else "",
        f"{len(items_only):,}",
        f" ({', '.join(items_only[:3])})" if items_only else "",
    )


def _examples(ids: AbstractSet[str]) -> str:
    return ", ".join(map(repr, sorted(ids)[:3])) or "no others"
