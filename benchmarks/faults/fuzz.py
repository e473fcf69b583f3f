"""Rubbish into all that reads input of unknown origin, guided by coverage (atheris, libFuzzer); a Markdown table.

python -m benchmarks.faults.fuzz                                   the whole campaign
python -m benchmarks.faults.fuzz --only images,recipes --runs 5000
python -m benchmarks.faults.fuzz --seconds 300                     as many inputs as a target takes in that time
python -m benchmarks.faults.fuzz --findings DIR                    inputs that were found, one file each

Each target runs in a process of its own, from seeds made on the spot. An exception that a reader may not raise counts
as a crash, a count that does not add up as lost, an input that takes more than 5 s of processor time, or 30 s by the
clock (the machine may be busy), as a hang. The campaign goes on behind each, and ends with 1 if there was any. Needs
the dependency group `fuzz`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from benchmarks.faults.report import machine, markdown_table
from benchmarks.faults.rubbish.target import HangError, LostError, Target

# Readers in Python, ours and of libraries, whose branches guide the search; those in C are seen from outside alone.
_GUIDED = ["mmsc_cli", "tomllib", "json", "gzip", "PIL", "csv", "httpx", "h11", "urllib", "xml", "defusedxml"]
_NO_LIMIT = 1_000_000_000
# Inputs per target: where each takes milliseconds, fewer.
_RUNS = {
    "--set": 30_000,
    "images": 30_000,
    "recipes": 15_000,
    "--items-from": 10_000,
    "--pairs": 8_000,
    "amazon metadata": 4_000,
    "items (csv)": 800,
    "items (tsv)": 800,
    "items (jsonl)": 800,
    "items (json)": 800,
    "items (parquet)": 800,
    "items (xml)": 1_500,
    "items (shopify)": 1_500,
    "items (woocommerce)": 1_500,
    "pairs": 800,
    "gold labels": 1_500,
    "events (csv)": 300,
    "events (parquet)": 300,
    "events (jsonl)": 300,
    "events (ga4)": 300,
    "answers of a language model": 1_200,
    "addresses of images": 1_200,
    "--new": 800,
    "manifest.json": 30_000,
    "index.json": 15_000,
    "index.safetensors": 15_000,
    "graphs (faiss)": 15_000,
    "judgements": 15_000,
    "rules": 15_000,
    "kept.safetensors": 15_000,
    "tables of answers": 5_000,
    "answers.parquet": 3_000,
    "requests": 5_000,
}
_LONGEST_INPUT = 4_096
_REPORT_EVERY = 200
_MOST_HANGS = 10
_LONGEST_WAIT = 30


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the campaign, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of: {', '.join(_RUNS)}")
    parser.add_argument("--runs", type=int, help="inputs per target (else as many as each is worth)")
    parser.add_argument("--seconds", type=int, help="seconds per target, by the clock, instead of a number of inputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, metavar="DIR", help="where to keep inputs that were found")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.target:
        fuzz_target(given.target, given.workspace, given.runs, given.seconds, given.seed, given.findings)
        return
    names = given.only.split(",") if given.only else list(_RUNS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = _train(folder / "workspace")
        rows = []
        for target in names:
            findings = (given.findings or folder / "findings") / target.replace(" ", "-")
            findings.mkdir(parents=True, exist_ok=True)
            runs = given.runs or (_RUNS[target] if given.seconds is None else _NO_LIMIT)
            rows.append(_run_target(target, workspace, runs, given.seconds, given.seed, findings))
            sys.stderr.write(" | ".join(rows[-1]) + "\n")
    total = ["all", *(f"{sum(int(row[column].replace(',', '')) for row in rows):,}" for column in (1, 2)), *[""] * 2]
    total += [str(sum(int(row[column]) for row in rows)) for column in (5, 6, 7)] + [""]
    head = ["target", "inputs", "seconds", "branches", "features", "crashes", "hangs", "lost", "slowest input"]
    sys.stdout.write(f"{machine()}\n\n{markdown_table(head, [*rows, total])}")
    if any(row[column] != "0" for row in rows for column in (5, 6, 7)):
        sys.exit(1)


def _train(workspace: Path) -> Path:
    """A small trained workspace for the questions of `infer`."""
    small = ["--set", "source.items=300", "--set", "label.budget=300", "--set", "train.epochs=2"]
    command = [sys.executable, "-m", "mmsc_cli", "run", "demo", "-w", str(workspace), "-q", *small]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return workspace


def _run_target(name: str, workspace: Path, runs: int, seconds: int | None, seed: int, findings: Path) -> list[str]:
    """One target's row, in as many processes as it takes: libFuzzer ends one that hangs."""
    report = findings / "report.json"
    inputs, hangs, coverage, features, slowest = 0, 0, 0, 0, 0.0
    ended = 0
    found: Counter[str] = Counter()
    started = time.monotonic()
    while inputs < runs and ended < _MOST_HANGS:
        left = None if seconds is None else seconds - int(time.monotonic() - started)
        if left is not None and left <= 0:
            break
        report.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "benchmarks.faults.fuzz",
            f"--target={name}",
            "--workspace",
            str(workspace),
        ]
        command += [f"--seconds={left}"] if left is not None else []
        command += ["--runs", str(runs - inputs), "--seed", str(seed + ended), "--findings", str(findings)]
        # What a process that is ended leaves behind goes with the workspace.
        place = os.environ | {"TMPDIR": str(workspace.parent)}
        ran = subprocess.run(command, env=place, capture_output=True, text=True, errors="replace", check=False)
        if not report.exists():
            sys.exit(f"{name}: the process ended before the first input\n{ran.stderr[-4_000:]}")
        said = json.loads(report.read_bytes())
        inputs += said["inputs"]
        slowest = max(slowest, said["slowest"])
        found.update(said["found"])
        for line in re.findall(r"cov: (\d+) ft: (\d+)", ran.stderr):
            coverage, features = (max(before, int(now)) for before, now in zip((coverage, features), line, strict=True))
        hangs += said["hangs"]
        if ran.returncode:
            (findings / f"ended-{ended}.log").write_text(ran.stderr, encoding="utf-8")
            ended += 1
    hangs += ended
    lost = sum(what.startswith(LostError.__name__) for what in found)
    for what in found:
        sys.stderr.write(f"{name}: {what}\n")
    counts = [
        f"{inputs:,}",
        f"{time.monotonic() - started:,.0f}",
        f"{coverage:,}",
        f"{features:,}",
        str(len(found) - lost),
        str(hangs),
        str(lost),
    ]
    return [name, *counts, f"{slowest:.2f} s"]


def fuzz_target(name: str, workspace: Path, runs: int, seconds: int | None, seed: int, findings: Path) -> None:
    """Put so many inputs to a target, or as many as so many seconds give, in this process, which is ended by that."""
    try:
        import atheris
    except ImportError:
        sys.exit("the campaign needs atheris: pip install --group fuzz")
    with atheris.instrument_imports(include=_GUIDED, enable_loader_override=False):
        from benchmarks.faults.rubbish.targets import all_targets

        target = all_targets(workspace)[name]
    logging.disable()
    warnings.simplefilter("ignore")
    corpus = Path(tempfile.mkdtemp())
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
        with suppress(Exception):  # found again below; what is loaded once is not the first input's time
            target.check(content)
    options = [f"-seed={seed}", f"-timeout={_LONGEST_WAIT}", "-rss_limit_mb=5120"]
    options += [f"-max_len={_LONGEST_INPUT}", f"-artifact_prefix={findings}/"]
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)], _Watched(target, runs, seconds, findings), enable_python_coverage=True
    )
    atheris.Fuzz()


class _Watched:
    """A target whose failures are written down instead of ending the campaign."""

    def __init__(self, target: Target, runs: int, seconds: int | None, findings: Path) -> None:
        self._target = target
        self._runs = runs
        self._until = None if seconds is None else time.monotonic() + seconds
        self._findings = findings
        self._found: Counter[str] = Counter()
        self._inputs = 0
        self._slowest = 0.0
        self._hangs = 0

    def __call__(self, content: bytes) -> None:
        seconds = 0.0
        try:
            seconds = self._target.timed(content)
        except HangError:
            self._hangs += 1
            (self._findings / f"hang-{self._hangs}").write_bytes(content)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {str(error)[:200]!a}"
            kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            if not any(known.startswith(kind) for known in self._found):
                self._found[what] += 1
                named = blake2b(kind.encode(), digest_size=8).hexdigest()
                (self._findings / f"found-{named}").write_bytes(content)
                (self._findings / f"found-{named}.txt").write_text(
                    traceback.format_exc(), encoding="utf-8", errors="replace"
                )
        if seconds > self._slowest:
            self._slowest = seconds
            (self._findings / "slowest").write_bytes(content)
        self._inputs += 1
        last = self._inputs == self._runs or (self._until is not None and time.monotonic() >= self._until)
        if self._inputs == 1 or self._inputs % _REPORT_EVERY == 0 or last:
            self._write()
        if last:
            sys.stderr.flush()
            os._exit(0)

    def _write(self) -> None:
        said = {"inputs": self._inputs, "slowest": self._slowest, "hangs": self._hangs, "found": list(self._found)}
        (self._findings / "report.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
