"""A workspace: where each artefact is, which stage made it from what, and how a stage replaces what it makes.

A stage writes into `.staging/`. When it is done, its entry leaves the manifest, its artefacts are put in place, and its
new entry is written, last. Killed at any moment, no artefact is half-written, and a stage that is not in the manifest
did not happen. What a stage replaces is deleted only if the manifest lists it; anything else is kept in `replaced/`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmsc_cli.errors import WorkspaceError, in_workspace
from mmsc_cli.runtime.atomic import exchange, make_directory, settle, sync_directory
from mmsc_cli.runtime.machine.versions import software_versions
from mmsc_cli.workspace.changes import config_changes, input_changes
from mmsc_cli.workspace.checksums import (
    damaged_file,
    describe,
    first_difference,
    list_files,
    refuse_strange_inside,
)
from mmsc_cli.workspace.digests import artefact_digest
from mmsc_cli.workspace.lock import locked
from mmsc_cli.workspace.manifest import FileRecord, Files, Manifest, StageRecord
from mmsc_cli.workspace.manifest_file import (
    damaged_manifest,
    read_manifest_file,
    write_manifest_file,
)
from mmsc_cli.workspace.pins import Pins, remove_unread
from mmsc_cli.workspace.regular_file import refuse_link
from mmsc_cli.workspace.stages import MAKER, STAGE_COMMANDS, STAGES, Stage, StageFiles
from mmsc_cli.workspace.strange_folder import refuse_strange_folder

_LOG = logging.getLogger(__name__)
REPLACED = "replaced"
FIRST_TIME = "not done yet"


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

    def __init__(self, root: Path, pins: Pins | None = None) -> None:
        """Take its folder; `path` returns the folders that `pins` holds as they were then."""
        self.root = root
        self._pins = pins
        # Artefacts and digests that a glance has found whole since this object last put something in place.
        self._glanced_at: set[tuple[str, str]] = set()

    def path(self, artefact: str) -> Path:
        """Return the path of an artefact, or of a folder for unfinished work.

        Raises:
            WorkspaceError: it is a link.
        """
        path = refuse_link(self.root / artefact)
        return path if self._pins is None else self._pins.path(artefact)

    def work_folder(self, name: str) -> Path:
        """Return the path of a folder for unfinished work, which may be there from before.

        Raises:
            WorkspaceError: it is a link, or there is a link, a pipe or a device in it.
        """
        refuse_strange_inside(self.root, name)
        return self.root / name

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
        return self.check_inputs(STAGES[stage], stage)

    def check_inputs(self, files: StageFiles, command: str, *, glance: bool = False) -> dict[str, str]:
        """Do the same as `inputs_of` for any command and the artefacts it reads.

        `glance`: large files are not read where size and time of change are as recorded; for what decides whether
        something is to be done, and uses nothing.
        """
        manifest = self.manifest()
        found: dict[str, str] = {}
        for artefact in (*files.needs, *files.uses):
            maker = MAKER[artefact]
            record = manifest.stages.get(maker)
            recorded = record.outputs.get(artefact) if record else None
            if record is None or recorded is None:
                if artefact in files.uses:
                    continue
                raise WorkspaceError(
                    f"{self.root} has no {artefact} yet: `mmsc {command}` comes after `mmsc {maker}`",
                    hint=in_workspace(f"run {STAGE_COMMANDS[maker]}", self.root),
                )
            self._check_whole(artefact, record, maker, glance=glance)
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
        manifest, maker = self.manifest(), MAKER[artefact]
        whole = self.find_whole(artefact)
        try:
            if whole is not None:
                self._check_fresh(manifest, artefact, manifest.stages[maker], maker)
        except WorkspaceError:
            return None
        return whole

    def find_whole(self, artefact: str) -> Path | None:
        """Where an artefact lies that is whole, whatever it was made from; None otherwise.

        Where a stage was killed while it put new artefacts in place, this may be the old one or the new one.
        """
        manifest, maker = self.manifest(), MAKER[artefact]
        record = manifest.stages.get(maker)
        for found in [record] if record else map(StageRecord.of_files, manifest.replacing.get(maker, [])):
            if artefact in found.outputs:
                try:
                    self._check_whole(artefact, found, maker)
                except WorkspaceError:
                    continue
                return self.path(artefact)
        return None

    def is_current(
        self, stage: Stage, config: Mapping[str, Any], outcome: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    ) -> bool:
        """Return whether a stage ran with this configuration on the artefacts that are here now."""
        return self.why_outdated(stage, config, outcome) is None

    def why_outdated(
        self,
        stage: Stage,
        config: Mapping[str, Any],
        outcome: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
        *,
        glance: bool = False,
    ) -> str | None:
        """Say why a stage must run; None where it ran with this configuration on the artefacts that are here now.

        Args:
            stage: the stage.
            config: what it would run with.
            outcome: returns the part of a configuration that decides what the stage makes.
            glance: see `check_inputs`; for the outputs too.
        """
        record = self.manifest().stages.get(stage)
        if record is None:
            return FIRST_TIME
        if changed := config_changes(outcome(record.config), outcome(config)):
            return changed
        try:
            inputs = self.check_inputs(STAGES[stage], stage, glance=glance)
            if record.inputs != inputs:
                return input_changes(record.inputs, inputs)
            for artefact in record.outputs:
                self._check_whole(artefact, record, stage, glance=glance)
        except WorkspaceError as error:
            return error.message
        return None

    def find_damage(self, stage: Stage) -> dict[str, WorkspaceError]:
        """Read the artefacts of a stage that ran to their end; return what is wrong with each that is not whole."""
        record = self.manifest().stages.get(stage)
        damage: dict[str, WorkspaceError] = {}
        for artefact in record.outputs if record else ():
            assert record is not None
            try:
                self._check_whole(artefact, record, stage)
            except WorkspaceError as error:
                damage[artefact] = error
        return damage

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
            WorkspaceError: another process works here (and `wait` is false), the inputs are not ready, or the folder
                is no workspace.
        """
        self.enter(stage)
        with locked(self.root, wait=wait):
            inputs = self.inputs_of(stage)
            started = time.monotonic()
            with self._staging(stage) as staging:
                run = StageRun(staging=staging, inputs=inputs)
                yield run
                if not run.up_to_date:
                    self._commit(stage, run, config, started)

    @contextmanager
    def share(self, stage: Stage) -> Iterator[dict[str, str]]:
        """Work on a part of a stage, beside other processes that do the same; nothing is put in place.

        Yields:
            The sha256 of each artefact that the stage needs or uses, by name.

        Raises:
            WorkspaceError: a process that shares nothing works here, or the inputs are not ready.
        """
        self.enter(stage)
        with locked(self.root, shared=True):
            yield self.inputs_of(stage)

    def enter(self, stage: Stage) -> None:
        """Refuse a folder that is no workspace before anything is written into it; make one for `prepare`.

        Raises:
            WorkspaceError: the folder is no workspace, or not one for this stage.
        """
        if read_manifest_file(self.root) is not None:
            return
        if stage == "prepare":
            make_directory(self.root)
        if stage != "prepare":
            if not self.root.is_dir():
                raise WorkspaceError(
                    f"there is no workspace at {self.root}", hint=in_workspace("run `mmsc prepare SOURCE`", self.root)
                )
            self.inputs_of(stage)  # says what is missing
        refuse_strange_folder(self.root)

    @contextmanager
    def _staging(self, stage: Stage) -> Iterator[Path]:
        """Make a new folder for what a stage writes; what killed runs left is removed where it can be."""
        parent = self.path(".staging")
        parent.mkdir(exist_ok=True)
        for left in parent.iterdir():
            if left.name.partition("-")[0] == stage and not left.is_symlink():
                remove_unread(left)
        staging = Path(tempfile.mkdtemp(prefix=f"{stage}-", dir=parent))
        try:
            yield staging
        finally:
            remove_unread(staging)

    def _commit(self, stage: Stage, run: StageRun, config: Mapping[str, Any], started: float) -> None:
        made = [name for name in STAGES[stage].makes if run.path(name).exists()]
        for name in made:
            settle(run.path(name))
        record = StageRecord(
            config=dict(config),
            inputs=run.inputs,
            files={path: FileRecord(**file) for name in made for path, file in describe(run.staging, name).items()},
            counts=run.counts,
            seconds=round(time.monotonic() - started, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            software=software_versions(),
        )
        manifest = self.manifest()
        old = manifest.stages.pop(stage, None)
        known = [*manifest.replacing.get(stage, []), *([old.files] if old else [])]
        manifest.replacing[stage] = [*known, record.files]
        self._write_manifest(manifest)
        for name in STAGES[stage].makes:
            self._put_in_place(name, run, known)
        sync_directory(self.root)
        self._glanced_at.clear()
        manifest.stages[stage] = record
        del manifest.replacing[stage]
        self._write_manifest(manifest)

    def _put_in_place(self, artefact: str, run: StageRun, known: list[Files]) -> None:
        """Put a new artefact in place of the old one, or take away the old one if there is no new one.

        A file is replaced in one step; a folder too, where the system can swap two names.
        """
        new, target = run.path(artefact), self.root / artefact
        made, there = new.exists(), os.path.lexists(target)
        if there and not self._is_ours(artefact, known):
            kept = self._kept_folder() / artefact
            target.rename(kept)
            _LOG.warning("%s held what mmsc did not write; it is now at %s", target, kept)
            there = False
        if made and there and target.is_dir() and exchange(new, target):
            return  # the old one is in the staging folder, which goes
        if there and (target.is_dir() or not made):
            target.rename(run.staging / f"replaced-{artefact}")
        if made:
            new.replace(target)

    def _is_ours(self, artefact: str, known: list[Files]) -> bool:
        """Return whether the manifest lists all that an artefact's path holds now."""
        target = self.root / artefact
        if target.is_symlink():
            return False
        if any(artefact in files for files in known) and target.is_dir():
            return any(
                artefact_digest(artefact, describe(self.root, artefact)) == files[artefact].sha256
                for files in known
                if artefact in files
            )
        return all(any(name in files for files in known) for name in list_files(self.root, artefact))

    def _kept_folder(self) -> Path:
        """Make a new folder for what is not ours."""
        parent = self.path(REPLACED)
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=datetime.now(UTC).strftime("%Y%m%d-%H%M%S-"), dir=parent))

    def _write_manifest(self, manifest: Manifest) -> None:
        content = manifest.model_dump(mode="json")
        if not content["replacing"]:
            del content["replacing"]
        write_manifest_file(self.root, content)

    def _check_whole(self, artefact: str, record: StageRecord, maker: Stage, *, glance: bool = False) -> None:
        """Compare an artefact with the manifest: read to its end, or (`glance`) large files by size and time."""
        if not self.path(artefact).exists():
            raise damaged_file(self.root, artefact, maker)
        key = artefact, record.outputs[artefact]
        if glance and key in self._glanced_at:
            return
        wanted = record.files_of(artefact)
        found = describe(self.root, artefact, wanted if glance else None)
        if artefact in wanted:  # recorded as a whole: a file, the images, or a folder by an earlier version
            changed = None if artefact_digest(artefact, found) == wanted[artefact]["sha256"] else artefact
        else:
            changed = first_difference(wanted, found)
        if changed is not None:
            raise damaged_file(self.root, changed, maker)
        if glance:
            self._glanced_at.add(key)

    def _check_fresh(self, manifest: Manifest, artefact: str, record: StageRecord, maker: Stage) -> None:
        for source, used in record.inputs.items():
            source_record = manifest.stages.get(MAKER[source]) if source in MAKER else None
            if source_record is None or source_record.outputs.get(source) != used:
                raise WorkspaceError(
                    f"{self.path(artefact)} was made from another {source} than the one that is here now",
                    hint=in_workspace(f"run {STAGE_COMMANDS[maker]} again", self.root),
                )
