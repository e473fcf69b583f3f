"""Tell a folder of the user's own from a workspace, or from one that is about to be."""

from __future__ import annotations

import os
from pathlib import Path

from mmsc_cli.errors import NoWorkspaceError
from mmsc_cli.workspace.lock import LOCK, is_marked
from mmsc_cli.workspace.manifest_file import read_manifest_file

RECIPE = "recipe.toml"  # what was guessed of files that `run` or `prepare` was given
# What may be in a folder before it is a workspace: what a first `prepare` leaves that did not come to its end.
_BEFORE_MANIFEST = {LOCK, ".staging", "downloads", RECIPE}


def refuse_strange_folder(root: Path) -> None:
    """Refuse a folder with files of the user's own, which no command makes a workspace of.

    Raises:
        NoWorkspaceError: it is such a folder.
        WorkspaceError: its manifest is damaged or of a newer format version.
    """
    if read_manifest_file(root) is not None or not root.is_dir():
        return
    strange = sorted(set(os.listdir(root)) - _BEFORE_MANIFEST)  # noqa: PTH208  names, not paths
    if strange and not is_marked(root):
        raise NoWorkspaceError(
            f"{root} is not empty and is no workspace: it has {strange[0]!r} but no manifest.json", root / "workspace"
        )
