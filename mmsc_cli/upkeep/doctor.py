"""What `mmsc doctor` reports: software, extras, the device, and the stages of a workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from mmsc_cli.errors import MmscError, in_workspace
from mmsc_cli.label.vllm.command import PYTHON_VARIABLE
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.machine.device import DeviceRequest, choose_device
from mmsc_cli.runtime.machine.versions import software_versions
from mmsc_cli.workspace.manifest import StageRecord
from mmsc_cli.workspace.manifest_file import outdated_inputs, read_manifest_file
from mmsc_cli.workspace.stages import STAGE_COMMANDS, STAGES, Stage
from mmsc_cli.workspace.workspace import Workspace

EXTRAS = {
    "llm": "openai",
    "vllm": "vllm",
    "faiss": "faiss",
    "baselines": "implicit",
    "text": "sentence_transformers",
    "adapt": "peft",
    "serve": "fastapi",
}


def examine(workspace: Workspace, request: DeviceRequest) -> dict[str, dict[str, str]]:
    """Describe the environment: topics map names to values. Problems are described, not raised."""
    return {
        "software": software_versions(),
        "extras": {name: _extra(name, module) for name, module in EXTRAS.items()},
        "device": _device(request),
        "machine": {"cores": str(os.cpu_count()), "free disk": _free_disk(workspace)},
        "workspace": _stages(workspace),
    }


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


def _stages(workspace: Workspace) -> dict[str, str]:
    path = {"path": str(workspace.root)}
    try:
        records = workspace.manifest().stages
    except MmscError as error:
        return path | {"manifest": error.message}
    content = read_manifest_file(workspace.root) or {}
    return path | {
        stage: _stage(workspace, stage, records.get(stage), outdated_inputs(content, stage)) for stage in STAGES
    }


def _stage(workspace: Workspace, stage: Stage, record: StageRecord | None, outdated: Sequence[str]) -> str:
    if record is None:
        return "not run"
    damage = workspace.find_damage(stage)
    if damage is not None:
        return f"{damage.message}; {damage.hint}"
    if outdated:
        again = in_workspace(f"run {STAGE_COMMANDS[stage]} again", workspace.root)
        return f"older than its inputs ({', '.join(outdated)}); {again}"
    return f"done {record.finished}, {record.seconds:.1f} s"
