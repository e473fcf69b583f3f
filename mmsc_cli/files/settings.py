"""How images are fetched from the web."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mmsc_cli.files.image_limits import MAX_BYTES
from mmsc_cli.runtime.settings import EFFORT, AboveZero, Count, NotNegative, Positive, Settings


class DownloadSettings(Settings):
    """How images are fetched from the web."""

    concurrency: Annotated[Positive, EFFORT] = Field(default=16, description="images fetched at the same time")
    per_host: Annotated[Positive, EFFORT] = Field(default=4, description="of these from one host")
    retries: Count = Field(default=3, description="further attempts after an error that may pass")
    backoff: Annotated[NotNegative, EFFORT] = Field(
        default=0.5, description="seconds before the first retry; doubles with each"
    )
    timeout: AboveZero = Field(default=20.0, description="seconds without a byte after which an attempt fails")
    max_bytes: Annotated[int, Field(gt=0, le=MAX_BYTES)] = Field(
        default=10_000_000, description="larger images are not used"
    )
    max_pixels: Positive = Field(default=64_000_000, description="images of more pixels are not used")
    allow_http: bool = Field(default=False, description="fetch http URLs as they are, instead of over https")
    allow_private: bool = Field(
        default=False, description="fetch from loopback and private addresses too, and from any port"
    )
