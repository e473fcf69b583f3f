"""How vLLM serves the model that labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmsc_cli.runtime.settings import EFFORT, AboveZero, Positive, Settings


class ServerSettings(Settings):
    """How vLLM serves the model that labels; vLLM chooses what is none."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = Field(
        default=None, description="type of the weights"
    )
    tensor_parallel: Annotated[Positive | None, EFFORT] = Field(
        default=None, description="GPUs over which one copy of the model is split"
    )
    data_parallel: Annotated[Positive | None, EFFORT] = Field(
        default=None,
        description="copies of the model, each on GPUs of its own; none: as many as this machine has room for",
    )
    memory_share: Annotated[Annotated[float, Field(gt=0, le=1)] | None, EFFORT] = Field(
        default=None, description="fraction of each GPU's memory"
    )
    context: Positive | None = Field(default=None, description="maximum tokens of a question and its answer")
    start_timeout: Annotated[AboveZero, EFFORT] = Field(
        default=1_800.0, description="seconds until the server must be ready (it may have to download the model)"
    )
