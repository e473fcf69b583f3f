"""Which encoder turns items into vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmsc_cli.runtime.settings import EFFORT, PathText, Positive, Settings


class EncoderSettings(Settings):
    """Which encoder turns items into vectors."""

    encoder: PathText = Field(
        default="auto",
        description="auto, classic, open_clip:ARCH/PRETRAINED, open_clip:hf-hub:OWNER/NAME or "
        "sentence-transformers:NAME",
    )
    text_dim: Positive = Field(default=512, description="width of the classic encoder's text vectors")
    image_dim: Positive = Field(default=64, description="width of the classic encoder's image vectors")
    truncate_dim: Positive | None = Field(
        default=None, description="numbers of a vector of a sentence-transformers model that are kept; none: all"
    )
    prompt: str | None = Field(
        default=None, description="what precedes each input of a sentence-transformers model; none: its own default"
    )
    batch_size: Annotated[Positive | None, EFFORT] = Field(
        default=None, description="items encoded at a time; none: as many as fit the device's memory"
    )
