"""What is written where: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mmsc_cli.cli.output import as_json, as_tsv
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.terminal import on_a_terminal

if TYPE_CHECKING:
    from tests.conftest import Mmsc

STAGES = {
    "prepare": ["prepare", "demo", "--set", "source.items=300", "--set", "label.budget=300"],
    "encode": ["encode"],
    "label": ["label"],
    "train": ["train", "--epochs", "1"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_did_on_stderr(mmsc: Mmsc, trained_copy: Workspace, stage: str) -> None:
    ran = mmsc(*STAGES[stage], "-w", trained_copy.root)

    assert (ran.code, ran.out) == (0, "")
    assert f"{stage}: " in ran.err
    assert "Warning" not in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_with_json_writes_one_object(mmsc: Mmsc, trained_copy: Workspace, stage: str) -> None:
    ran = mmsc(*STAGES[stage], "-w", trained_copy.root, "--json", "--quiet")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("\n") == 1
    result = json.loads(ran.out)
    assert result["stage"] == stage
    assert result["workspace"] == str(trained_copy.root)
    assert result["counts"] == json.loads(trained_copy.path("manifest.json").read_bytes())["stages"][stage]["counts"]


def test_evaluate_prints_a_table_of_figures(mmsc: Mmsc, trained_copy: Workspace) -> None:
    ran = mmsc("evaluate", "-w", trained_copy.root)

    header, first, *_ = ran.out.splitlines()
    assert header == "model\trelation\tslice\tqueries\thit@10\tndcg@10\tndcg_low\tndcg_high"
    assert ran.out.isascii()
    assert first.startswith("mmsc\tsubstitute\tall\t")
    assert "report: " in ran.err


def test_evaluate_prints_what_it_writes(mmsc: Mmsc, trained_copy: Workspace, tmp_path: Path) -> None:
    ran = mmsc("evaluate", "-w", trained_copy.root, "--json", "-q", "--report", tmp_path / "mine.html")

    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out) == json.loads(trained_copy.path("metrics.json").read_bytes())
    assert (tmp_path / "mine.html").read_bytes() == trained_copy.path("report.html").read_bytes()


def test_the_plan_of_label_asks_nothing(mmsc: Mmsc, trained: Workspace) -> None:
    ran = mmsc("label", "--model", "llama", "--dry-run", "-w", trained.root)
    planned = mmsc("label", "--model", "llama", "--dry-run", "--json", "-w", trained.root)

    assert ran.code == planned.code == 0
    assert ran.out.startswith("--- prompt 1\n")
    assert json.loads(planned.out)["prompts"]


def test_recipes_are_listed_shown_and_copied(mmsc: Mmsc, tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    listed = mmsc("recipes", "list", "--json")
    copied = mmsc("recipes", "copy", "demo", target)
    again = mmsc("recipes", "copy", "demo", target)

    assert {"demo", "my-shop", "amazon-beauty"} <= {recipe["name"] for recipe in json.loads(listed.out)}
    assert (copied.code, copied.out) == (0, "")
    assert target.read_text() == mmsc("recipes", "show", "demo").out
    assert json.loads(mmsc("recipes", "show", target, "--json", "--set", "seed=7").out)["seed"] == 7
    assert again.code == 2
    assert "exists" in again.err


def test_doctor_describes_even_a_broken_workspace(mmsc: Mmsc, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    found = json.loads(mmsc("doctor", "--json", "--device", "cpu", "-w", tmp_path).out)

    assert found["device"]["chosen"] == "cpu"
    assert "damaged" in found["workspace"]["manifest"]
    assert set(found["extras"]) == {"llm", "vllm", "faiss", "baselines", "text", "adapt", "sql", "serve", "ray"}


def test_what_would_steer_a_terminal_is_taken_out_or_escaped() -> None:
    evil = "A\x1b[31mB\tC\nD\x9bE\u202eF"

    assert as_tsv(["x", evil]) == "x\tA [31mB C D E F\n"
    assert json.loads(as_json({"title": evil})) == {"title": evil}
    assert not set(as_json(evil)) & set("\x1b\x9b\u202e\t")


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_shown_to_a_terminal_only(prepared_copy: Workspace, watched: bool) -> None:
    arguments = ["encode", "--encoder", "classic", "-w", str(prepared_copy.root)]
    if not watched:
        ran = subprocess.run([sys.executable, "-m", "mmsc_cli", *arguments], capture_output=True, check=True)
        assert b"\x1b" not in ran.stderr
        return
    code, shown, piped = on_a_terminal(arguments, os.environ | {"TERM": "xterm"}, stdout_is_piped=True)
    assert code == 0
    assert piped == b""
    assert b"\x1b[" in shown
    assert b"encode: 300 texts" in shown


@pytest.mark.parametrize("no_color", [True, False])
@pytest.mark.parametrize("command", ["recipes list", "infer --help", "--help"])
def test_no_color_means_no_styles(command: str, no_color: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "100"} | ({"NO_COLOR": "1"} if no_color else {})
    code, shown, _ = on_a_terminal(command.split(), environment)
    assert code == 0
    assert (b"\x1b[" in shown) is not no_color


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_stdout_is_utf8_whatever_the_locale(encoding: str) -> None:
    program = (
        "import sys; import mmsc_cli.cli.app as app, mmsc_cli.__main__ as main;"
        "app.run_command = lambda: print('caf\\u00e9 \\u2615') or 0; main.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )

    assert ran.stdout.decode("utf-8") == "caf\u00e9 \u2615\n"
    assert ran.returncode == 0
