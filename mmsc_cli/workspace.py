"""A workspace: where each artefact lies, who made it from what, and how a stage replaces what it makes.

A stage writes into `.staging/<stage>/`. When it is done its entry leaves the manifest, its artefacts are renamed into
place, and its new entry is written, last. Killed at any moment, no artefact is half-written, and a stage that is not
in the manifest did not happen.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmsc_cli import __version__
from mmsc_cli.atomic import sync_directory, write_json
from mmsc_cli.errors import WorkspaceError

FORMAT_VERSION = 1
_LOG = logging.getLogger("mmsc_cli")
Stage = Literal["prepare", "label", "encode", "train", "evaluate"]


@dataclass(frozen=True)
class StageFiles:
    """Artefacts a stage makes, those it needs, and those it uses where they are there."""

    makes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


STAGES: dict[Stage, StageFiles] = {
    "prepare": StageFiles(makes=("items.parquet", "pairs.parquet", "images", "truth.parquet")),
    # The truth is there in synthetic workspaces alone, and read by the oracle annotator alone.
    "label": StageFiles(makes=("labels.parquet",), needs=("items.parquet", "pairs.parquet"), uses=("truth.parquet",)),
    "encode": StageFiles(
        makes=("embeddings", "failures.jsonl"), needs=("items.parquet", "pairs.parquet"), uses=("images",)
    ),
    "train": StageFiles(
        makes=("model", "index"),
        needs=("items.parquet", "pairs.parquet", "embeddings"),
        uses=("labels.parquet",),
    ),
    "evaluate": StageFiles(
        makes=("metrics.json", "report.html"),
        needs=("items.parquet", "pairs.parquet", "embeddings", "index", "model"),
        uses=("images", "truth.parquet"),
    ),
}
MAKER: dict[str, Stage] = {artefact: stage for stage, files in STAGES.items() for artefact in files.makes}


class StageRecord(BaseModel):
    """What the manifest says of a stage that ran to its end."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]
    counts: dict[str, Any]
    seconds: float
    finished: str
    software: dict[str, str]


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    model_config = ConfigDict(extra="forbid")

    format_version: int = FORMAT_VERSION
    stages: dict[Stage, StageRecord] = Field(default_factory=dict)


@dataclass
class StageRun:
    """A stage under way: where it writes, and the counts it reports."""

    staging: Path
    inputs: dict[str, str]
    counts: dict[str, Any] = field(default_factory=dict)

    def path(self, artefact: str) -> Path:
        """Where to write an artefact until the stage is done."""
        return self.staging / artefact

    def directory(self, artefact: str) -> Path:
        """The same for an artefact that is a folder; the folder is made."""
        path = self.path(artefact)
        path.mkdir(parents=True, exist_ok=True)
        return path


class Workspace:
    """One data set and all that was made from it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, artefact: str) -> Path:
        """Where an artefact lies."""
        return self.root / artefact

    def manifest(self) -> Manifest:
        """Read the manifest; an empty one where there is none.

        Raises:
            WorkspaceError: it is damaged or of a newer format version.
        """
        path = self.path("manifest.json")
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return Manifest()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged_manifest(str(error)) from error
        version = content.get("format_version") if isinstance(content, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise WorkspaceError(
                f"{path}: format version {version} is newer than this mmsc {__version__} reads ({FORMAT_VERSION})",
                hint="upgrade with `pip install --upgrade mmsc-cli`, or use another folder (-w DIR)",
            )
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self._damaged_manifest(f"{where}: {first['msg']}" if where else first["msg"]) from error

    def inputs_of(self, stage: Stage) -> dict[str, str]:
        """Check that what a stage needs is there, whole, and made from what lies here now.

        Returns:
            The sha256 of each artefact it needs or uses, by name.

        Raises:
            WorkspaceError: a stage was not run, an artefact is gone, damaged, or older than what it was made from.
                What is used but not needed is left out, with a warning, where it is older.
        """
        manifest = self.manifest()
        files = STAGES[stage]
        found: dict[str, str] = {}
        for artefact in (*files.needs, *files.uses):
            maker = MAKER[artefact]
            record = manifest.stages.get(maker)
            recorded = record.outputs.get(artefact) if record else None
            if record is None or recorded is None:
                if artefact in files.uses:
                    continue
                raise WorkspaceError(
                    f"{self.root} has no {artefact} yet: `mmsc {stage}` comes after `mmsc {maker}`",
                    hint=f"run {self._command(maker)}",
                )
            self._check_whole(artefact, recorded, maker)
            try:
                self._check_fresh(manifest, artefact, record, maker)
            except WorkspaceError as error:
                if artefact in files.needs:
                    raise
                _LOG.warning("%s, and is left out; %s", error.message, error.hint)
                continue
            found[artefact] = recorded
        return found

    def find_current(self, artefact: str) -> Path | None:
        """Where an artefact lies that is whole and made from what lies here now; None otherwise.

        For what gives a stage a hint and decides nothing about whether its outputs are up to date.
        """
        manifest = self.manifest()
        maker = MAKER[artefact]
        record = manifest.stages.get(maker)
        if record is None or artefact not in record.outputs:
            return None
        try:
            self._check_whole(artefact, record.outputs[artefact], maker)
            self._check_fresh(manifest, artefact, record, maker)
        except WorkspaceError:
            return None
        return self.path(artefact)

    def is_current(self, stage: Stage, config: Mapping[str, Any]) -> bool:
        """Whether a stage ran with this configuration on the artefacts that lie here now."""
        record = self.manifest().stages.get(stage)
        if record is None or record.config != dict(config):
            return False
        try:
            current = self.inputs_of(stage)
        except WorkspaceError:
            return False
        return record.inputs == current and all(self.path(name).exists() for name in record.outputs)

    def amend(self, stage: Stage, config: Mapping[str, Any]) -> None:
        """Record another configuration of a stage that ran: one that would have made the same artefacts."""
        if self.manifest().stages[stage].config == dict(config):
            return
        with self._lock():
            manifest = self.manifest()
            manifest.stages[stage].config = dict(config)
            self._write_manifest(manifest)

    @contextmanager
    def stage(self, stage: Stage, config: Mapping[str, Any], *, wait: bool = False) -> Iterator[StageRun]:
        """Run a stage: lock the workspace, check the inputs, stage the outputs, put them in place at the end.

        Raises:
            WorkspaceError: another process works here (and `wait` is false), or the inputs are not ready.
        """
        if stage == "prepare":
            self.root.mkdir(parents=True, exist_ok=True)
        elif not self.root.is_dir():
            raise WorkspaceError(f"there is no workspace at {self.root}", hint=f"run {self._command('prepare')}")
        with self._lock(wait=wait):
            inputs = self.inputs_of(stage)
            started = time.monotonic()
            run = StageRun(staging=self.root / ".staging" / stage, inputs=inputs)
            shutil.rmtree(run.staging, ignore_errors=True)
            run.staging.mkdir(parents=True)
            try:
                yield run
                self._commit(stage, run, config, started)
            finally:
                shutil.rmtree(run.staging, ignore_errors=True)

    @contextmanager
    def share(self, stage: Stage) -> Iterator[dict[str, str]]:
        """Work on a part of a stage, beside other processes that do the same; nothing is put in place.

        Yields:
            The sha256 of each artefact that the stage needs or uses, by name.

        Raises:
            WorkspaceError: a process that shares nothing works here, or the inputs are not ready.
        """
        if not self.root.is_dir():
            raise WorkspaceError(f"there is no workspace at {self.root}", hint=f"run {self._command('prepare')}")
        with self._lock(shared=True):
            yield self.inputs_of(stage)

    def _commit(self, stage: Stage, run: StageRun, config: Mapping[str, Any], started: float) -> None:
        outputs = {name: digest(run.path(name)) for name in STAGES[stage].makes if run.path(name).exists()}
        record = StageRecord(
            config=dict(config),
            inputs=run.inputs,
            outputs=outputs,
            counts=run.counts,
            seconds=round(time.monotonic() - started, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            software=software_versions(),
        )
        manifest = self.manifest()
        if manifest.stages.pop(stage, None) is not None:
            self._write_manifest(manifest)
        trash = run.staging / "replaced"
        trash.mkdir()
        for name in STAGES[stage].makes:
            target = self.path(name)
            # A file is replaced in one step; a folder must make room first, and what is not made any more must go.
            if target.is_dir() or (target.exists() and name not in outputs):
                target.rename(trash / name)
            if name in outputs:
                run.path(name).replace(target)
        sync_directory(self.root)
        manifest.stages[stage] = record
        self._write_manifest(manifest)

    def _write_manifest(self, manifest: Manifest) -> None:
        write_json(self.path("manifest.json"), manifest.model_dump(mode="json"))

    def _damaged_manifest(self, reason: str) -> WorkspaceError:
        return WorkspaceError(
            f"{self.path('manifest.json')} is damaged: {reason}",
            hint=f"delete it and run {self._command('prepare')} again",
        )

    def _check_whole(self, artefact: str, recorded: str, maker: Stage) -> None:
        path = self.path(artefact)
        if not path.exists():
            raise WorkspaceError(f"{path} is gone", hint=f"run {self._command(maker)} again")
        if digest(path) != recorded:
            raise WorkspaceError(
                f"{path} is damaged or from another workspace: it is not what `mmsc {maker}` wrote here",
                hint=f"run {self._command(maker)} again",
            )

    def _check_fresh(self, manifest: Manifest, artefact: str, record: StageRecord, maker: Stage) -> None:
        for source, used in record.inputs.items():
            source_record = manifest.stages.get(MAKER[source])
            if source_record is None or source_record.outputs.get(source) != used:
                raise WorkspaceError(
                    f"{self.path(artefact)} was made from another {source} than the one that lies here now",
                    hint=f"run {self._command(maker)} again",
                )

    def _command(self, stage: Stage) -> str:
        where = "" if self.root == Path("workspace") else f" -w {shlex.quote(str(self.root))}"
        argument = " SOURCE" if stage == "prepare" else ""
        return f"`mmsc {stage}{argument}{where}`"

    @contextmanager
    def _lock(self, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
        path = self.path(".lock")
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.root))
        with path.open("a+") as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise WorkspaceError(
                    f"{self.root} is in use by another mmsc ({owner})",
                    hint="wait for it, or use another folder (-w DIR)",
                ) from None
            file.seek(0)
            file.truncate()
            file.write(f"pid {os.getpid()}, since {datetime.now(UTC).isoformat(timespec='seconds')}")
            file.flush()
            yield


def digest(path: Path) -> str:
    """sha256 of a file; of a folder, of its files' relative names and contents in sorted order.

    `images/` can hold millions of files: there names and sizes stand for the contents.
    """
    if path.is_file():
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    whole = sha256()
    for file_path in sorted(path.rglob("*")):
        if file_path.is_file():
            content = str(file_path.stat().st_size) if path.name == "images" else digest(file_path)
            whole.update(f"{file_path.relative_to(path)}\0{content}\n".encode())
    return whole.hexdigest()


def software_versions() -> dict[str, str]:
    """Versions of what the results depend on, for the manifest."""
    packages = ("numpy", "scipy", "scikit-learn", "pyarrow", "torch", "torch-geometric", "open_clip_torch")
    found = {"mmsc-cli": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
