"""How items become vectors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmsc_cli.encoders.settings import EncoderSettings


class EncodeSettings(EncoderSettings):
    """How items become vectors."""

    adapt: bool = Field(default=False, description="adapt the encoder to this catalogue")
    adapt_with: Literal["auto", "projection", "lora"] = Field(
        default="auto", description="low-rank matrices in the towers, or a projection over them; auto: lora on a GPU"
    )
