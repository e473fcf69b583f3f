"""What the manifest holds, as pydantic models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mmsc_cli.workspace.manifest_file import FORMAT_VERSION
from mmsc_cli.workspace.stages import Stage


class FileRecord(BaseModel):
    """What tells a file from any other, and at a glance from itself after a change."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    bytes: int
    mtime_ns: int


class StageRecord(BaseModel):
    """What the manifest says of a stage that ran to its end: `outputs` by artefact, `files` by path."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]
    files: dict[str, FileRecord] = Field(default_factory=dict)
    counts: dict[str, Any]
    seconds: float
    finished: str
    software: dict[str, str]


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    stages: dict[Stage, StageRecord] = Field(default_factory=dict)
