"""A workspace: where each artefact lies, who made it from what, and how a stage replaces what it makes.

A stage writes into `.staging/<stage>/`. When it is done its entry leaves the manifest, its artefacts are renamed into
place, and its new entry is written, last. Killed at any moment, no artefact is half-written, and a stage that is not
in the manifest did not happen."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmsc_cli.errors import WorkspaceError, in_workspace
from mmsc_cli.runtime.atomic import sync_directory
from mmsc_cli.runtime.versions import software_versions
from mmsc_cli.workspace.checksums import IMAGES, damaged_file, describe_files, digest, digest_described, find_difference
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.manifest_file import (
    damaged_manifest,
    read_manifest_file,
    write_manifest_file,
)
from mmsc_cli.workspace.records import FileRecord, Manifest, StageRecord
from mmsc_cli.workspace.stages import MAKER, STAGE_COMMANDS, STAGES, Stage

_LOG = logging.getLogger("mmsc_cli")


@dataclass
class StageRun:
    """A stage under way: where it writes, and the counts it reports."""

    staging: Path
    inputs: dict[str, str]
    counts: dict[str, Any] = field(default_factory=dict)
    up_to_date: bool = False  # set to leave the artefacts and the manifest as they are

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
        content = read_manifest_file(self.root)
        if content is None:
            return Manifest()
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise damaged_manifest(self.root, reason) from error

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
                    hint=in_workspace(f"run {STAGE_COMMANDS[maker]}", self.root),
                )
            self._check_whole(artefact, record, maker)
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
            self._check_whole(artefact, record, maker)
            self._check_fresh(manifest, artefact, record, maker)
        except WorkspaceError:
            return None
        return self.path(artefact)

    def is_current(
        self, stage: Stage, config: Mapping[str, Any], outcome: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    ) -> bool:
        """Return whether a stage ran with this configuration on the artefacts that are here now.

        `outcome` returns the part of a configuration that decides what the stage makes.
        """
        record = self.manifest().stages.get(stage)
        if record is None or outcome(record.config) != outcome(config):
            return False
        try:
            if record.inputs != self.inputs_of(stage):
                return False
            for artefact in record.outputs:
                self._check_whole(artefact, record, stage)
        except WorkspaceError as error:
            _LOG.info("%s", error.message)
            return False
        return True

    def find_damage(self, stage: Stage) -> WorkspaceError | None:
        """The first artefact of a stage that ran that is gone or damaged, read to its end; None where all are whole."""
        record = self.manifest().stages.get(stage)
        if record is None:
            return None
        try:
            for artefact in record.outputs:
                self._check_whole(artefact, record, stage)
        except WorkspaceError as error:
            return error
        return None

    def amend(self, stage: Stage, config: Mapping[str, Any]) -> None:
        """Record another configuration of a stage that ran: one that would have made the same artefacts."""
        if self.manifest().stages[stage].config == dict(config):
            return
        with locked(self.root):
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
            raise WorkspaceError(
                f"there is no workspace at {self.root}", hint=in_workspace("run `mmsc prepare SOURCE`", self.root)
            )
        with locked(self.root, wait=wait):
            inputs = self.inputs_of(stage)
            started = time.monotonic()
            run = StageRun(staging=self.root / ".staging" / stage, inputs=inputs)
            shutil.rmtree(run.staging, ignore_errors=True)
            run.staging.mkdir(parents=True)
            try:
                yield run
                if not run.up_to_date:
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
            raise WorkspaceError(
                f"there is no workspace at {self.root}", hint=in_workspace("run `mmsc prepare SOURCE`", self.root)
            )
        with locked(self.root, shared=True):
            yield self.inputs_of(stage)

    def _commit(self, stage: Stage, run: StageRun, config: Mapping[str, Any], started: float) -> None:
        made = [name for name in STAGES[stage].makes if run.path(name).exists()]
        described = {name: describe_files(run.staging, name) for name in made}
        outputs = {name: digest_described(run.path(name), files) for name, files in described.items()}
        record = StageRecord(
            config=dict(config),
            inputs=run.inputs,
            outputs=outputs,
            files={path: FileRecord(**about) for files in described.values() for path, about in files.items()},
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
        write_manifest_file(self.root, manifest.model_dump(mode="json"))

    def _check_whole(self, artefact: str, record: StageRecord, maker: Stage) -> None:
        path = self.path(artefact)
        if path.exists() and digest(path) == record.outputs[artefact]:
            return
        files = {name: about.model_dump() for name, about in record.files.items()}
        known = path.exists() and artefact != IMAGES and files
        changed = find_difference(self.root, artefact, files) if known else None
        raise damaged_file(self.root, changed or artefact, maker)

    def _check_fresh(self, manifest: Manifest, artefact: str, record: StageRecord, maker: Stage) -> None:
        for source, used in record.inputs.items():
            source_record = manifest.stages.get(MAKER[source])
            if source_record is None or source_record.outputs.get(source) != used:
                raise WorkspaceError(
                    f"{self.path(artefact)} was made from another {source} than the one that lies here now",
                    hint=in_workspace(f"run {STAGE_COMMANDS[maker]} again", self.root),
                )
