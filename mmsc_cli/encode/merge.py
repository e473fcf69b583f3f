"""Merge finished parts into `embeddings/` and `failures.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.adapt.adapt import adapt_vectors, read_report, trains_towers
from mmsc_cli.encode.earlier import write_inputs
from mmsc_cli.encode.encode import Encoding
from mmsc_cli.encode.part_files import Modality, write_array
from mmsc_cli.tables.items import take_items

_ROWS = 4_096


def merge(encoding: Encoding, out: Path, failures_path: Path) -> dict[str, Any]:
    """Write the artefacts of the stage from parts that are all finished; the parts stay as they are.

    Writes into `out`: `text.npy` (items, text_dim) and `image.npy` (items, image_dim), float16, rows of unit length
    or zero; where the encoder makes them, `joint.npy` (items, joint_dim) of the items with both; `mask.npy` (items, 2)
    bool, which rows of text and image are not zero; `encoder.json` and the files that open the encoder again; and what
    `write_inputs` writes. A row is zero where an item has no text (or no usable image), or a text without a word that
    the encoder knows.

    Args:
        encoding: all of its parts are finished.
        out: an existing, empty folder.
        failures_path: where to write the images that could not be used, as JSON lines; no file if there are none.

    Returns:
        Counts for the manifest.

    Raises:
        InputError: there is too little to adapt to.
    """
    task, encoder = encoding.task, encoding.encoder
    texts, images = encoding.inputs["text"], encoding.inputs["image"]
    n_items = len(texts.of_row)
    mask = np.zeros((n_items, 2), np.bool_)
    write_array(out / "text.npy", np.float16, (n_items, encoder.text_dim), _rows(encoding, "text", mask[:, 0]))
    write_array(out / "image.npy", np.float16, (n_items, encoder.image_dim), _rows(encoding, "image", mask[:, 1]))
    if encoder.joint_dim:
        joint = _rows(encoding, "joint", np.zeros(n_items, np.bool_))
        write_array(out / "joint.npy", np.float16, (n_items, encoder.joint_dim), joint)
    np.save(out / "mask.npy", mask, allow_pickle=False)
    reasons = {number: reason for part in encoding.parts["image"] for number, reason in part.failures().items()}
    failed = np.flatnonzero(np.isin(images.of_row, list(reasons)))
    if len(failed):
        _write_failures(task.items_path, failed, images.of_row, reasons, failures_path)
    counts: dict[str, Any] = {
        "items": n_items,
        "texts": int(mask[:, 0].sum()),
        "texts_repeated": texts.repeated,
        "images": int(mask[:, 1].sum()),
        "images_repeated": images.repeated,
        # Different texts and images whose vectors were there.
        "texts_kept": len(encoding.known["text"]),
        "images_kept": len(encoding.known["image"]),
        "images_missing": int((images.of_row < 0).sum()),
        "images_failed": len(failed),
        "encoder": encoder.name,
        "text_dim": encoder.text_dim,
        "image_dim": encoder.image_dim,
        "joint_dim": encoder.joint_dim,
        "batch_size": encoder.batch_size,
        # Of what this process encoded itself.
        "texts_per_second": encoding.per_second["text"],
        "images_per_second": encoding.per_second["image"],
    }
    write_inputs(out, encoding.hashes, encoding.made, None if encoding.earlier is None else encoding.earlier.folder)
    if task.settings.adapt:
        if trains_towers(task.settings, encoder, task.device):
            counts["adapt"] = read_report(encoding.folder / "adapter")
        else:
            encoder, counts["adapt"] = adapt_vectors(encoder, task, encoding.folder / "adapter", out)
    encoder.save(out)
    return counts


def _rows(encoding: Encoding, modality: Modality, mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float16]]:
    """Yield the vectors of all items, some rows at a time, and set the mask where they are not zero."""
    of_row, parts = encoding.inputs[modality].of_row, encoding.parts[modality]
    dim = encoding.encoder.width(modality)
    starts = np.array([part.numbers.start for part in parts])
    for start in range(0, len(of_row), _ROWS):
        numbers = of_row[start : start + _ROWS]
        vectors = np.zeros((len(numbers), dim), np.float16)
        of_part = np.searchsorted(starts, numbers, side="right") - 1  # -1 for a row without input
        for part in np.unique(of_part[of_part >= 0]):
            here = of_part == part
            vectors[here] = parts[part].vectors()[numbers[here] - parts[part].numbers.start]
        mask[start : start + _ROWS] = vectors.any(axis=1)
        yield vectors


def _write_failures(
    items_path: Path, rows: NDArray[np.int64], of_row: NDArray[np.int64], reasons: Mapping[int, str], path: Path
) -> None:
    numbers = iter(of_row[rows].tolist())
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for table in take_items(items_path, ["item_id", "image_path"], rows):
            for row in table.to_pylist():
                line = {"item_id": row["item_id"], "path": row["image_path"], "reason": reasons[next(numbers)]}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
