"""`--log-format`: what is written to stderr for logs."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mmsc_cli.cli.output import Output
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.terminal import in_a_terminal

if TYPE_CHECKING:
    from tests.conftest import Mmsc

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _lines(err: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in err.splitlines()]
    assert all(TIME.fullmatch(line["time"]) and line["level"] and line["command"] and line["message"] for line in lines)
    return lines


def test_a_stage_logs_objects_and_its_counts(mmsc: Mmsc, prepared_copy: Workspace) -> None:
    ran = mmsc("encode", "--encoder", "classic", "-w", prepared_copy.root, "--log-format", "json")

    *_, last = _lines(ran.err)
    assert (ran.code, ran.out) == (0, "")
    assert (last["level"], last["command"], last["stage"]) == ("info", "encode", "encode")
    assert last["counts"] == prepared_copy.manifest().stages["encode"].counts
    assert last["seconds"] >= 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("infer no-such-item", 3),
        ("infer no-such-item --strict", 3),
        ("infer --nonsense", 2),
        ("train --epochs many", 2),
        ("run no-such-file.csv", 2),
        ("clean no-such-part", 2),
    ],
)
def test_an_error_is_an_object_with_the_exit_code(mmsc: Mmsc, trained: Workspace, words: str, code: int) -> None:
    ran = mmsc(*words.split(), "-w", trained.root, "--log-format=json")

    *_, last = _lines(ran.err)
    assert ran.code == code
    assert (last["level"], last["command"], last["exit_code"]) == ("error", words.split()[0], code)
    assert last["hint"]
    assert not last["message"].startswith("mmsc: ")


def test_the_environment_decides_where_no_option_does(
    mmsc: Mmsc, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSC_LOG_FORMAT", "json")
    asked = ("infer", "no-such-item", "-w", trained.root)

    assert _lines(mmsc(*asked).err)
    assert TIME.match(mmsc(*asked, "--log-format", "text").err)


def test_what_libraries_say_is_in_the_form_too(capfd: pytest.CaptureFixture[str]) -> None:
    Output(log_format="json", command="train")
    logging.getLogger("some.library").warning("caf\u00e9 \x7f %s", "x\ny")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    first, second = _lines(capfd.readouterr().err)
    assert (first["level"], first["message"]) == ("warning", "caf\u00e9   x y")
    assert "DeprecationWarning: old" in second["message"]


def test_no_line_is_lost_where_the_locale_has_no_such_letter(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "mmsc_cli", "infer", "caf\u00e9", "-w", str(tmp_path / "caf\u00e9")]
    ran = subprocess.run(
        [*command, "--log-format", "json"], capture_output=True, env={"LC_ALL": "C", "PYTHONUTF8": "0"} | _path()
    )

    assert ran.returncode == 2
    (line,) = _lines(ran.stderr.decode("ascii"))
    assert "caf" in line["message"]


def _path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "PYTHONCOERCECLOCALE": "0"}


def test_text_has_the_time_in_front_and_no_progress_bar(prepared_copy: Workspace) -> None:
    code, shown = in_a_terminal(
        ["encode", "--encoder", "classic", "-w", str(prepared_copy.root), "--log-format", "text"]
    )

    assert code == 0
    assert all(re.match(rf"{TIME.pattern} info ", line) for line in shown.splitlines())
    assert "\x1b" not in shown
