"""What `mmsc doctor` reports: software, extras, the device, and the stages and artefacts of a workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmsc_cli.errors import MmscError, in_workspace
from mmsc_cli.label.vllm.command import PYTHON_VARIABLE
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.machine.device import DeviceRequest, choose_device
from mmsc_cli.runtime.machine.versions import software_versions
from mmsc_cli.runtime.plain_words import sized
from mmsc_cli.upkeep.clean import find_parts
from mmsc_cli.workspace.checksums import list_files
from mmsc_cli.workspace.manifest import StageRecord
from mmsc_cli.workspace.manifest_file import outdated_inputs
from mmsc_cli.workspace.stages import MAKER, STAGE_COMMANDS, STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

EXTRAS = {
    "llm": "openai",
    "vllm": "vllm",
    "faiss": "faiss",
    "baselines": "implicit",
    "text": "sentence_transformers",
    "adapt": "peft",
    "ray": "ray",
    "sql": "adbc_driver_postgresql",
    "serve": "fastapi",
}


def examine(workspace: Workspace, request: DeviceRequest) -> dict[str, dict[str, Any]]:
    """Describe the environment: topics map names to values. Problems are described, not raised.

    Values are texts; those of `artefacts`, which has what the manifest lists, are mappings: `stage`, `made`, `bytes`,
    `files`, and `state`, which is `current`, `outdated` or `damaged`, with its `reason`.
    """
    return {
        "software": software_versions(),
        "extras": {name: _extra(name, module) for name, module in EXTRAS.items()},
        "device": _device(request),
        "machine": {"cores": str(os.cpu_count()), "free disk": _free_disk(workspace)},
        **_workspace(workspace),
    }


def find_damaged(examined: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names of what is damaged, of what `examine` returns: the manifest, or artefacts."""
    manifest = ["manifest.json"] if "manifest" in examined["workspace"] else []
    return manifest + [name for name, found in examined["artefacts"].items() if found["state"] == "damaged"]


def _extra(name: str, module: str) -> str:
    python = os.environ.get(PYTHON_VARIABLE) if name == "vllm" else None
    if python:
        return f"{PYTHON_VARIABLE}={python}"
    return "installed" if find_spec(module) else f"absent: {extra_command(name)}"


def _device(request: DeviceRequest) -> dict[str, str]:
    try:
        choice = choose_device(request)
    except MmscError as error:
        return {"chosen": "none", "reason": error.message}
    return {"chosen": choice.device.type, "reason": choice.reason}


def _free_disk(workspace: Workspace) -> str:
    root = workspace.root if workspace.root.is_dir() else workspace.root.absolute().parent
    return f"{shutil.disk_usage(root).free / 2**30:.1f} GiB" if root.is_dir() else "unknown"


def _workspace(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The topics `workspace` and `artefacts`."""
    path = {"path": str(workspace.root)}
    try:
        manifest = workspace.manifest()
    except MmscError as error:
        return {"workspace": path | {"manifest": error.message}, "artefacts": {}}
    records = manifest.stages
    reasons = _outdated(manifest.model_dump(), records)
    stages: dict[str, str] = {}
    artefacts: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        record = records.get(stage)
        if record is None:
            stages[stage] = "not run"
            continue
        damage = workspace.find_damage(stage)
        stages[stage] = _stage(workspace, stage, record, list(damage.values()), reasons.get(stage))
        for name in record.outputs:
            artefacts[name] = {
                "stage": stage,
                "made": record.finished,
                **_size(workspace.root, name),
                **_state(damage.get(name), reasons.get(stage)),
            }
    return {"workspace": path | stages | {"can go": _can_go(workspace)}, "artefacts": artefacts}


def _outdated(content: Mapping[str, Any], records: Mapping[Stage, StageRecord]) -> dict[Stage, str]:
    """Why stages are outdated: their inputs were made again, or are outdated themselves, or there are new ones."""
    reasons: dict[Stage, str] = {}
    order: list[Stage] = ["prepare", "caption", "label", "encode", "train", "evaluate"]
    made = {artefact for record in records.values() for artefact in record.outputs}
    for stage in (stage for stage in order if stage in records):
        inputs = records[stage].inputs
        new = [name for name in STAGES[stage].uses if name in made and name not in inputs]
        old = [name for name in inputs if MAKER.get(name) in reasons]
        if again := outdated_inputs(content, stage):
            reasons[stage] = f"older than its inputs ({', '.join(again)})"
        elif old:
            reasons[stage] = f"made from what is outdated ({', '.join(old)})"
        elif new:
            reasons[stage] = f"made without {', '.join(new)}"
    return reasons


def _stage(
    workspace: Workspace, stage: Stage, record: StageRecord, damage: Sequence[MmscError], reason: str | None
) -> str:
    if damage:
        return f"{damage[0].message}; {damage[0].hint}"
    if reason:
        return f"{reason}; {in_workspace(f'run {STAGE_COMMANDS[stage]} again', workspace.root)}"
    return f"done {record.finished}, {record.seconds:.1f} s"


def _state(damage: MmscError | None, reason: str | None) -> dict[str, str]:
    if damage is not None:
        return {"state": "damaged", "reason": damage.message}
    return {"state": "outdated", "reason": reason} if reason else {"state": "current", "reason": ""}


def _size(root: Path, artefact: str) -> dict[str, int]:
    """Bytes and number of files on the disk; none where the artefact is gone, or cannot be read."""
    try:
        sizes = [(root / name).stat().st_size for name in list_files(root, artefact)]
    except (OSError, MmscError):
        return {"bytes": 0, "files": 0}
    return {"bytes": sum(sizes), "files": len(sizes)}


def _can_go(workspace: Workspace) -> str:
    try:
        total = sum(here.bytes for here in find_parts(workspace.root))
    except (OSError, MmscError) as error:
        return str(error)
    return f"{sized(total)}: {in_workspace('`mmsc clean` lists it', workspace.root)}" if total else sized(total)
