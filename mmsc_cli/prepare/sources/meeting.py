"""Whether the ids of a log are those of a catalogue, and which change of spelling would make them meet."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import pyarrow.parquet as pq

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.records import Delivery

_LOG = logging.getLogger(__name__)
# Below this fraction of the smaller side they hardly meet.
_HARDLY = 0.1
_CHANGES: dict[str, Callable[[str], str]] = {
    "upper and lower case are ignored": str.casefold,
    "leading zeros are removed": lambda text: text.lstrip("0"),
    "a trailing .0 is removed": lambda text: text.removesuffix(".0"),
    "blanks, dashes and underscores are removed": lambda text: re.sub(r"[\s_-]", "", text),
    "only the part after the last _, -, : or / counts": lambda text: re.split(r"[_\-:/]", text)[-1],
    "only the part before the first _, -, : or / counts": lambda text: re.split(r"[_\-:/]", text)[0],
}


@dataclass(frozen=True)
class Catalogue:
    """The ids of a catalogue, and which of them stands for each group."""

    ids: set[str]
    group_of: dict[str, str]
    standing_for: dict[str, str]

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


def check_ids_meet(log_ids: AbstractSet[str], catalogue: Catalogue, delivery: Delivery, name: str = "log") -> None:
    """Note how many ids are in a log and in the catalogue; warn where hardly any is, with three examples of each side.

    Args:
        log_ids: the ids of the log, or of pairs.
        catalogue: the ids of the items.
        delivery: told.
        name: what the log is called.

    Raises:
        InputError: none is in both.
    """
    known = catalogue.ids | catalogue.standing_for.keys()
    _note(log_ids, catalogue, delivery, name)
    both = len(log_ids & known)
    smaller = min(len(log_ids), len(known))
    if not smaller or both >= _HARDLY * smaller:
        return
    change = _change_that_meets(log_ids, known)
    message = (
        f"{both:,} of the {len(log_ids):,} ids of the {name} are among the {len(known):,} of the items: "
        f"the {name} {'has' if name == 'log' else 'have'} {_examples(log_ids - known)}, "
        f"the items have {_examples(known - log_ids)}"
    )
    if change:
        message += f"; they would meet if {change}"
    if not both:
        columns = "item and item_id" if name == "log" else "a, b and item_id"
        raise InputError(message, hint=f"map the columns {columns} to the same ids under [source.columns]")
    delivery.warnings.append(message)


def _note(log_ids: AbstractSet[str], catalogue: Catalogue, delivery: Delivery, name: str) -> None:
    log_only = sorted(log_ids - catalogue.ids - catalogue.standing_for.keys())
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


def _change_that_meets(log: AbstractSet[str], catalogue: AbstractSet[str]) -> str | None:
    for text, change in _CHANGES.items():
        one, other = {change(item_id) for item_id in log}, {change(item_id) for item_id in catalogue}
        if len((one & other) - {""}) * 2 > min(len(one), len(other)):
            return text
    return None


def _examples(ids: AbstractSet[str]) -> str:
    return ", ".join(map(repr, sorted(ids)[:3])) or "no others"
