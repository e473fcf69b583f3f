"""Whether the ids of a log are those of a catalogue, and which change of spelling would make them meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.records import Delivery

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


def check_ids_meet(log: Collection[str], catalogue: Collection[str], delivery: Delivery) -> None:
    """Warn where hardly any id of a log is in the catalogue, with three examples of each side.

    Raises:
        InputError: none is.
    """
    log_ids, catalogue_ids = set(log), set(catalogue)
    both = len(log_ids & catalogue_ids)
    smaller = min(len(log_ids), len(catalogue_ids))
    if not smaller or both >= _HARDLY * smaller:
        return
    change = _change_that_meets(log_ids, catalogue_ids)
    message = (
        f"{both:,} of the {len(log_ids):,} ids of the log are among the {len(catalogue_ids):,} of the items: "
        f"the log has {_examples(log_ids - catalogue_ids)}, the items have {_examples(catalogue_ids - log_ids)}"
    )
    if change:
        message += f"; they would meet if {change}"
    if not both:
        raise InputError(message, hint="map the columns item and item_id to the same ids under [source.columns]")
    delivery.warnings.append(message)


def _change_that_meets(log: set[str], catalogue: set[str]) -> str | None:
    for text, change in _CHANGES.items():
        one, other = {change(item_id) for item_id in log}, {change(item_id) for item_id in catalogue}
        if len((one & other) - {""}) * 2 > min(len(one), len(other)):
            return text
    return None


def _examples(ids: set[str]) -> str:
    return ", ".join(map(repr, sorted(ids)[:3])) or "no others"
