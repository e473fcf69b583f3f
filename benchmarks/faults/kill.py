"""SIGKILL and SIGINT at random moments of every stage, as a Markdown table.

python -m benchmarks.faults kill                                          20 of each in each of six commands
python -m benchmarks.faults kill --stages train,run --kills 5 --seed 2

Every command works on a shop that went through all stages with other settings, so that artefacts are replaced. It is
killed several times in a row, each time started again, and then left to finish. Moments are spread evenly over the
processor time that an undisturbed run takes, from the first line of ours on, so that a busy machine changes nothing.

After every kill each artefact must be the old or the new one, whole, and the manifest must be true. After the last
run of a row every artefact must be, byte for byte, that of the undisturbed run; but for seconds that are written
into it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from benchmarks.faults.answering_server import AnsweringServer
from benchmarks.faults.report import machine, markdown_table
from mmsc_cli.diff.kept_answers import FILE as KEPT_ANSWERS
from mmsc_cli.errors import MmscError
from mmsc_cli.workspace.checksums import describe
from mmsc_cli.workspace.digests import artefact_digest
from mmsc_cli.workspace.stages import STAGES
from mmsc_cli.workspace.workspace import Workspace

SETTINGS: tuple[str, ...] = ("source.items=200", "label.budget=60", "train.dim=8", "train.epochs=4")
SETTINGS += ("evaluate.bootstrap=50", "evaluate.negatives=50")
SHOP = tuple(word for setting in SETTINGS for word in ("--set", setting))
# What each command is killed in: the shop as it was made, but for a seed or a model.
COMMANDS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare", "demo", *SHOP, "--seed", "2"),
    "label": ("label", "--model", "judge", "--set", "label.shard_pairs=10", "--set", "label.concurrency=2"),
    "encode": ("encode", "--seed", "2", "--set", "encode.batch_size=8"),
    "train": ("train", "--seed", "2", "--device", "cpu"),
    "evaluate": ("evaluate", "--seed", "2", "--device", "cpu"),
    "run": ("run", "demo", *SHOP, "--seed", "2", "--device", "cpu"),
}
ARTEFACTS = tuple(name for files in STAGES.values() for name in files.makes)
# Keys of JSON values, and what of the report, that hold times or what follows from them.
_TIME = re.compile(r"seconds|.*_per_second|trained")
_TIME_TEXT = re.compile(rb'(<td class="seconds">|mmsc [0-9.]+ \xc2\xb7 trained )[^<\xc2]*')
_IN_A_ROW = 4
_LONGEST = 1_800.0


@dataclass
class Tally:
    """What came of the kills of one command by one signal."""

    kills: int = 0
    moments: list[float] = field(default_factory=list)
    whole: int = 0
    rows: int = 0
    finished: int = 0
    identical: int = 0
    told: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A command, the workspace it starts from, and what it makes of it when nobody disturbs it."""

    words: tuple[str, ...]
    before: Path
    old: dict[str, str]
    new: dict[str, str]
    first_moment: float
    processor_seconds: float


def main(arguments: Sequence[str]) -> None:
    """Run the campaign and write its table to stdout; exit with 1 where something was not as promised."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m benchmarks.faults kill",
    )
    parser.add_argument("--stages", default=",".join(COMMANDS), metavar="STAGE,STAGE")
    parser.add_argument("--signals", default="SIGKILL,SIGINT", metavar="SIGNAL,SIGNAL")
    parser.add_argument("--kills", type=int, default=20, help="of each signal in each command")
    parser.add_argument("--shop", type=Path, metavar="DIR", help="make the shop here, and use it if it is there")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    given = parser.parse_args(arguments)
    head = ["command", "signal", "kills", "moments", "whole after", "rows finished", "identical", "exit 130 and told"]
    sys.stdout.write(f"{machine()}\n\n" + markdown_table(head, []))
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name, AnsweringServer() as server:
        folder = Path(name)
        shop: Path = given.shop or folder / "shop"
        if not shop.exists():
            make_shop(shop)
        for command in given.stages.split(","):
            undisturbed = run_undisturbed(command, shop, folder / command, server.url)
            for sent in map(signal.Signals.__getitem__, given.signals.split(",")):
                moments = spread_moments(given.kills, f"{given.seed} {command} {sent.name}")
                tally = Tally()
                while tally.kills < given.kills and tally.rows < given.kills:
                    signals = [sent] * min(_IN_A_ROW, given.kills - tally.kills)
                    kill_in_a_row(undisturbed, signals, moments, folder / "victim", tally)
                sys.stdout.write(markdown_row(command, sent, tally))
                sys.stdout.flush()
                faults += [f"{command}, {sent.name}: {fault}" for fault in tally.faults]
    if faults:
        sys.exit("\n".join(faults))


def spread_moments(count: int, seed: str) -> Iterator[float]:
    """Shares of a run, 0 to 1, in random order, without end: one in each of `count` equal parts, then again."""
    chance = random.Random(seed)
    while True:
        yield from ((part + chance.random()) / count for part in chance.sample(range(count), count))


def markdown_row(command: str, sent: signal.Signals, tally: Tally) -> str:
    """A row of the table."""
    told = f"{tally.told} of {tally.kills}" if sent == signal.SIGINT else "–"
    cells = [command, sent.name, str(tally.kills), f"{min(tally.moments):.0%} to {max(tally.moments):.0%}"]
    cells += [f"{tally.whole} of {tally.kills}", f"{tally.finished} of {tally.rows}"]
    cells += [f"{tally.identical} of {tally.rows}", told]
    return f"| {' | '.join(cells)} |\n"


def make_shop(workspace: Path) -> None:
    """A small demo shop that went through all stages."""
    code, said = end(start(("run", "demo", *SHOP, "--device", "cpu"), workspace))
    assert code == 0, said


def run_undisturbed(command: str, shop: Path, folder: Path, endpoint: str) -> Undisturbed:
    """Run a command on a copy of the shop and see what it makes, and how long it takes."""
    words = COMMANDS[command]
    if command == "label":
        words += ("--endpoint", endpoint)
    first_moment = _processor_seconds(["-c", "pass"])[0]
    after = Path(shutil.copytree(shop, folder))
    seconds, code, said = _processor_seconds(["-m", "mmsc_cli", *words, "-w", str(after), "-q"])
    assert code == 0, f"{shlex.join(words)}: {said}"
    return Undisturbed(words, shop, contents(shop), contents(after), first_moment, seconds)


def kill_in_a_row(
    undisturbed: Undisturbed, signals: Sequence[signal.Signals], moments: Iterator[float], workspace: Path, tally: Tally
) -> None:
    """Start the command, kill it, look at what it left, as often as there are signals; then let it finish."""
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(undisturbed.before, workspace)
    for sent in signals:
        share = next(moments)
        moment = undisturbed.first_moment + share * (undisturbed.processor_seconds - undisturbed.first_moment)
        process = start(undisturbed.words, workspace)
        wait_for_processor(process, moment)
        if process.poll() is None:
            # SIGINT to all of them, as a terminal does; SIGKILL to the one.
            os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
        code, said = end(process)
        if code == 0:  # before the signal came
            _finish(undisturbed, workspace, code, said, tally)
            return
        tally.kills += 1
        tally.moments.append(share)
        faults = broken(workspace, undisturbed)
        tally.whole += not faults
        tally.faults += faults
        if sent == signal.SIGINT:
            wrong = not_told(code, said, [*undisturbed.words, "-w", str(workspace), "-q"])
            tally.told += not wrong
            tally.faults += wrong
    _finish(undisturbed, workspace, *end(start(undisturbed.words, workspace)), tally)


def _finish(undisturbed: Undisturbed, workspace: Path, code: int, said: str, tally: Tally) -> None:
    """Count the end of a row."""
    tally.rows += 1
    if code:
        tally.faults.append(f"the last run ended with {code}: {said}")
        return
    tally.finished += 1
    found = contents(workspace)
    different = sorted(name for name in ARTEFACTS if found.get(name) != undisturbed.new.get(name))
    tally.identical += not different
    tally.faults += [f"{name} is not that of the undisturbed run" for name in different]


def broken(workspace: Path, undisturbed: Undisturbed) -> list[str]:
    """What is not as promised after a kill."""
    faults = []
    try:
        for record in Workspace(workspace).manifest().stages.values():
            for name, recorded in record.outputs.items():
                if not (workspace / name).exists() or artefact_digest(name, describe(workspace, name)) != recorded:
                    faults.append(f"{name} is not what the manifest says")
    except MmscError as error:
        faults.append(error.message)
    for name, found in contents(workspace).items():
        if found not in (undisturbed.old.get(name), undisturbed.new.get(name)):
            faults.append(f"{name} is neither the old one nor the new one")
    return faults


def not_told(code: int, said: str, words: Sequence[str]) -> list[str]:
    """What is wrong with the end of an interrupted command."""
    lines = said.splitlines()
    if code != 130:
        return [f"interrupted, it ended with {code}: {said}"]
    if "Traceback" in said or not lines or lines[-1] != f"  the same command continues: {shlex.join(['mmsc', *words])}":
        return [f"interrupted, it said: {said}"]
    return []


def contents(workspace: Path) -> dict[str, str]:
    """What tells each artefact that is there from any other, times aside."""
    return {name: _timeless(workspace / name) for name in ARTEFACTS if (workspace / name).exists()}


def _timeless(path: Path) -> str:
    whole = sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        whole.update(f"{file.relative_to(path)}\0".encode())
        if file.suffix == ".json":
            whole.update(repr(_without_times(json.loads(file.read_bytes()))).encode())
        elif file.suffix == ".jsonl":
            whole.update(repr([_without_times(json.loads(line)) for line in file.read_bytes().splitlines()]).encode())
        elif file.name == KEPT_ANSWERS:  # says beside them when the index was trained
            whole.update(repr(pq.read_table(file).to_pylist()).encode())
        elif file.is_file():
            whole.update(_TIME_TEXT.sub(rb"\1", file.read_bytes()))
    return whole.hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if not _TIME.fullmatch(key)}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def take_interrupts() -> None:
    """Have processes that are started from now on take SIGINT, also where a shell put this one in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def start(words: Sequence[str], workspace: Path) -> subprocess.Popen[str]:
    take_interrupts()
    command = [sys.executable, "-m", "mmsc_cli", *words, "-w", str(workspace), "-q"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MMSC_")}
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=_LONGEST)
    return process.returncode, said


def _processor_seconds(words: Sequence[str]) -> tuple[float, int, str]:
    """Processor seconds, exit code and stderr of a Python process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, process.returncode, said


def wait_for_processor(process: subprocess.Popen[str], seconds: float) -> None:
    """Until a process has worked so long, or has ended."""
    for used in _used(process):
        if used >= seconds:
            return
        time.sleep(0.005)


def _used(process: subprocess.Popen[str]) -> Iterator[float]:
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            times = watched.cpu_times()
        except psutil.NoSuchProcess:
            return
        yield times.user + times.system
