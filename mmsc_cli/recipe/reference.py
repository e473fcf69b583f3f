"""What every setting of a recipe means, read from the model of the recipe itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.runtime.settings import EFFORT
from mmsc_cli.workspace.stages import STAGES

# Of the stages a recipe's tables are named after, and of what `prepare` reads.
_STAGE_OF = {"source": "prepare", "images": "prepare", "split": "prepare", "seed": "prepare"} | {
    stage: stage for stage in STAGES
}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "object": "table"}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class SettingReference:
    """One setting.

    Attributes:
        name: its dotted key.
        kind: the `source.kind` that has it; empty where every recipe does.
        default: as JSON, `none` where there is none; empty where a recipe must name a value.
        values: which values it may have.
        description: what it does.
        stages: the stages that run again after a change, which is none where it only affects speed or memory.
    """

    name: str
    kind: str
    default: str
    values: str
    description: str
    stages: tuple[str, ...]


def describe_settings(prefix: str = "") -> list[SettingReference]:
    """All settings whose names begin with `prefix`, in the order of the recipe model."""
    return [setting for setting in _walk(Recipe, (), "") if setting.name.startswith(prefix)]


def _walk(table: type[BaseModel], path: tuple[str, ...], kind: str) -> Iterator[SettingReference]:
    schema = table.model_json_schema()
    for name, field in table.model_fields.items():
        tables = [part for part in (field.annotation, *get_args(field.annotation)) if _is_table(part)]
        if not tables or get_origin(field.annotation) is list:
            yield SettingReference(
                name=".".join((*path, name)),
                kind=kind,
                default=_default(field),
                values=_values(schema["properties"][name]),
                description=field.description or (table.__doc__ or "").partition("\n")[0],
                stages=() if EFFORT in field.metadata else _stages((*path, name)[0]),
            )
        for nested in tables:
            named = nested.model_fields.get("kind") if len(tables) > 1 else None
            yield from _walk(nested, (*path, name), get_args(named.annotation)[0] if named else kind)


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = to_jsonable_python(field.get_default(call_default_factory=True))
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _values(schema: Mapping[str, Any]) -> str:
    """Values that a JSON schema allows, for a person."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_values, schema["anyOf"])))
    if "$ref" in schema:
        return "tables"
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    match schema.get("type"):
        case "null":
            return "none"
        case "array":
            return f"list of {_values(schema['items'])}"
        case kind:
            name = schema.get("format", _TYPES.get(str(kind), "any"))
            bounds = " and ".join(f"{sign} {schema[bound]}" for bound, sign in _BOUNDS.items() if bound in schema)
            return f"{name} {bounds}".strip()


def _stages(table: str) -> tuple[str, ...]:
    """The stage of a table of the recipe and all that read what it makes, one after the other."""
    if table not in _STAGE_OF:
        return ()
    again = {_STAGE_OF[table]}
    for stage, files in STAGES.items():
        made = {artefact for earlier in again for artefact in STAGES[earlier].makes}  # type: ignore[index]
        if made & {*files.needs, *files.uses}:
            again.add(stage)
    return tuple(stage for stage in ("prepare", "caption", "encode", "label", "train", "evaluate") if stage in again)
