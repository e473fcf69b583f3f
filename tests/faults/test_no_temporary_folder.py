"""Where no temporary folder and no shared memory can be written to, the work is done in one process and in place."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import loky
import pytest

from mmsc_cli.runtime.parallel import map_in_processes
from mmsc_cli.serve.stock import Stock
from mmsc_cli.workspace.workspace import Workspace

# As `mmsc`, where Python finds no folder for temporary files.
SCRIPT = """
import sys, tempfile
def find(): raise FileNotFoundError(2, "No usable temporary directory found")
tempfile._get_default_tempdir = find
sys.argv = ["mmsc", *sys.argv[1:]]
from mmsc_cli.__main__ import main
main()
"""


def _run(*words: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *words]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "command", ["label --model rules --set label.budget=30", "encode", "infer --item G000", "doctor", "show G000"]
)
def test_commands_need_no_temporary_folder(golden: Workspace, command: str) -> None:
    _run(*command.split(), "-w", str(golden.root))


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_tables_of_ones_own_need_none(tmp_path: Path, ending: str) -> None:
    write = gzip.compress if ending.endswith(".gz") else bytes
    (tmp_path / f"items{ending}").write_bytes(write(b"item_id,title\nA,lamp\nB,shade\nC,bulb\n"))
    (tmp_path / f"pairs{ending}").write_bytes(write(b"a,b,co_view\nA,B,1\nB,C,1\n"))
    (tmp_path / "shop.toml").write_text(
        f'name="x"\n[source]\nkind="table"\nitems="items{ending}"\npairs="pairs{ending}"\n'
    )
    _run("prepare", str(tmp_path / "shop.toml"), "-w", str(tmp_path / "space"))


def test_a_server_of_one_process_keeps_the_stock_in_memory() -> None:
    stock = Stock(None)
    assert stock.get() is None
    assert stock.put(["B", "A", "A"]) == 2
    held = stock.get()
    assert held is not None
    assert held[0] == {"A", "B"}
    stock.put(["A"])
    assert stock.get() != held


def test_serving_needs_none(golden: Workspace) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, "serve", "--port", "0", "-w", str(golden.root)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        server.terminate()

    assert "serving" in said, said + server.stderr.read()
    assert server.returncode == 0


def test_without_shared_memory_one_process_does_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied", "/dev/shm")

    monkeypatch.setattr(loky, "ProcessPoolExecutor", refuse)
    assert list(map_in_processes(abs, [-1, -2, 3], 4)) == [1, 2, 3]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "one process" in caplog.text
