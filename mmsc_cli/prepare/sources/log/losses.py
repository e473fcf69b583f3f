"""What a log has lost since the last prepare of the workspace: whole files, or many of its events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmsc_cli.prepare.sources.log.file_doubts import names_of
from mmsc_cli.runtime.plain_words import counted

# From night to night a log grows; so much less is a loss.
_MOST_LOST = 0.2
_PERIOD = ("since", "until")


class LastLog(NamedTuple):
    """What the manifest says of the last prepare."""

    config: Mapping[str, Any]
    counts: Mapping[str, Any]


def losses(last: LastLog, config: Mapping[str, Any], counts: Mapping[str, Any], gone: Mapping[str, int]) -> list[str]:
    """Say what the log has lost.

    Args:
        last: the last prepare.
        config: what this one runs with, as the manifest records it.
        counts: what it counted.
        gone: the sha256 of files that are no longer part of the log, to how many events of the period they had.

    Returns:
        Warnings; none where the recipe names another log or another period than it did.
    """
    before, now = (of.get("recipe", {}).get("source", {}) for of in (last.config, config))
    if any(before.get(name) != now.get(name) for name in ("kind", "events", "sql", *_PERIOD)):
        return []
    return [*_files_gone(last.config.get("inputs", {}), config.get("inputs", {}), gone), *_fewer(last, counts)]


def _files_gone(before: Mapping[str, str | None], now: Mapping[str, str | None], gone: Mapping[str, int]) -> list[str]:
    names, digests = set(map(_plain_name, now)), set(now.values())
    missing = {
        _plain_name(name): gone[digest]
        for name, digest in before.items()
        # What is before `since` is not missed; a file under another name, or packed, is there.
        if digest and gone.get(digest) and digest not in digests and _plain_name(name) not in names
    }
    if not missing:
        return []
    paths = [Path(name) for name in sorted(missing)]
    one = len(paths) == 1
    return [
        f"{names_of(paths, paths)}, part of the log at the last prepare, {'is' if one else 'are'} gone, and with "
        f"{'it' if one else 'them'} {counted(sum(missing.values()), 'event')}; if that is meant, say with since under "
        "[source] from when on events count"
    ]


def _plain_name(name: str) -> str:
    """The name of an input without the number that tells equal names apart, and without the ending of a packing."""
    return re.sub(r"(\.gz|\.zst)?( \(\d+\))?$", "", name)


def _fewer(last: LastLog, counts: Mapping[str, Any]) -> list[str]:
    total_before, total = last.counts.get("events", 0), counts.get("events", 0)
    before = total_before - last.counts.get("events_outside_period", 0)
    now = total - counts.get("events_outside_period", 0)
    # Events that a period in days has passed by are still in the log: they are not lost.
    if before - now <= _MOST_LOST * before or 2 * (total_before - total) < before - now:
        return []
    return [
        f"the log has {counted(now, 'event')}, {(before - now) / before:.0%} fewer than the {before:,} at the last "
        "prepare, which no since explains: look for files that lost rows"
    ]
