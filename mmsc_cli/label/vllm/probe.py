"""Looks at vLLM, its device and a model from the inside: what to choose depends on all three.

Run as a script by the Python that vLLM is installed for, with the model's name or path. The last line of its output is
one JSON object, see `mmsc_cli.label.vllm.Machine`. What cannot be found out is null: to say why is left to the server.
"""

from __future__ import annotations

import contextlib
import json
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(model: str) -> None:
    """Print what was found; nothing, at once, where this is not the Python that holds vLLM."""
    if find_spec("vllm") is None:
        sys.exit(1)
    found = {"distribution": _has_distribution(), **_platform(), "model": _model(model)}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def _has_distribution() -> bool:
    """Whether `vllm serve` works: it asks for the distribution `vllm`, which a CPU build may be named differently."""
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return False
    return True


def _platform() -> dict[str, Any]:
    import psutil
    import torch
    from vllm.platforms import current_platform

    gpus = []
    if current_platform.device_type == "cuda":
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            gpus.append({"name": torch.cuda.get_device_name(number), "free": free, "total": total})
    return {
        "device": current_platform.device_type,
        "dtypes": [str(dtype).removeprefix("torch.") for dtype in current_platform.supported_dtypes],
        "gpus": gpus,
        "free_memory": psutil.virtual_memory().available,
    }


def _model(model: str) -> dict[str, Any]:
    found: dict[str, Any] = {"context": None, "heads": None, "weights": None, "chat_template": None}
    with contextlib.suppress(Exception):  # the hub, or a model's own file, may fail in any way
        found["weights"] = _weight_bytes(model)
    with contextlib.suppress(Exception):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model).get_text_config()
        found["context"] = getattr(config, "max_position_embeddings", None)
        found["heads"] = getattr(config, "num_attention_heads", None)
    with contextlib.suppress(Exception):
        from transformers import AutoTokenizer

        found["chat_template"] = AutoTokenizer.from_pretrained(model).chat_template is not None
    return found


def _weight_bytes(model: str) -> int | None:
    if Path(model).is_dir():
        sizes = {path.name: path.stat().st_size for path in Path(model).glob("*.safetensors")}
    else:
        from huggingface_hub import HfApi

        files = HfApi().model_info(model, files_metadata=True, timeout=10).siblings or []
        sizes = {file.rfilename: file.size or 0 for file in files if file.rfilename.endswith(".safetensors")}
    # Some models carry the same weights twice, as model-*.safetensors and as consolidated.safetensors.
    kept = [size for name, size in sizes.items() if name.startswith("model")] or list(sizes.values())
    return sum(kept) or None


if __name__ == "__main__":
    main(sys.argv[1])
