"""Python files of the current folder, which a stranger may have left there, are never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from mmsc_cli.label.vllm.command import server_command, server_environment
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.workspace.workspace import Workspace

ROOT = Path(__file__).parents[2]
# What our commands and the packages they use import, most of it late.
NAMES = [
    "json",
    "numpy",
    "torch",
    "pandas",
    "pyarrow",
    "orjson",
    "loky",
    "pydantic",
    "typer",
    "rich",
    "duckdb",
    "sklearn",
    "scipy",
    "PIL",
    "httpx",
    "tomllib",
    "jinja2",
    "safetensors",
    "threadpoolctl",
    "tenacity",
    "faiss",
    "openai",
    "vllm",
    "concurrent",
    "multiprocessing",
    "uuid",
    "tempfile",
    "logging",
]
COMMANDS = [
    "--help",
    "doctor",
    "recipes list",
    "recipes show demo",
    "check",
    "show G000",
    "prepare shop.toml --workers 2",
    "run shop.toml --no-label",
    "label --model rules",
    "encode",
    "train",
    "evaluate",
    "infer --item G000 --relation both",
    "judge -n 1",
    "clean",
    "init items.csv",
    "diff .",
]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"import os; os.mkdir('ran-{name}')\n")
    lines = "".join(f"A{number},thing {number} of a shop\n" for number in range(60))
    (folder / "items.csv").write_text("item_id,title\n" + lines)
    (folder / "pairs.csv").write_text("a,b,co_view\n" + "".join(f"A{n},A{(n * 7 + 1) % 60},1\n" for n in range(60)))
    (folder / "shop.toml").write_text(
        'name="x"\n[source]\nkind="table"\nitems="items.csv"\npairs="pairs.csv"\n[encode]\nencoder="classic"\n'
        "[train]\nepochs=1\n"
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_them(golden: Workspace, hostile: Path, command: str) -> None:
    words = command.split()
    where = ["-w", str(golden.root)] if words[0] not in ("prepare", "run", "recipes", "--help") else []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "mmsc_cli", *words, *where],
        cwd=hostile,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [path.name for path in hostile.glob("ran-*")] == [], ran.stderr
    assert ran.returncode in (0, 2), ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nor_do_the_processes_of_a_server(golden: Workspace, hostile: Path, workers: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mmsc_cli", "serve", "--port", "0", "--workers", workers, "-w", str(golden.root)]
    with subprocess.Popen(command, cwd=hostile, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        try:
            address = said.split(" at ")[1].split()[0]
            for path in (
                "",
                "v1/search?q=tripod",
                "v1/items/G000",
                "v1/items/G000/substitutes?explain=true",
                "metrics",
            ):
                assert httpx.get(address + path, trust_env=False).status_code == 200, path
        finally:
            server.terminate()

    assert [path.name for path in hostile.glob("ran-*")] == []


def test_files_of_the_current_folder_are_not_run_by_helpers(tmp_path: Path) -> None:
    (tmp_path / "orjson.py").write_text("import pathlib; pathlib.Path('ran').touch()\n")
    (tmp_path / "loky.py").write_text("import pathlib; pathlib.Path('ran').touch()\n")
    script = (
        "import sys, operator\n"
        "sys.path = [entry for entry in sys.path if entry not in ('', sys.argv[1])]\n"
        "from mmsc_cli.runtime.parallel import map_in_processes\n"
        "import time\n"
        "print(sum(1 for _ in map_in_processes(time.sleep, [0.01] * 200, 2)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "200\n", ran.stderr
    assert not (tmp_path / "ran").exists()


def test_nor_does_vllm_that_we_start(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Python that has no vLLM: the hostile one of the folder is the only one there is."""
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("MMSC_VLLM_PYTHON", sys.executable)
    command = server_command("some/model", 1, ServerSettings())
    environment = server_environment("key", ServerSettings())
    subprocess.run(command, env=environment, capture_output=True, check=False)

    assert list(hostile.glob("ran-*")) == []
