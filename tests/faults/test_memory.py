"""Under a limit on the address space a stage finishes, or says in a line or two what lowers its need."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmsc_cli.cli.failures import describe, exit_code
from mmsc_cli.runtime.memory import LEAST_ADDRESS_SPACE
from mmsc_cli.workspace.workspace import Workspace

DATA = Path(os.environ.get("MMSC_TEST_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
BEAUTY = DATA / "meta_Beauty_5core.json.gz"
MIB = 1 << 20
LIMIT = 2048 * MIB

Limited = Callable[..., "subprocess.CompletedProcess[str]"]

needs_limit = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")


@pytest.fixture
def limited() -> Limited:
    """Run a command line in a process whose address space is limited, with the libraries' own defaults."""
    own = ("OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "MMSC_", "ARROW_")

    def run(*arguments: object, limit: int = LIMIT) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return subprocess.run(
            [sys.executable, "-m", "mmsc_cli", *map(str, arguments)],
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


def _refused(ran: subprocess.CompletedProcess[str], *options: str) -> None:
    """The command says, briefly, that memory is short, and names one of the options that lower its need."""
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "bug" not in ran.stderr
    message = ran.stderr[ran.stderr.index("mmsc: ") :].splitlines()
    assert len(message) <= 2
    assert "memory" in message[0] or "address space" in message[0]
    assert any(option in message[-1] for option in options), ran.stderr


@needs_limit
def test_a_shop_is_prepared_encoded_judged_and_asked_within_2_gib(
    trained_copy: Workspace, item_ids: list[str], tmp_path: Path, limited: Limited
) -> None:
    there, new = ("-w", trained_copy.root), ("-w", tmp_path / "new")
    for arguments in (
        ("evaluate", *there),
        ("infer", *there, "--item", item_ids[0], "--relation", "both"),
        ("prepare", "demo", "--set", "source.items=300", *new),
        ("encode", "--encoder", "classic", *new),
        ("label", "--model", "rules", "--set", "label.budget=100", *new),
    ):
        ran = limited(*arguments)
        assert ran.returncode == 0, f"{arguments}: {ran.stderr}"


@needs_limit
def test_what_needs_a_library_that_does_not_fit_says_what_does_not(trained_copy: Workspace, limited: Limited) -> None:
    there = ("-w", trained_copy.root)
    _refused(limited("evaluate", "--baselines", "lightgcn", *there, limit=700 * MIB), "--baselines")
    _refused(limited("encode", "--encoder", "auto", *there, limit=700 * MIB), "--encoder classic")
    _refused(limited("train", *there, limit=700 * MIB), "more memory")


@needs_limit
def test_all_baselines_are_those_that_there_is_room_for(trained_copy: Workspace, limited: Limited) -> None:
    ran = limited("evaluate", "--baselines", "all", "--json", "-w", trained_copy.root, limit=1400 * MIB)

    assert ran.returncode == 0, ran.stderr
    assert "baseline lightgcn is left out: networks need PyTorch" in ran.stderr
    assert '"ease"' in ran.stdout


@needs_limit
@pytest.mark.parametrize("limit", [140, 320, 660, 720])
@pytest.mark.parametrize("command", ["prepare", "encode", "evaluate"])
def test_however_short_memory_is_nothing_ends_without_a_word(
    command: str, limit: int, trained_copy: Workspace, limited: Limited
) -> None:
    arguments = {
        "prepare": ("prepare", "demo", "--set", "source.items=300"),
        "encode": ("encode", "--encoder", "classic"),
        "evaluate": ("evaluate",),
    }[command]

    ran = limited(*arguments, "-w", trained_copy.root, limit=limit * MIB)

    if ran.returncode or limit < LEAST_ADDRESS_SPACE // MIB:
        _refused(ran, "more memory")


@needs_limit
@pytest.mark.real_data
@pytest.mark.skipif(not BEAUTY.is_file(), reason="no real data: set MMSC_TEST_DATA to their folder")
def test_beauty_is_prepared_and_encoded_within_2_gib(tmp_path: Path, limited: Limited) -> None:
    workspace = ("-w", tmp_path / "beauty")
    for arguments in (("prepare", "amazon-beauty", "--input", BEAUTY), ("encode", "--encoder", "classic")):
        ran = limited(*arguments, *workspace)
        assert ran.returncode == 0, ran.stderr
    assert Workspace(tmp_path / "beauty").manifest().stages["encode"].counts["texts"] == 12_097


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("mmsc prepare shop.toml", "source.memory_gib"),
        ("mmsc encode", "--encoder classic"),
        ("mmsc label --model rules", "label.budget"),
        ("mmsc train -w shop", "train.dim"),
        ("mmsc evaluate --baselines all", "--baselines none"),
    ],
)
def test_each_stage_names_its_own_options(command: str, option: str) -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    lines = describe(error, command)

    assert exit_code(error) == 2
    assert len(lines) == 2
    assert option in lines[1]
