"""Open a workspace's index while stages may be putting another one in its place."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsc_cli.errors import WorkspaceError, in_workspace
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.storage import DAMAGE, model_of
from mmsc_cli.workspace.checksums import check_at_a_glance
from mmsc_cli.workspace.digests import artefact_digests
from mmsc_cli.workspace.lock import is_locked
from mmsc_cli.workspace.manifest_file import outdated_inputs, read_manifest_file
from mmsc_cli.workspace.pins import Pins
from mmsc_cli.workspace.strange_folder import refuse_strange_folder

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """An index, the folders that belong to it, and the manifest that describes them."""

    index: Index
    pins: Pins
    manifest: Mapping[str, Any] | None


def open_index(root: Path, folder: str) -> Opened:
    """Open the index in `folder`, `index` or `judged`, of a workspace.

    Raises:
        WorkspaceError: there is none, or one that is damaged or of another model.
    """
    while True:
        manifest = read_manifest_file(root)
        pins = Pins(root, (folder, "model", "embeddings"))
        try:
            index = _open(root, folder, pins)
        except WorkspaceError as error:
            if _is_at_rest(root, manifest):
                raise WorkspaceError(pins.named(error.message), error.hint) from error
        else:
            if _is_at_rest(root, manifest):
                return Opened(index, pins, manifest)
        # `mmsc train` is putting another index in place: what was opened may be of two models.
        time.sleep(0.01)


def catalogue_of(manifest: Mapping[str, Any] | None) -> str | None:
    """The digest of the pair table, which new items are answered by beside the index."""
    prepared = (manifest or {}).get("stages", {}).get("prepare", {})
    return artefact_digests(prepared).get("pairs.parquet")


def _open(root: Path, folder: str, pins: Pins) -> Index:
    files = [f"{folder}/index.json", f"{folder}/index.safetensors", "model/model.safetensors"]
    check_at_a_glance(root, "train", files)
    if not (root / folder / "index.json").exists():
        refuse_strange_folder(root)
        raise WorkspaceError(f"there is no index at {root / folder}", hint=in_workspace(_way_to_index(root), root))
    index = Index.open(pins.path(folder))
    if outdated := outdated_inputs(read_manifest_file(root) or {}, "train"):
        text = f"the index was made from another {outdated[0]} than {root} has now; run `mmsc train` again"
        _LOG.warning("%s", in_workspace(text, root))
    if _model_of(pins.path("model")) not in (None, index.about.get("model")):
        again = in_workspace("run `mmsc train` again", root)
        raise WorkspaceError(f"{root}: {folder}/ is of another model than model/", hint=again)
    return index


def _way_to_index(root: Path) -> str:
    """How a workspace without an index gets one."""
    stages = (read_manifest_file(root) or {}).get("stages", {})
    if "prepare" not in stages:
        return "run `mmsc run SOURCE`, or each stage: `mmsc prepare SOURCE`, `mmsc encode`, `mmsc train`"
    return "run `mmsc train`" if "encode" in stages else "run `mmsc encode`, then `mmsc train`"


def _model_of(folder: Path) -> str | None:
    """The model in `model/`, by its sha256; None where there is none, as an index answers alone."""
    try:
        return model_of(folder / "model.safetensors")
    except FileNotFoundError:
        return None
    except DAMAGE as error:
        raise WorkspaceError(f"{folder} is damaged: {error}", hint="run `mmsc train` again") from error


def _is_at_rest(root: Path, manifest: Mapping[str, Any] | None) -> bool:
    """Whether no stage has replaced anything since the manifest was read, nor is about to.

    A stage that was killed meanwhile holds no lock.
    """
    return read_manifest_file(root) == manifest and not ((manifest or {}).get("replacing") and is_locked(root))
