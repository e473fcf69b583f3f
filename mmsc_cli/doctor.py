"""What `mmsc doctor` looks at: software, extras, devices, and how far a workspace is."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

from mmsc_cli.errors import MmscError
from mmsc_cli.label.vllm.command import PYTHON_VARIABLE
from mmsc_cli.runtime.device import DeviceRequest, choose_device
from mmsc_cli.runtime.versions import software_versions
from mmsc_cli.workspace.stages import STAGES
from mmsc_cli.workspace.workspace import Workspace

EXTRAS = {
    "llm": "openai",
    "vllm": "vllm",
    "faiss": "faiss",
    "baselines": "implicit",
    "text": "sentence_transformers",
    "adapt": "peft",
}


def examine(workspace: Workspace, request: DeviceRequest) -> dict[str, dict[str, str]]:
    """Describe the environment; topics map names to values. What is wrong is described too, not raised."""
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
    return "installed" if find_spec(module) else f"absent: pip install 'mmsc-cli[{name}]'"


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
    found = {"path": str(workspace.root)}
    try:
        stages = workspace.manifest().stages
    except MmscError as error:
        return found | {"manifest": error.message}
    for stage in STAGES:
        record = stages.get(stage)
        damage = workspace.find_damage(stage)
        if record is None:
            found[stage] = "not run"
        elif damage is not None:
            found[stage] = f"{damage.message}; {damage.hint}"
        else:
            found[stage] = f"done {record.finished}, {record.seconds:.1f} s"
    return found
