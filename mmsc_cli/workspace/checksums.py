"""Whether files are what was written: by their sha256, or, where reading them would take too long, at a glance.

Stages read every input to its end before they use it. `infer` looks at a large file's size and time of change, and
reads it through only where these are not those that the manifest knows: as after a copy, or after a change. So a disk
that alters a file behind the file system's back is found by a stage and by `mmsc doctor`, not by `infer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from mmsc_cli.errors import WorkspaceError, in_workspace
from mmsc_cli.workspace.manifest_file import read_manifest_file
from mmsc_cli.workspace.stages import STAGE_COMMANDS

# Smaller files are always read.
_GLANCED_AT_FROM = 2**20
# A folder of millions of files: names and sizes stand for their contents, which `image_hashes.npy` knows.
IMAGES = "images"


def digest(path: Path) -> str:
    """sha256 of a file; of a folder, of its files' relative names and contents in sorted order (images: sizes)."""
    if path.is_file():
        return _hash(path)
    whole = sha256()
    for name, file in _files(path):
        content = str(file.stat().st_size) if path.name == IMAGES else _hash(file)
        whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()


def describe_files(root: Path, artefact: str) -> dict[str, dict[str, Any]]:
    """What tells the files of an artefact from any other, by their names in the workspace; nothing of images."""
    path = root / artefact
    if artefact == IMAGES:
        return {}
    found = {artefact: path} if path.is_file() else {f"{artefact}/{name}": file for name, file in _files(path)}
    return {name: {**_glance(file.stat()), "sha256": _hash(file)} for name, file in found.items()}


def digest_described(path: Path, files: Mapping[str, Mapping[str, Any]]) -> str:
    """What `digest` says of an artefact, from what `describe_files` says of its files, so that they are read once."""
    if path.name == IMAGES:
        return digest(path)
    if path.name in files:
        return str(files[path.name]["sha256"])
    whole = sha256()
    for name, about in files.items():
        whole.update(f"{name.removeprefix(f'{path.name}/')}\0{about['sha256']}\n".encode())
    return whole.hexdigest()


def find_difference(root: Path, artefact: str, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first file of an artefact that is not what was described, read to its end; None where all are."""
    found = describe_files(root, artefact)
    wanted = {name: about for name, about in files.items() if name.partition("/")[0] == artefact}
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted or found[name]["sha256"] != wanted[name]["sha256"]:
            return name
    return None


def check_at_a_glance(root: Path, stage: str, names: Iterable[str]) -> None:
    """Refuse files of a stage that are not what it wrote; one that is not there, or not known, is passed over.

    Raises:
        WorkspaceError: one of them, or the manifest, is damaged.
    """
    names = list(names)
    manifest = read_manifest_file(root)
    while damaged := _first_damaged(root, manifest, stage, names):
        seen, manifest = manifest, read_manifest_file(root)
        # Otherwise the stage has just put new ones in place.
        if manifest == seen:
            raise damaged_file(root, damaged, stage)


def damaged_file(root: Path, name: str, stage: str) -> WorkspaceError:
    """The error of a file that is not what the stage that makes it wrote."""
    what = (
        f"is damaged or from another workspace: it is not what `mmsc {stage}` wrote here"
        if (root / name).exists()
        else "is gone"
    )
    return WorkspaceError(f"{root / name} {what}", hint=in_workspace(f"run {STAGE_COMMANDS[stage]} again", root))


def _first_damaged(root: Path, manifest: dict[str, Any] | None, stage: str, names: Iterable[str]) -> str | None:
    record = (manifest or {}).get("stages", {}).get(stage, {})
    for name in names:
        about = record.get("files", {}).get(name)
        try:
            status = (root / name).stat()
        except FileNotFoundError:
            continue
        if about is None:
            continue
        same = {key: about.get(key) for key in ("bytes", "mtime_ns")} == _glance(status)
        if not (same and status.st_size >= _GLANCED_AT_FROM) and _hash(root / name) != about.get("sha256"):
            return name
    return None


def _glance(status: os.stat_result) -> dict[str, int]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _files(folder: Path) -> list[tuple[Path, Path]]:
    return [(path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
