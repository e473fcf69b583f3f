"""What the manifest says, checked field by field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.workspace.digests import artefact_digests
from mmsc_cli.workspace.manifest_file import FORMAT_VERSION
from mmsc_cli.workspace.stages import STAGES, Stage


class FileRecord(BaseModel):
    """SHA-256, size and time of change of a file."""

    model_config = ConfigDict(extra="forbid")

    sha256: str
    bytes: int
    mtime_ns: int


Files = dict[str, FileRecord]


class Recorded(dict[str, Any]):
    """A table of the manifest, which another version or somebody else may have written: a missing key is one line."""

    def __missing__(self, key: str) -> Any:
        raise WorkspaceError(
            f"manifest.json lacks {key!r} where it describes a stage",
            hint="run the stages again from `mmsc prepare SOURCE` on, or use another workspace (-w DIR)",
        )

    @classmethod
    def of(cls, value: Any) -> Any:
        """Convert a table with all those in it; leave any other value as it is."""
        return cls({name: cls.of(inner) for name, inner in value.items()}) if isinstance(value, dict) else value


class StageRecord(BaseModel):
    """What the manifest says of a stage that ran to its end; `files` by their names in the workspace."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    inputs: dict[str, str]
    files: Files = Field(default_factory=dict)
    counts: dict[str, Any]
    seconds: float
    finished: str
    software: dict[str, str]

    @classmethod
    def of_files(cls, files: Files) -> StageRecord:
        """Of files alone, of a stage that did not come to its end."""
        return cls(config={}, inputs={}, files=files, counts={}, seconds=0, finished="", software={})

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, content: Any) -> Any:
        """Take the digests of whole artefacts, which were recorded too, for those whose files were not."""
        if not isinstance(content, dict) or not isinstance(content.get("outputs"), dict):
            return content
        files = dict(content.get("files") or {})
        for artefact, whole in content["outputs"].items():
            if not any(name == artefact or name.startswith(f"{artefact}/") for name in files):
                files[artefact] = {"sha256": whole, "bytes": 0, "mtime_ns": 0}
        return {name: value for name, value in content.items() if name != "outputs"} | {"files": files}

    @model_validator(mode="after")
    def _guard_missing_keys(self) -> StageRecord:
        self.config, self.counts = Recorded.of(self.config), Recorded.of(self.counts)
        return self

    def files_of(self, artefact: str) -> dict[str, dict[str, Any]]:
        """Return the description of an artefact's files, as `checksums.describe` returns it."""
        return {
            name: file.model_dump()
            for name, file in self.files.items()
            if name == artefact or name.startswith(f"{artefact}/")
        }

    @property
    def outputs(self) -> dict[str, str]:
        """The digest of each artefact, by name."""
        return artefact_digests(self.model_dump(include={"files"}))


class Manifest(BaseModel):
    """The content of `manifest.json`.

    `replacing` is there while a stage puts its artefacts in place: the files of the old ones and of the new ones.
    """

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    stages: dict[Stage, StageRecord] = Field(default_factory=dict)
    replacing: dict[Stage, list[Files]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_only_artefacts(self) -> Manifest:
        """Refuse files that the stage does not make: a path of the manifest must not lead out of the workspace."""
        for stage, record in self.stages.items():
            for name in record.files:
                artefact, *rest = name.split("/")
                if artefact not in STAGES[stage].makes or any(part in ("", ".", "..") for part in rest):
                    raise ValueError(f"`mmsc {stage}` does not make {name!r}")
        return self
