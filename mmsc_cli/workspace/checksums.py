"""Whether files are what was written: by their sha256, or, where reading them would take too long, by size and time.

Stages read every input to its end before they use it. `infer`, and `run` where it decides what is up to date, compare
size and time of change of a large file with the manifest and read it through only where these differ, as after a copy
or a change. So a stage that runs or `mmsc doctor` notices a disk that alters a file behind the file system's back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

from mmsc_cli.errors import WorkspaceError, in_workspace
from mmsc_cli.workspace.digests import digest_lines
from mmsc_cli.workspace.manifest_file import read_manifest_file
from mmsc_cli.workspace.regular_file import is_irregular, is_link, open_regular, refuse_link
from mmsc_cli.workspace.stages import STAGE_COMMANDS

# Smaller files are always read.
_GLANCED_AT_FROM = 2**20
# A folder of millions of files: names and sizes stand for their contents, which `image_hashes.npy` knows.
IMAGES = "images"


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder: of its files' names and contents. Links are followed.

    For what is no artefact: files and folders that the user named.
    """
    if path.is_file():
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest_lines((file.relative_to(path).as_posix(), digest(file)) for file in files)


def describe(
    root: Path, artefact: str, trusted: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return sha256, size and time of change of each file of an artefact, by its name in the workspace.

    The images are described as one: by the sha256 of their names and sizes. A large file whose size and time of change
    are those in `trusted` (an earlier description) is not read: it has the sha256 that stands there.

    Raises:
        WorkspaceError: there is a link, a pipe or a device among them.
    """
    status = refuse_link(root / artefact).stat()
    if not stat.S_ISDIR(status.st_mode):
        return {artefact: _describe_file(root / artefact, (trusted or {}).get(artefact))}
    if artefact == IMAGES:
        sizes = ((name, str((root / name).stat().st_size)) for name in list_files(root, artefact))
        found = digest_lines((name.removeprefix(f"{artefact}/"), size) for name, size in sizes)
        return {artefact: {"sha256": found, "bytes": 0, "mtime_ns": 0}}
    return {name: _describe_file(root / name, (trusted or {}).get(name)) for name in list_files(root, artefact)}


def list_files(root: Path, artefact: str) -> list[str]:
    """Return the names in the workspace of an artefact's files, sorted.

    Raises:
        WorkspaceError: there is a link, a pipe or a device among them.
    """
    if not refuse_link(root / artefact).is_dir():
        return [artefact]
    return sorted(_walk(root, artefact))


def refuse_strange_inside(root: Path, folder: str) -> None:
    """Refuse links, pipes and devices in a folder for unfinished work, through which a stage would write elsewhere.

    Images that were downloaded are passed over: there may be a million, and each is put in place by a rename.

    Raises:
        WorkspaceError: there is one.
    """
    if refuse_link(root / folder).is_dir():
        for _ in _walk(root, folder, but=f"downloads/{IMAGES}"):
            pass


def first_difference(wanted: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the first file that is not as it was described; None where all are."""
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found or name not in wanted or found[name]["sha256"] != wanted[name]["sha256"]:
            return name
    return None


def check_at_a_glance(root: Path, stage: str, names: Iterable[str]) -> None:
    """Refuse files of a stage that are not what it wrote; what is absent or not in the manifest is passed over.

    Raises:
        WorkspaceError: one of them, or the manifest, is damaged; or one is a link, a pipe or a device.
    """
    names = list(names)
    manifest = read_manifest_file(root)
    while damaged := _first_damaged(root, manifest, stage, names):
        seen, manifest = manifest, read_manifest_file(root)
        # Otherwise the stage has just put new ones in place.
        if manifest == seen:
            raise damaged_file(root, damaged, stage)


def damaged_file(root: Path, name: str, stage: str) -> WorkspaceError:
    """Return the error of a file that is not what the stage that makes it wrote."""
    command = STAGE_COMMANDS[stage]
    what = (
        f"is damaged or from another workspace: it is not what `mmsc {stage}` wrote here"
        if (root / name).exists()
        else "is gone"
    )
    return WorkspaceError(f"{root / name} {what}", hint=in_workspace(f"run {command} again", root))


def _first_damaged(root: Path, manifest: dict[str, Any] | None, stage: str, names: Iterable[str]) -> str | None:
    record = (manifest or {}).get("stages", {}).get(stage, {})
    for name in names:
        recorded = record.get("files", {}).get(name)
        try:
            with open_regular(root / name) as file:
                status = os.fstat(file.fileno())
                if recorded is None:
                    continue
                if _is_as_large_and_old(status, recorded):
                    continue
                if file_digest(file, "sha256").hexdigest() != recorded.get("sha256"):
                    return name
        except FileNotFoundError:
            continue
    return None


def _describe_file(path: Path, trusted: Mapping[str, Any] | None) -> dict[str, Any]:
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        if trusted is not None and _is_as_large_and_old(status, trusted):
            return dict(trusted)
        return {**_glance(status), "sha256": file_digest(file, "sha256").hexdigest()}


def _is_as_large_and_old(status: os.stat_result, recorded: Mapping[str, Any]) -> bool:
    """Whether a file is large, and its size and time of change are those recorded."""
    same = {key: recorded.get(key) for key in ("bytes", "mtime_ns")} == _glance(status)
    return same and status.st_size >= _GLANCED_AT_FROM


def _glance(status: os.stat_result) -> dict[str, int]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _walk(root: Path, folder: str, but: str | None = None) -> Iterator[str]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                raise is_link(Path(entry.path))
            if entry.is_dir():
                if f"{folder}/{entry.name}" != but:
                    yield from _walk(root, f"{folder}/{entry.name}", but)
            elif not entry.is_file():
                raise is_irregular(Path(entry.path))
            else:
                yield f"{folder}/{entry.name}"
