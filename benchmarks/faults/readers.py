"""Readers who open an index while `train` puts others in place, as a Markdown table.

python -m benchmarks.faults readers             10,000 openings during 1,000 commits or more
python -m benchmarks.faults readers --openings 500 --commits 50

Every version says in its scores, in the description of the index and in its model which one it is. A reader that met an
error, or a version that says two things, is counted. One more reader keeps the first version that it opened, and asks
it again and again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.faults.report import machine, markdown_table
from mmsc_cli.index.index_file import write_index
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.workspace import Workspace

_FORK = multiprocessing.get_context("fork")
_GOLDEN = Path(__file__).parents[2] / "tests" / "faults" / "golden" / "format-1" / "workspace"


def main(arguments: Sequence[str]) -> None:
    """Open and commit, and write a table to stdout; exit with 1 where a reader met an error or a mixture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openings", type=int, default=10_000)
    parser.add_argument("--commits", type=int, default=1_000)
    given = parser.parse_args(arguments)
    found: Counter[str] = Counter()
    versions: set[float] = set()
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(shutil.copytree(_GOLDEN, Path(name) / "space")))
        with commits(workspace, Path(name) / "source") as done:
            kept = Recommender.open(workspace.root)
            while found["openings"] < given.openings or done() < given.commits:
                found["openings"] += 1
                try:
                    said = versions_of(Recommender.open(workspace.root))
                    still = versions_of(kept)
                except Exception as error:  # whatever it is, a reader met it
                    found["errors"] += 1
                    sys.stderr.write(f"{type(error).__name__}: {error}\n")
                    continue
                found["mixtures"] += len(said) > 1
                found["changes of what was kept"] += still != {1.0}
                versions |= said
            found["commits"], found["versions seen"] = done(), len(versions)
    names = ("openings", "commits", "versions seen", "errors", "mixtures", "changes of what was kept")
    sys.stdout.write(f"{machine()}\n\n{markdown_table(names, [[f'{found[name]:,}' for name in names]])}")
    if found["errors"] or found["mixtures"] or found["changes of what was kept"]:
        sys.exit(1)


@contextmanager
def commits(workspace: Workspace, source: Path, most: int | None = None) -> Iterator[Callable[[], int]]:
    """Commit version after version in another process; yields what says how many there are, below 0 when it is over."""
    workspace.path("index").rename(source)
    commit(workspace, 1, source)
    number = _FORK.Value("q", 1)

    def work() -> None:
        while most is None or number.value < most:
            commit(workspace, number.value + 1, source)
            number.value += 1

    writer = _FORK.Process(target=work)
    writer.start()
    try:
        yield lambda: int(number.value) if writer.is_alive() else -1
        if writer.is_alive():
            writer.kill()
        elif writer.exitcode != 0:
            raise RuntimeError(f"the writer ended with {writer.exitcode}")
    finally:
        writer.kill()
        writer.join()


def commit(workspace: Workspace, version: int, source: Path) -> None:
    """A training whose scores, description and model say which version they are of."""
    tensors = {name: np.array(tensor) for name, tensor in load_file(source / "index.safetensors").items()}
    for relation in ("substitute", "complement"):
        tensors[f"{relation}.linear.values"] = np.zeros_like(tensors[f"{relation}.linear.values"])
        tensors[f"{relation}.query"] = np.full_like(tensors[f"{relation}.query"], version)
        tensors[f"{relation}.key"] = np.ones_like(tensors[f"{relation}.key"])
    about = json.loads((source / "index.json").read_bytes())
    with workspace.stage("train", {}) as run:
        write_index(run.directory("index"), tensors, about | {"model": f"version {version}", "distinct": version})
        nothing: dict[str, NDArray[np.float32]] = {"nothing": np.zeros(1, np.float32)}
        save_file(nothing, run.directory("model") / "model.safetensors", {"model": f"version {version}"})


def versions_of(recommender: Recommender) -> set[float]:
    """The versions that an answer, the index's description and the model speak of."""
    (first, *_) = recommender.substitutes("G000", 3)
    dim = recommender.index.vectors("substitute").key.shape[1]
    pinned = recommender._pins.path("model") / "model.safetensors"  # noqa: SLF001  the files that it holds
    model = str(pinned.read_bytes()).partition("version ")[2].partition("\\")[0].partition('"')[0]
    return {round(first.score / dim), recommender.index.about["distinct"], int(model)}
