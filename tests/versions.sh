#!/usr/bin/env bash
# The test suite with the oldest or the newest packages that pyproject.toml allows:
# `tests/versions.sh lowest|newest [ARGUMENT OF PYTEST]...`. The environment takes 7 GB and is removed afterwards. What
# those packages need in turn is as new as they allow. PYTHON is the Python it is made with (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    lowest) resolution=lowest-direct ;;
    newest) resolution=highest ;;
    *)
        echo "usage: tests/versions.sh lowest|newest [ARGUMENT OF PYTEST]..." >&2
        exit 2
        ;;
esac
shift

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_CACHE_DIR="$place/cache"
"${PYTHON:-python3}" -m venv "$place/tools"
"$place/tools/bin/pip" install --quiet uv
uv() { "$place/tools/bin/uv" --quiet "$@"; }

uv venv --python "$place/tools/bin/python" "$place/venv"
uv pip install --python "$place/venv/bin/python" --resolution "$resolution" \
    --editable '.[adapt,baselines,faiss,llm,serve,text]' --group test
uv pip list --python "$place/venv/bin/python"
"$place/venv/bin/python" -m pytest "$@"
