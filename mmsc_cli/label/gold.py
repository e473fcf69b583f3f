"""How often an annotator is right: its labels beside those that people gave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from mmsc_cli.errors import InputError
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.metrics.bootstrap import bootstrap_interval, calibration_error
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.labels import Labels
from mmsc_cli.tables.relations import CLASSES

COLUMNS = ("a", "b", "label")


@dataclass(frozen=True)
class Gold:
    """Pairs that people labelled, `a < b`, item rows and class numbers, all of shape (pairs,).

    `unknown` counts the pairs of the file with an item that is not in the catalogue; they are left out.
    """

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    label: NDArray[np.int64]
    unknown: int


def read_gold(path: Path, item_ids: list[str]) -> Gold:
    """Read a table with the columns `a`, `b` (item ids, in either order) and `label` (one of CLASSES).

    Raises:
        InputError: no such file, or not such a table; the row is named where it is known.
    """
    form = f"a table (.csv, .tsv, .jsonl, .parquet) with the columns {', '.join(COLUMNS)}; labels: {', '.join(CLASSES)}"
    if not path.is_file():
        raise InputError(f"--gold {path}: no such file", hint=f"give {form}")
    table = read_table_file(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"--gold {path}: no column {', '.join(missing)}", hint=f"give {form}")
    row_of = {item: row for row, item in enumerate(item_ids)}
    found: list[tuple[int, int, int]] = []
    unknown = 0
    columns = (table[name].astype(str).str.strip() for name in COLUMNS)
    for number, (a, b, label) in enumerate(zip(*columns, strict=True), start=1):
        if label.lower() not in CLASSES:
            raise InputError(f"--gold {path}: row {number}: {label!r} is no label", hint=f"give {form}")
        if a == b:
            raise InputError(f"--gold {path}: row {number}: {a} beside itself", hint="a pair is of two items")
        if a in row_of and b in row_of:
            first, second = sorted((row_of[a], row_of[b]))
            found.append((first, second, CLASSES.index(label.lower())))
        else:
            unknown += 1
    if not found:
        raise InputError(
            f"--gold {path}: no pair of items of this catalogue", hint="columns a and b hold item ids, as in the items"
        )
    rows = np.array(found)
    return Gold(rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int32), rows[:, 2], unknown)


def judge(gold: Gold, labels: Labels, n_items: int, seed: int) -> dict[str, Any]:
    """Set an annotator's labels beside the human ones.

    Returns:
        `pairs` judged, `unknown_items` and `unanswered` pairs that were not; `accuracy` with its 95 % bootstrap
        interval `accuracy_ci`; `macro_f1` over the classes that occur; `calibration_error` of the likeliest class; and
        `confusion`, by human label, then by the annotator's. Without a judged pair the figures are None.
    """
    rows = labels.find(gold.a, gold.b, n_items)
    answered = rows >= 0
    probabilities = labels.probabilities()[rows[answered]]
    human, annotated = gold.label[answered], probabilities.argmax(axis=1)
    counted = confusion_matrix(human, annotated, labels=range(len(CLASSES))) if len(human) else np.zeros((3, 3), int)
    right = (human == annotated).astype(np.float64)
    interval = bootstrap_interval(right, numpy_generator(seed, "label/gold"))
    return {
        "pairs": len(human),
        "unknown_items": gold.unknown,
        "unanswered": int((~answered).sum()),
        "accuracy": round(float(right.mean()), 4) if len(human) else None,
        "accuracy_ci": [round(end, 4) for end in interval] if interval else None,
        "macro_f1": round(float(f1_score(human, annotated, average="macro")), 4) if len(human) else None,
        "calibration_error": round(calibration_error(probabilities, human), 4) if len(human) else None,
        "confusion": {
            name: dict(zip(CLASSES, row, strict=True)) for name, row in zip(CLASSES, counted.tolist(), strict=True)
        },
    }
