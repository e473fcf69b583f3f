"""Makes `golden/`, a small workspace of the present format version, with the answers it gave when it was made.

python tests/faults/make_golden.py     refuses where there is one: what is committed must stay readable

A new format version gets a golden workspace of its own, beside the old ones.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mmsc_cli.cli.app import run_command
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.manifest_file import FORMAT_VERSION

GOLDEN = Path(__file__).parent / "golden" / f"format-{FORMAT_VERSION}"
KINDS = ("camera", "tripod", "printer", "paper", "kettle", "tea")
EACH = 9
RECIPE = """
name = "golden"
description = "Six kinds of nine items, of which each two go together"

[source]
kind = "table"
items = "items.csv"
pairs = "pairs.csv"

[encode]
encoder = "classic"
text_dim = 8
image_dim = 4

[label]
model = "rules"
budget = 40

[train]
dim = 4
epochs = 2
linear_top = 8
neighbours = 4
rerank_candidates = 12
"""


def main() -> None:
    """Make it."""
    if GOLDEN.exists():
        sys.exit(f"{GOLDEN} is there: it is kept as it is")
    # The manifest names the source's path, which should say nothing of the machine it was made on.
    source = Path(tempfile.gettempdir()) / "golden-source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    write_source(source, np.random.default_rng(1))
    (source / "golden.toml").write_text(RECIPE)
    workspace = GOLDEN / "workspace"
    for words in (["prepare", str(source / "golden.toml")], ["encode"], ["label"], ["train", "--device", "cpu"]):
        code = run_command([*words, "-w", str(workspace), "-q"])
        assert code == 0, words
    (GOLDEN / "answers.json").write_text(json.dumps(answers(workspace), indent=1) + "\n")
    (workspace / ".lock").unlink()
    (workspace / ".staging").rmdir()
    shutil.rmtree(source)


def answers(workspace: Path) -> dict[str, list[tuple[str, float]]]:
    """The three best answers to every item in both relations."""
    recommender = Recommender.open(workspace)
    found: dict[str, list[tuple[str, float]]] = {}
    for outcome in recommender.answer(list(recommender.index.ids), k=3, overlap=True):
        assert isinstance(outcome, list)
        for answer in outcome:
            assert answer.score is not None
            found.setdefault(f"{answer.query} {answer.relation}", []).append((answer.item, round(answer.score, 4)))
    return found


def write_source(folder: Path, generator: np.random.Generator) -> None:
    """Items with small pictures of their kind's colour, and pairs within a kind (viewed) and of two kinds (bought)."""
    rows = []
    for number in range(len(KINDS) * EACH):
        kind, model = KINDS[number // EACH], "ABCDEFGHI"[number % EACH]
        image = f"{kind}-{model}.png" if number % 3 else ""
        if image:
            shade = 40 * (number // EACH) + number % EACH
            Image.new("RGB", (4, 4), (shade, 255 - shade, 7 * (number % EACH))).save(folder / image)
        row = {"item_id": f"G{number:03}", "title": f"{kind} model {model}", "brand": f"brand {number % 4}"}
        rows.append(row | {"category": f"Shop > {kind}", "price": str(5 + number), "image_path": image})
    _write(folder / "items.csv", rows)
    pairs = [
        {"a": f"G{number:03}", "b": f"G{other:03}", "co_view": str(int(viewed)), "co_purchase": str(int(not viewed))}
        for number in range(len(rows))
        for viewed in (True, False)
        for other in _some_of_kind(number // EACH if viewed else (number // EACH) ^ 1, generator)
        if other != number
    ]
    _write(folder / "pairs.csv", pairs)


def _some_of_kind(kind: int, generator: np.random.Generator) -> list[int]:
    found: list[int] = (EACH * kind + generator.choice(EACH, 4, replace=False)).tolist()
    return found


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
