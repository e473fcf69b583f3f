"""`manifest.json` on the disk: read without pydantic, so that `infer` can, and sealed by a checksum of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmsc_cli.errors import NoWorkspaceError, WorkspaceError, in_workspace
from mmsc_cli.runtime.atomic import encode_json, write_json
from mmsc_cli.version import __version__
from mmsc_cli.workspace.digests import artefact_digests
from mmsc_cli.workspace.regular_file import open_regular
from mmsc_cli.workspace.stages import Stage

FORMAT_VERSION = 1
NAME = "manifest.json"


def read_manifest_file(root: Path) -> dict[str, Any] | None:
    """Return the content of a workspace's manifest, None where there is none.

    Raises:
        WorkspaceError: it is damaged or of a newer format version.
    """
    path = root / NAME
    if os.path.lexists(root) and not root.is_dir():
        what = "a link that leads nowhere" if root.is_symlink() and not root.exists() else "no folder"
        raise NoWorkspaceError(f"the workspace {root} is {what}", root.with_name(f"{root.name}-workspace"))
    try:
        with open_regular(path) as file:
            content = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise damaged_manifest(root, str(error)) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise WorkspaceError(
            f"{path}: format version {version} is newer than this mmsc {__version__} reads ({FORMAT_VERSION})",
            hint="upgrade with `pip install --upgrade mmsc-cli`, or use another folder (-w DIR)",
        )
    if not isinstance(content, dict):
        raise damaged_manifest(root, "not a JSON object")
    seal = content.pop("sha256", None)
    if seal is not None and seal != _seal(content):
        raise damaged_manifest(root, "checksum mismatch")
    if (wrong := _misshapen(content)) is not None:
        raise damaged_manifest(root, f"{wrong}: not a JSON object")
    return content


def outdated_inputs(content: Mapping[str, Any], stage: Stage) -> list[str]:
    """Return the artefacts that a stage ran on and that were made again since then."""
    stages = content.get("stages", {})
    now: dict[str, str] = {}
    for record in stages.values():
        now |= artefact_digests(record)
    return [name for name, used in stages.get(stage, {}).get("inputs", {}).items() if now.get(name) != used]


def write_manifest_file(root: Path, content: Mapping[str, Any]) -> None:
    """Replace a workspace's manifest, atomically."""
    write_json(root / NAME, {**content, "sha256": _seal(content)})


def damaged_manifest(root: Path, reason: str) -> WorkspaceError:
    """Return the error of a manifest that cannot be trusted."""
    return WorkspaceError(
        f"{root / NAME} is damaged: {reason}",
        hint=in_workspace("delete it and run `mmsc prepare SOURCE` again", root),
    )


def _misshapen(content: Mapping[str, Any]) -> str | None:
    """Return the name of the first of the tables that are read here and there which is no table; None if all are."""
    stages = content.get("stages", {})
    if not isinstance(stages, dict):
        return "stages"
    for stage, record in stages.items():
        if not isinstance(record, dict):
            return f"stages.{stage}"
        for name in ("config", "inputs", "files", "counts"):
            if not isinstance(record.get(name, {}), dict):
                return f"stages.{stage}.{name}"
        for name, file in record.get("files", {}).items():
            if not isinstance(file, dict):
                return f"stages.{stage}.files.{name}"
    return None


def _seal(content: Mapping[str, Any]) -> str:
    return sha256(encode_json(json.dumps(content, sort_keys=True, ensure_ascii=False))).hexdigest()
