"""From a recipe's name or path to a checked `Recipe`, with every error of the file at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.settings import AmazonSource, DemoSource, EventsSource, TableSource
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.recipe.shipped import recipe_path, recipe_text
from mmsc_cli.runtime.plain_words import in_plain_words
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.runtime.settings import still_known

_LONGEST_QUOTE = 200
SOURCES: dict[str, type[BaseModel]] = {
    "amazon": AmazonSource,
    "table": TableSource,
    "events": EventsSource,
    "demo": DemoSource,
}


def load_recipe(source: str, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> Recipe:
    """Load a shipped recipe by name or any recipe by path.

    Args:
        source: a name such as `amazon-beauty`, or a path ending in `.toml`.
        overrides: `KEY=VALUE` strings, keys dotted, values in TOML (a bare word is a string).
        values: settings by dotted key that win over `overrides` (they come from flags).

    Raises:
        InputError: unknown name, unreadable file, or a list of all that is wrong in it.
    """
    path = recipe_path(source)
    text = recipe_text(path)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}", hint="see `mmsc recipes show demo` for a working recipe") from error
    return _validate(content, _changes(overrides, values or {}), where=str(path), text=text)


def change_recipe(config: Mapping[str, Any], overrides: Sequence[str], values: Mapping[str, Any]) -> Recipe:
    """Apply `--set` strings and flags to a recipe that `prepare` recorded in the manifest."""
    # A setting that is gone meanwhile must not make an older workspace useless.
    return _validate(still_known(config, Recipe), _changes(overrides, values), where="recipe in the manifest", text="")


def _changes(overrides: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(map(_parse_override, overrides)) | dict(values)


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise InputError(f"--set {text}: not KEY=VALUE", hint="for example --set train.epochs=5")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return key, value


def _override(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    whole = dict(content)
    for key, value in changes.items():
        *tables, last = key.split(".")
        table = whole
        for name in tables:
            child = table.get(name)
            table[name] = dict(child) if isinstance(child, dict) else {}
            table = table[name]
        table[last] = value
    return whole


def _validate(content: Mapping[str, Any], changes: Mapping[str, Any], where: str, text: str) -> Recipe:
    """Check a recipe; `where` and `text` are the file's name and content, `changes` come from the command line."""
    try:
        return Recipe.model_validate(_override(content, changes))
    except ValidationError as error:
        lines = [_describe(dict(item), changes, where, text) for item in error.errors()]
    raise InputError("\n".join(lines), hint="see `mmsc recipes show demo` for every kind of field")


def _describe(error: dict[str, Any], changes: Mapping[str, Any], where: str, text: str) -> str:
    unknown = error["type"] == "extra_forbidden"
    # Pydantic names the branch of a union in brackets, which is nothing that stands in the file; an unknown name may
    # have some of its own.
    *tables, last = map(str, error["loc"] or ("",))
    location = [part for part in (*tables, "" if unknown else last) if part and "[" not in part]
    location += [last] * unknown
    if location[:1] == ["source"] and len(location) > 1 and location[1] in SOURCES:
        kind = location.pop(1)
        table: type[BaseModel] = SOURCES[kind]
    else:
        table = _table_of(location)
    field = ".".join(location) or "recipe"
    line = _line_of(text, location)
    if field in changes or (line is None and any(key.startswith(f"{field}.") for key in changes)):
        place = f"command line: {field}"
    else:
        place = f"{where}:{line}: {field}" if line else f"{where}: {field}"
    if unknown:
        close = get_close_matches(location[-1], table.model_fields, n=1)
        mend = f"did you mean {close[0]}?" if close else f"known: {', '.join(table.model_fields)}"
        return f"{place}: no such setting; {mend}"
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "union_tag_invalid":
        tag, tags = error["ctx"]["tag"], re.findall(r"'([^']*)'", error["ctx"]["expected_tags"])
        close = get_close_matches(tag, tags, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        return f"{place}: {_shown(tag)} is not one of {', '.join(tags)}{meant}"
    # An address that is refused may have a password in it, in a form that nobody thought of.
    untold = isinstance(error["input"], dict) or "://" in str(error["input"])
    given = "" if untold else f" (given: {_shown(error['input'])})"
    message = in_plain_words(error["msg"])
    return f"{place}: {message[0].lower()}{message[1:]}{given}"


def _shown(value: Any) -> str:
    """A value of a recipe as a message quotes it."""
    text = redact(repr(value))
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _table_of(location: list[str]) -> type[BaseModel]:
    table: type[BaseModel] = Recipe
    for name in location[:-1]:
        known = table.model_fields.get(name)
        if known is None or not isinstance(known.annotation, type) or not issubclass(known.annotation, BaseModel):
            break
        table = known.annotation
    return table


def _line_of(text: str, location: list[str]) -> int | None:
    """Line (from 1) where a field or, failing that, its table stands in the TOML text."""
    table: list[str] = []
    fallback = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = path = _keys(stripped.strip("[").split("]")[0])
        else:
            path = table + _keys(stripped.partition("=")[0])
        if path == location:
            return number
        if path == location[:-1]:
            fallback = number
    return fallback


def _keys(dotted: str) -> list[str]:
    return [key.strip().strip("\"'") for key in dotted.split(".")]
