"""A small trained workspace, made once, and the command line as a function."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from mmsc_cli.tables.items import read_items
from mmsc_cli.workspace.workspace import Workspace

pytest_plugins = [
    "tests.fixtures.encoding",
    "tests.fixtures.gcs_store",
    "tests.fixtures.hand_made_index",
    "tests.fixtures.https_server",
    "tests.fixtures.object_store",
    "tests.fixtures.postgres",
    "tests.fixtures.server",
]

# Threads that fight over busy cores cost more than they bring for work this small; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str


Mmsc = Callable[..., Ran]


@pytest.fixture(autouse=True)
def log() -> None:
    """What a command line has set up in this process is undone: pytest before 9.1 sees only what reaches the root."""
    logger = logging.getLogger("mmsc_cli")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    root = logging.getLogger()
    for handler in [known for known in root.handlers if type(known).__module__.startswith("mmsc_cli")]:
        root.removeHandler(handler)


@pytest.fixture
def mmsc(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mmsc:
    """Run a command line in this process."""
    from mmsc_cli.cli.app import run_command

    for name in ("MMSC_WORKSPACE", "MMSC_DEVICE", "MMSC_SEED", "MMSC_DEBUG", "MMSC_LOG_FORMAT", "MMSC_VLLM_PYTHON"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = run_command([str(argument) for argument in arguments])
        written = capfd.readouterr()
        return Ran(code, written.out, written.err)

    return run


@pytest.fixture(scope="session")
def demo_settings() -> tuple[str, ...]:
    """How the recipe `demo` is made small."""
    return "source.items=300", "label.budget=300", "train.epochs=2"


@pytest.fixture(scope="session")
def trained(demo_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A demo workspace that went through every stage up to `train`. Never change it: use `trained_copy`."""
    import torch

    from mmsc_cli.encode.stage import run_encode
    from mmsc_cli.label.stage import run_label
    from mmsc_cli.prepare.stage import prepare
    from mmsc_cli.recipe.loading import load_recipe
    from mmsc_cli.train.stage import run_train

    def cpu() -> torch.device:
        return torch.device("cpu")

    torch.set_num_threads(1)
    workspace = Workspace(tmp_path_factory.mktemp("trained") / "workspace")
    recipe = load_recipe("demo", demo_settings)
    prepare(workspace, recipe)
    run_encode(workspace, recipe, cpu)
    run_label(workspace, recipe, [])
    run_train(workspace, recipe, [], cpu)
    return workspace


@pytest.fixture
def trained_copy(trained: Workspace, tmp_path: Path) -> Workspace:
    """The trained workspace in a place of its own."""
    return Workspace(Path(shutil.copytree(trained.root, tmp_path / "workspace")))


@pytest.fixture(scope="session")
def prepared(demo_settings: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same catalogue with nothing but `prepare` done. Never change it: use `prepared_copy`."""
    from mmsc_cli.prepare.stage import prepare
    from mmsc_cli.recipe.loading import load_recipe

    workspace = Workspace(tmp_path_factory.mktemp("prepared") / "workspace")
    prepare(workspace, load_recipe("demo", demo_settings))
    return workspace


@pytest.fixture
def prepared_copy(prepared: Workspace, tmp_path: Path) -> Workspace:
    """The prepared workspace in a place of its own."""
    return Workspace(Path(shutil.copytree(prepared.root, tmp_path / "workspace")))


@pytest.fixture(scope="session")
def items(trained: Workspace) -> pa.Table:
    """The trained workspace's items."""
    return read_items(trained.path("items.parquet"))


@pytest.fixture(scope="session")
def item_ids(items: pa.Table) -> list[str]:
    """Their ids, in the order of rows."""
    return list(items["item_id"].to_pylist())
