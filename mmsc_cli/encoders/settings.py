"""Which encoder turns items into vectors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmsc_cli.runtime.settings import EFFORT, PathText, Positive, Settings


class EncoderSettings(Settings):
    """Which encoder turns items into vectors."""

    encoder: PathText = Field(
        default="auto", description="auto, classic, open_clip:ARCH/PRETRAINED or sentence-transformers:NAME"
    )
    text_dim: Positive = Field(default=512, description="width of the classic encoder's text vectors")
    image_dim: Positive = Field(default=64, description="width of the classic encoder's image vectors")
    batch_size: Annotated[Positive | None, EFFORT] = Field(
        default=None, description="items encoded at a time; none: as many as fit the device's memory"
    )
