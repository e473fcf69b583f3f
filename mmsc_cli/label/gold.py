"""How often an annotator is right: its labels beside those that people gave."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from mmsc_cli.arrays.pair_keys import find_pairs
from mmsc_cli.errors import InputError
from mmsc_cli.files.id_column import IdColumn
from mmsc_cli.files.item_fields import plain_text
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.label.opinions import LEAST_GOLD, Calibration, Opinions
from mmsc_cli.metrics.bootstrap import bootstrap_interval, calibration_error, calibration_interval
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.relations import CLASSES

COLUMNS = ("a", "b", "label")
FOLDS = 5


@dataclass(frozen=True)
class Gold:
    """Pairs that people labelled, `a < b`, each once: item rows and class numbers, all of shape (pairs,).

    Attributes:
        unknown: rows of the file with an item that is not in the catalogue; they are left out.
        contradicting: pairs with more than one label; they are left out.
    """

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    label: NDArray[np.int64]
    unknown: int = 0
    contradicting: int = 0


def read_gold(path: Path, item_ids: list[str]) -> Gold:
    """Read a table with the columns `a`, `b` (item ids, in either order) and `label` (one of CLASSES).

    Where a column `who` says who labelled, of several labels by one person the last counts, as in judgements.parquet.

    Raises:
        InputError: no such file, or not such a table; the row is named where it is known.
    """
    form = f"a table (.csv, .tsv, .jsonl, .parquet) with the columns {', '.join(COLUMNS)}; labels: {', '.join(CLASSES)}"
    if not path.is_file():
        raise InputError(f"--gold {path}: no such file", hint=f"give {form}")
    table = read_table_file(path)
    names = {name: theirs for name in COLUMNS if (theirs := table.find(name)) is not None}
    if missing := [name for name in COLUMNS if name not in names]:
        raise InputError(f"--gold {path}: no column {', '.join(missing)}", hint=f"give {form}")
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    # By pair, then by person; without names, each row is another person's.
    labels: dict[tuple[int, int], dict[str, int]] = {}
    unknown = 0
    ids_a, ids_b = (chain.from_iterable(IdColumn(table.column_blocks(names[end]))) for end in ("a", "b"))
    answers = (plain_text(cell) or "" for cell in table.cells(names["label"]))
    people = table.find("who")
    names_given = repeat("") if people is None else (plain_text(cell) or "" for cell in table.cells(people))
    for number, (a, b, label, who) in enumerate(zip(ids_a, ids_b, answers, names_given, strict=False), start=1):
        if label.lower() not in CLASSES:
            raise InputError(f"--gold {path}: row {number}: {label!r} is no label", hint=f"give {form}")
        if a == b:
            raise InputError(f"--gold {path}: row {number}: {a} beside itself", hint="a pair is of two items")
        rows = sorted(row_of[item_id] for item_id in (a, b) if item_id in row_of)
        if len(rows) == 2:
            labels.setdefault((rows[0], rows[1]), {})[who or str(number)] = CLASSES.index(label.lower())
        else:
            unknown += 1
    if not labels:
        raise InputError(
            f"--gold {path}: no pair of items of this catalogue", hint="columns a and b hold item ids, as in the items"
        )
    agreed = [(*pair, *given) for pair, of_people in labels.items() if len(given := set(of_people.values())) == 1]
    kept = np.array(agreed, np.int64).reshape(-1, 3)
    contradicting = len(labels) - len(kept)
    return Gold(kept[:, 0].astype(np.int32), kept[:, 1].astype(np.int32), kept[:, 2], unknown, contradicting)


def calibrate(opinions: Opinions, calibration: Calibration, gold: Gold, n_items: int) -> Calibration:
    """Fit a calibration to the human labels, where there are at least LEAST_GOLD answers to them."""
    rows, classes = _answered(opinions, gold, n_items)
    return calibration.fitted(opinions.mean()[rows], classes) if len(rows) >= LEAST_GOLD else calibration


def judge(opinions: Opinions, calibration: Calibration, gold: Gold, n_items: int, seed: int) -> dict[str, Any]:
    """Set an annotator's answers beside the human labels.

    Args:
        opinions: the answers.
        calibration: of the candidates alone. Where there are enough human labels to fit it, every answer is judged
            with a fit to the other folds.
        gold: the human labels.
        n_items: size of the catalogue.
        seed: of the recipe.

    Returns:
        `pairs` judged; `unknown_items`, `contradicting` and `unanswered` pairs that were not; `accuracy` with its 95 %
        bootstrap interval `accuracy_ci`, and `raw_accuracy` without any calibration; `macro_f1` over the classes that
        occur; `calibration_error` of the likeliest class with its interval
        `calibration_error_ci`; and `confusion`, by human label, then by the annotator's.
        Without a judged pair the figures are None.
    """
    rows, human = _answered(opinions, gold, n_items)
    raw, generator = opinions.mean()[rows], numpy_generator(seed, "label/gold")
    probabilities = raw if opinions.states_accuracy else _cross_fitted(raw, calibration, human, seed)
    annotated, judged = probabilities.argmax(axis=1), len(rows) > 0
    counted = confusion_matrix(human, annotated, labels=range(len(CLASSES))) if judged else np.zeros((3, 3), int)
    right = (human == annotated).astype(np.float64)
    interval = bootstrap_interval(right, generator)
    return {
        "pairs": len(rows),
        "unknown_items": gold.unknown,
        "contradicting": gold.contradicting,
        "unanswered": len(gold.a) - len(rows),
        "accuracy": round(float(right.mean()), 4) if judged else None,
        "accuracy_ci": [round(end, 4) for end in interval] if interval else None,
        "raw_accuracy": round(float((raw.argmax(axis=1) == human).mean()), 4) if judged else None,
        "macro_f1": round(float(f1_score(human, annotated, average="macro")), 4) if judged else None,
        "calibration_error": round(calibration_error(probabilities, human), 4) if judged else None,
        "calibration_error_ci": [round(end, 4) for end in calibration_interval(probabilities, human, generator)]
        if judged
        else None,
        "confusion": {
            name: dict(zip(CLASSES, row, strict=True)) for name, row in zip(CLASSES, counted.tolist(), strict=True)
        },
    }


def _answered(opinions: Opinions, gold: Gold, n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the answers to human labels, and the human class of each."""
    rows = find_pairs(opinions.a, opinions.b, gold.a, gold.b, n_items)
    return rows[rows >= 0], gold.label[rows >= 0]


def _cross_fitted(
    raw: NDArray[np.float64], calibration: Calibration, human: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Calibrated answers (pairs, 3), none with a fit that has seen its human label."""
    calibrated = calibration.apply(raw)
    if len(raw) >= LEAST_GOLD:
        fold_of = numpy_generator(seed, "label/gold/folds").permutation(len(raw)) % FOLDS
        for fold in range(FOLDS):
            held_out = fold_of == fold
            calibrated[held_out] = calibration.fitted(raw[~held_out], human[~held_out]).apply(raw[held_out])
    return calibrated
