"""An item that is not in the catalogue, as the user describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmsc_cli.errors import InputError


class NewItem(BaseModel):
    """Every field is optional, but at least one is required; `id` only names the item in the answers.

    `image_path` is a file on this machine, `image_url` a URL on the public internet; the file has priority.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str | None = None
    title: str = ""
    description: str = ""
    brand: str = ""
    category: list[str] = Field(default_factory=list)
    price: float | None = Field(default=None, gt=0)
    image_path: str | None = None
    image_url: str | None = None

    def says_something(self) -> bool:
        """Whether it has anything to read other than an image."""
        texts = (self.title, self.description, self.brand, *self.category)
        return self.price is not None or any(text.strip() for text in texts)


def parse_new_item(given: str | Mapping[str, Any], place: str) -> NewItem:
    """A new item from a JSON object.

    Args:
        given: JSON, or the parsed object.
        place: file and line, for messages.

    Raises:
        InputError: it is no JSON object, has unknown or wrong fields, or has nothing to read.
    """
    try:
        item = NewItem.model_validate_json(given) if isinstance(given, str) else NewItem.model_validate(given)
    except ValidationError as error:
        wrong = [": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in error.errors()]
        known = ", ".join(NewItem.model_fields)
        raise InputError(f"{place}: {'; '.join(wrong)}", hint=f"one JSON object a line, with any of {known}") from error
    if not (item.says_something() or item.image_path or item.image_url):
        raise InputError(f"{place}: the item says nothing", hint="give at least a title")
    return item
