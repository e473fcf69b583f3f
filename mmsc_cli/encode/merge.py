"""The shares that are done, put together as `embeddings/` and `failures.jsonl`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.adapt.adapt import adapt_vectors, trains_towers
from mmsc_cli.encode.shards import Shard, Work
from mmsc_cli.encode.task import EncodeTask
from mmsc_cli.encode.vector_file import ENCODED, FAILED, VectorFile, open_vectors, skip_header, write_header
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.tables.items import count_items, item_batches

_CHUNK = 2**24


def put_together(
    task: EncodeTask, work: Work, encoder: Encoder, shard: Shard, out: Path, failures: Path
) -> dict[str, Any]:
    """Make the artefacts of the stage from shares that are all done; what they hold is left as it is.

    Writes into `out`: `text.npy` (items, text_dim) and `image.npy` (items, image_dim), float16, rows of unit
    length or, where the mask says so, zero; `mask.npy` (items, 2) bool, text and image; `encoder.json` and
    what else it takes to open the encoder again. The mask is false where there is no text (no usable image),
    and where the encoder can say nothing of it, such as a text without a known word: a row is of unit length
    if and only if the mask is true.

    Args:
        task: what was encoded.
        work: where the shares are.
        encoder: what they were encoded with.
        shard: any of the shares.
        out: an existing, empty folder.
        failures: where to write the images that could not be used, as JSON lines; not made if there are none.

    Returns:
        Counts for the manifest.

    Raises:
        InputError: there is nothing to adapt to.
    """
    items = count_items(task.items)
    shares = [open_vectors(work.share(sibling), len(sibling.rows(items)), encoder) for sibling in shard.siblings()]
    texts, images = ([share[column] for share in shares] for column in (0, 1))
    for name, files in (("text", texts), ("image", images)):
        _concatenate(files, out / f"{name}.npy")
    states = [np.concatenate([file.states() for file in files]) for files in (texts, images)]
    np.save(out / "mask.npy", np.stack([state == ENCODED for state in states], axis=1), allow_pickle=False)
    counted = [done for sibling in shard.siblings() if (done := work.counts(sibling))]
    failed = states[1] >= FAILED
    counts: dict[str, Any] = {
        "items": items,
        "texts": int((states[0] == ENCODED).sum()),
        "texts_repeated": sum(done["texts_repeated"] for done in counted),
        "images": int((states[1] == ENCODED).sum()),
        "images_repeated": sum(done["images_repeated"] for done in counted),
        "images_missing": _images_missing(task.items) if encoder.reads_images else items,
        "images_failed": int(failed.sum()),
        "encoder": encoder.name,
        "text_dim": encoder.text_dim,
        "image_dim": encoder.image_dim,
        "batch_size": encoder.batch_size,
        # Of new work in the run that finished it, all shares together.
        "texts_per_second": round(sum(done["texts_per_second"] for done in counted), 2),
        "images_per_second": round(sum(done["images_per_second"] for done in counted), 2),
    }
    if failed.any():
        with failures.open("w", encoding="utf-8") as file:
            _write_failures(task.items, images, file)
    if task.settings.adapt:
        if trains_towers(task.settings, encoder, task.device):
            from mmsc_cli.encode.adapt.train_towers import read_report

            counts["adapt"] = read_report(work.adapter)
        else:
            encoder, counts["adapt"] = adapt_vectors(encoder, task, work, out)
    encoder.save(out)
    return counts


def _concatenate(files: list[VectorFile], path: Path) -> None:
    """One share is linked, where the file system can; several are copied one behind the other."""
    if len(files) == 1:
        try:
            os.link(files[0].path, path)
        except OSError:
            shutil.copyfile(files[0].path, path)
        return
    dim = files[0].vectors().shape[1]
    with path.open("wb") as target:
        write_header(target, np.float16, (sum(file.rows for file in files), dim))
        for file in files:
            with file.path.open("rb") as source:
                skip_header(source)
                shutil.copyfileobj(source, target, _CHUNK)


def _write_failures(items: Path, images: list[VectorFile], file: TextIO) -> None:
    start = 0
    for share in images:
        states: NDArray[np.int32] = share.states()
        row = 0
        for batch in item_batches(items, ["item_id", "image_path"], start, start + share.rows):
            named = zip(batch["item_id"].to_pylist(), batch["image_path"].to_pylist(), strict=True)
            for item_id, path in named:
                if states[row] >= FAILED:
                    line = {"item_id": item_id, "path": path, "reason": share.reason(states[row])}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                row += 1
        start += share.rows


def _images_missing(items: Path) -> int:
    return sum(batch["image_path"].null_count for batch in item_batches(items, ["image_path"], 0, count_items(items)))
