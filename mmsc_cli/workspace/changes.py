"""What differs between what a stage ran with and what it would run with now, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MOST_NAMED = 3
_LONGEST_VALUE = 40


def config_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Describe how two configurations of a stage differ; None where they are equal."""
    if old == new:
        return None
    files = _named(_file_changes(old.get("inputs"), new.get("inputs")))
    before, after = (dict(_settings(_without_inputs(config))) for config in (old, new))
    names = [name for name in before | after if before.get(name) != after.get(name)]
    changes = [f"{name} {_shown(before.get(name))} → {_shown(after.get(name))}" for name in names]
    return "; ".join(filter(None, (files, _named(changes)))) or "its settings changed"


def input_changes(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Describe how the artefacts that a stage reads differ from those that it read."""
    return _named(_file_changes(old, new)) or "its inputs changed"


def _file_changes(old: Any, new: Any) -> list[str]:
    """Compare files by their digests."""
    before, after = (files if isinstance(files, Mapping) else {} for files in (old, new))
    gone = [f"{name} is gone" for name in before if name not in after]
    fresh = [f"{name} is new" for name in after if name not in before]
    return [*(f"{name} changed" for name in after if name in before and before[name] != after[name]), *fresh, *gone]


def _without_inputs(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the digests of files; the settings of a whole recipe stand by themselves."""
    recipe = config.get("recipe")
    rest = {name: value for name, value in config.items() if name not in ("inputs", "recipe")}
    return {**rest, **recipe} if isinstance(recipe, Mapping) else rest


def _settings(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted key, as `--set` names them."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _named(changes: list[str]) -> str:
    more = len(changes) - _MOST_NAMED
    return ", ".join([*changes[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value)) or None
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
