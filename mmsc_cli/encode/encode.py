"""The stage: items become `embeddings/`, a share at a time."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.adapt.adapt import adapt_towers, trains_towers
from mmsc_cli.encode.duplicates import Distinct, image_hashes, text_hashes
from mmsc_cli.encode.encode_rows import encode_images, encode_texts
from mmsc_cli.encode.shards import WHOLE, Shard, Work
from mmsc_cli.encode.task import EncodeTask
from mmsc_cli.encode.vector_file import open_vectors
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.encoders.registry import Choice, choose_encoder
from mmsc_cli.runtime.atomic import atomic_write, write_json
from mmsc_cli.tables.image_hashes import check_images
from mmsc_cli.tables.items import count_items

if TYPE_CHECKING:
    pass


def encode_share(task: EncodeTask, shard: Shard = WHOLE) -> tuple[Work, Encoder]:
    """Encode a share of the catalogue, or continue to; `put_together` makes `embeddings/` of all the shares.

    Returns:
        The work, in which this share is done, and the encoder.

    Raises:
        InputError: unknown encoder, unusable checkpoint, a missing extra, or nothing to adapt to.
        UnreachableError: the weights are not on this machine and the hub does not answer.
        WorkspaceError: an image is not what `prepare` put in place.
    """
    choice = choose_encoder(
        task.items,
        task.settings,
        workspace_root=task.workspace_root,
        seed=task.seed,
        device=task.device,
        progress=task.progress,
    )
    work = Work(task.unfinished, _plan(task, choice))
    if shard == WHOLE:
        work.remove_others()
    share = work.share(shard)
    # The same size again: what is continued ends as what was never stopped.
    batch = share / "batch.json"
    batch_size = json.loads(batch.read_bytes()) if batch.exists() else task.settings.batch_size
    with _one_at_a_time(work.folder / ".lock"):
        encoder = choice.open(batch_size, work.fitted)
        if task.settings.adapt and trains_towers(task.settings, encoder, task.device):
            encoder = adapt_towers(encoder, choice, task, work)
    if work.counts(shard) is None and not (shard == WHOLE and work.complete()):
        write_json(batch, encoder.batch_size)
        _encode_rows(task, encoder, work, shard)
    return work, encoder


def _encode_rows(task: EncodeTask, encoder: Encoder, work: Work, shard: Shard) -> None:
    share, rows = work.share(shard), shard.rows(count_items(task.items))
    text, image = open_vectors(share, len(rows), encoder)
    hashes = _kept(share / "text.hash.npy", lambda: text_hashes(task.items, rows, task.progress))
    texts = Distinct.of(hashes)
    started = time.monotonic()
    encoded = encode_texts(task.items, rows, encoder, texts, text, task.progress)
    speed = {"texts_per_second": _rate(encoded, time.monotonic() - started)}
    if encoder.reads_images:
        hashes = _kept(
            share / "image.hash.npy", lambda: image_hashes(task.items, rows, task.workspace_root, task.progress)
        )
        check_images(task.workspace_root, task.items, rows, hashes)
    else:
        hashes = np.zeros(len(rows), np.uint64)
    images = Distinct.of(hashes)
    started = time.monotonic()
    encoded = encode_images(task.items, rows, encoder, images, image, task.workspace_root, task.progress)
    speed["images_per_second"] = _rate(encoded, time.monotonic() - started)
    counts = {
        "texts_repeated": len(rows) - len(texts.nothing) - len(texts),
        "images_repeated": len(rows) - len(images.nothing) - len(images),
    }
    work.finish(shard, counts | speed)


def _rate(inputs: int, seconds: float) -> float:
    return round(inputs / max(seconds, 1e-3), 2)


def _plan(task: EncodeTask, choice: Choice) -> dict[str, object]:
    return {
        "inputs": dict(task.inputs),
        "settings": task.settings.model_dump(mode="json"),
        "seed": task.seed,
        "encoder": dict(choice.identity),
    }


def _kept(path: Path, compute: Callable[[], NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """An array that is computed once."""
    if path.exists():
        array: NDArray[np.uint64] = np.load(path, allow_pickle=False)
        return array
    array = compute()
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
    return array


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Of several processes the first does what all need, and the others wait for it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
