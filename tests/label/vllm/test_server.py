from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.label.vllm import install as vllm_install
from mmsc_cli.label.vllm.install import Machine, ModelFacts, Vllm
from mmsc_cli.label.vllm.server import serve
from mmsc_cli.label.vllm.settings import ServerSettings

QUICK = ServerSettings(start_timeout=20)
FAKE_VLLM = """#!{python}
import http.server, os, pathlib, signal, subprocess, sys, time
assert sys.argv[1] == "serve" and sys.argv[3:6] == ["--host", "127.0.0.1", "--port"], sys.argv
model, port = sys.argv[2], int(sys.argv[6])
print("loading", model, flush=True)
if model == "crash":
    for n in range(40):
        print("line", n)
    sys.exit("CUDA out of memory\\x1b[31m")
if model == "slow":
    time.sleep(60)
if model == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", STUBBORN])
pathlib.Path(__file__).with_name("pids").write_text(f"{{os.getpid()}} {{worker.pid}}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `vllm` on PATH that acts as the model's name says; the folder it writes its process ids to."""
    monkeypatch.delenv("MMSC_VLLM_PYTHON", raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    executable = folder / "vllm"
    executable.write_text(FAKE_VLLM.format(python=sys.executable))
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def gone() -> Callable[[Path], bool]:
    """Whether the fake server and its worker have ended, waiting a little for the system to bury them."""

    def alive(pid: int) -> bool:
        command = ["ps", "-o", "stat=", "-p", str(pid)]
        status = subprocess.run(command, capture_output=True, text=True, check=False)
        return bool(status.stdout.strip()) and not status.stdout.startswith("Z")

    def check(folder: Path) -> bool:
        pids = [int(pid) for pid in (folder / "pids").read_text().split()]
        for _ in range(100):
            if not any(map(alive, pids)):
                return True
            time.sleep(0.05)
        return False

    return check


def test_it_is_up_inside_and_gone_afterwards(fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool]) -> None:
    with serve("tiny", tmp_path / "log", QUICK, question_bytes=100) as up:
        assert up.url.endswith("/v1")
        assert httpx.get(up.url.replace("/v1", "/health"), trust_env=False).is_success
        assert up.ended() is None
    assert gone(fake_vllm)
    assert "loading tiny" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_it_is_gone_after_an_exception(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool], error: type[BaseException]
) -> None:
    with pytest.raises(error), serve("tiny", tmp_path / "log", QUICK, question_bytes=100):
        raise error
    assert gone(fake_vllm)


def test_one_that_ignores_the_request_to_end_is_killed(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool]
) -> None:
    with serve("stubborn", tmp_path / "log", QUICK, question_bytes=100, grace=0.2):
        pass
    assert gone(fake_vllm)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_is_gone_when_we_are_killed(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool], how: signal.Signals
) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from mmsc_cli.label.vllm.server import serve\n"
        "from mmsc_cli.label.vllm.settings import ServerSettings\n"
        "with serve('tiny', pathlib.Path(sys.argv[1]), ServerSettings(), question_bytes=1):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(how)
    assert gone(fake_vllm)


def test_a_failed_start_shows_the_end_of_the_log(fake_vllm: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="ended with status 1 while starting") as caught:
        serve("crash", tmp_path / "log", QUICK, question_bytes=100).__enter__()
    lines = caught.value.message.splitlines()
    assert lines[-1] == "  CUDA out of memory[31m"
    assert "  line 39" in lines
    assert "  line 15" not in lines
    assert str(tmp_path / "log") in (caught.value.hint or "")


def test_a_start_that_takes_too_long_is_given_up(fake_vllm: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(UnreachableError, match=r"not up after 4 s\n  loading slow"),
        serve("slow", tmp_path / "log", ServerSettings(start_timeout=4), question_bytes=100),
    ):
        pass


def test_one_that_ends_by_itself_is_told_with_its_last_words(fake_vllm: Path, tmp_path: Path) -> None:
    with serve("tiny", tmp_path / "log", QUICK, question_bytes=100) as up:
        up.process.kill()
        up.process.wait()
        ended = up.ended()
    assert isinstance(ended, UnreachableError)
    assert "ended with status -9\n  loading tiny" in ended.message


def test_what_is_chosen_is_said_before_it_starts(
    fake_vllm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "mmsc_cli"), serve("tiny", tmp_path / "log", QUICK, question_bytes=3_000):
        pass
    for name in ("dtype: auto", "tensor-parallel size: 1", "memory share: 0.9", "context length: 3328"):
        assert name in caplog.text
    assert "a token has one or more" in caplog.text


@pytest.mark.parametrize("device", ["", "cuda"])
def test_vllm_without_a_device_it_was_built_for_has_three_ways_out(
    fake_vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    nothing = Machine(device, dtypes=(), gpus=(), free_memory=2**30, model=ModelFacts())
    monkeypatch.setattr(Vllm, "examine", lambda *_: nothing)
    with (
        pytest.raises(UnreachableError, match="no GPU") as caught,
        serve("tiny", tmp_path / "log", QUICK, question_bytes=1),
    ):
        pass
    assert "--endpoint URL" in (caught.value.hint or "")
    assert not (fake_vllm / "pids").exists()


def test_a_python_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSC_VLLM_PYTHON", "/no/such/python")
    with pytest.raises(InputError, match="MMSC_VLLM_PYTHON=/no/such/python"):
        vllm_install.find_vllm()


def test_a_cpu_build_is_started_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSC_VLLM_PYTHON", sys.executable)
    vllm = Vllm(sys.executable, "/somewhere/vllm")
    machine = Machine("cpu", ("bfloat16",), (), 2**30, ModelFacts(), distribution=False)
    assert vllm.command(machine) == [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    assert vllm.command(None) == vllm.command(machine)
    assert vllm.command(replace(machine, distribution=True)) == ["/somewhere/vllm", "serve"]


def test_a_vllm_on_the_path_is_started_by_its_command_and_looked_at_by_its_python(fake_vllm: Path) -> None:
    vllm = vllm_install.find_vllm()
    assert (vllm.python, vllm.executable) == (sys.executable, str(fake_vllm / "vllm"))
    assert vllm.examine("tiny") is None  # this Python holds no vLLM
    assert vllm.command(None) == [str(fake_vllm / "vllm"), "serve"]


def test_without_vllm_the_three_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMSC_VLLM_PYTHON", raising=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(vllm_install, "find_spec", lambda _: None)
    with (
        pytest.raises(UnreachableError, match="vLLM is not installed") as caught,
        serve("m", tmp_path / "log", QUICK, question_bytes=100),
    ):
        pass
    for way in ("pip install 'mmsc-cli[vllm]'", "--endpoint URL", "--model rules"):
        assert way in (caught.value.hint or "")
