"""What the settings of all parts have in common: the base class and the types of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mmsc_cli.runtime.redaction import has_password

# Marks a setting that changes how the work is done (how fast, in how much memory) but not what comes out, as
# `Annotated[int, EFFORT]`: a stage does not run again because of it.
EFFORT = "effort"

Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path cannot contain a NUL byte")
    if "://" in text and has_password(text):
        raise ValueError("an address with a key or password is refused; keys come from the environment")
    return text


def _address(url: str) -> str:
    if has_password(url):
        raise ValueError("an address with a password would be recorded; download the file and use --input")
    return url


PathText = Annotated[str, AfterValidator(_path)]
Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def outcome(recorded: Mapping[str, Any], settings: BaseModel) -> dict[str, Any]:
    """Return recorded settings (JSON values) without those that `settings` marks as EFFORT, nested tables included."""
    fields = type(settings).model_fields
    kept: dict[str, Any] = {}
    for name, value in recorded.items():
        if name in fields and EFFORT in fields[name].metadata:
            continue
        table = getattr(settings, name, None)
        kept[name] = outcome(value, table) if isinstance(table, BaseModel) and isinstance(value, Mapping) else value
    return kept


def still_known(recorded: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return settings that an earlier version recorded without those that `model` lacks, nested tables included."""
    kept: dict[str, Any] = {}
    for name, value in recorded.items():
        if name not in model.model_fields:
            continue
        table = model.model_fields[name].annotation
        if isinstance(table, type) and issubclass(table, BaseModel) and isinstance(value, Mapping):
            kept[name] = still_known(value, table)
        else:
            kept[name] = value
    return kept
