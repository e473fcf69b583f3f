"""A workspace made by someone who wants to harm: what was changed in it is sealed again."""

from __future__ import annotations

from mmsc_cli.workspace.checksums import describe
from mmsc_cli.workspace.manifest import FileRecord
from mmsc_cli.workspace.stages import MAKER, STAGES
from mmsc_cli.workspace.workspace import Workspace


def seal_again(workspace: Workspace) -> None:
    """Let the manifest vouch for everything as it is now, and for everything having been made from it."""
    manifest = workspace.manifest()
    for stage, record in manifest.stages.items():
        made = [name for name in STAGES[stage].makes if workspace.path(name).exists()]
        described = {path: file for name in made for path, file in describe(workspace.root, name).items()}
        record.files = {path: FileRecord(**file) for path, file in described.items()}
    for record in manifest.stages.values():
        record.inputs = {source: manifest.stages[MAKER[source]].outputs[source] for source in record.inputs}
    workspace._write_manifest(manifest)
