"""What a user installs: the wheel holds all that the package reads, and it works from there."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from mmsc_cli.upkeep.doctor import EXTRAS

ROOT = Path(__file__).parents[1]
DATA = (
    "recipes/*.toml",
    "mmsc_cli/prepare/sources/demo/*.toml",
    "mmsc_cli/evaluate/report/templates/*",
    "mmsc_cli/serve/page/*",
    "mmsc_cli/py.typed",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("pattern", DATA)
def test_the_wheel_holds_the_data_files(wheel: Path, pattern: str) -> None:
    expected = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    installed = {name if name.startswith("mmsc_cli/") else f"mmsc_cli/{name}" for name in expected}

    assert expected
    assert installed <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_no_tests(wheel: Path) -> None:
    folders = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {name for name in folders if not name.endswith(".dist-info")} == {"mmsc_cli"}


def test_an_unpacked_wheel_finds_its_recipes(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    command = [sys.executable, "-m", "mmsc_cli", "recipes", "show", "demo"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)

    assert ran.stdout == (ROOT / "recipes" / "demo.toml").read_text(encoding="utf-8")


def test_doctor_lists_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"])
