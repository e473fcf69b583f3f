"""Encode the parts of a shard into a folder that outlives the run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from mmsc_cli.encode.adapt.adapt import adapt_towers, trains_towers
from mmsc_cli.encode.different_inputs import DifferentInputs, image_hashes, text_hashes
from mmsc_cli.encode.encode_parts import encode_images, encode_texts
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.part_files import Modality, PartFile, cut_parts, unfinished
from mmsc_cli.encode.shards import WHOLE, Shard
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.encoders.registry import Choice, choose_encoder
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.tables.image_hashes import read_image_hashes
from mmsc_cli.workspace.lock import locked


@dataclass(frozen=True)
class Encoding:
    """The encoding of a catalogue, of which parts are finished.

    Attributes:
        task: the catalogue and the settings.
        folder: where the parts are.
        encoder: encodes them.
        inputs: what is encoded, by modality.
        parts: what is to be encoded, by modality.
        per_second: inputs that this process encoded per second, by modality.
    """

    task: EncodeTask
    folder: Path
    encoder: Encoder
    inputs: Mapping[Modality, DifferentInputs]
    parts: Mapping[Modality, list[PartFile]]
    per_second: dict[Modality, float]

    @property
    def all_parts(self) -> list[PartFile]:
        """The parts of both modalities, of which shards take every n-th one."""
        return [*self.parts["text"], *self.parts["image"]]

    def missing(self, shard: Shard) -> list[Shard]:
        """Return the siblings of a shard that have unfinished parts."""
        return [sibling for sibling in shard.siblings() if unfinished(sibling.parts(self.all_parts))]


def encode_shard(task: EncodeTask, shard: Shard = WHOLE) -> Encoding:
    """Encode the parts of a shard that are not finished; `merge` makes `embeddings/` of the parts of all shards.

    Raises:
        InputError: the encoder is unknown or its checkpoint unusable, an extra is missing, or there are too few pairs
            to adapt to.
        UnreachableError: the weights are not on this machine and the hub does not answer.
        WorkspaceError: an image is not the one that `prepare` put in place.
    """
    choice = choose_encoder(
        task.items_path,
        task.settings,
        workspace_root=task.workspace_root,
        seed=task.seed,
        device=task.device,
        progress=task.progress,
    )
    folder = _work_folder(task, choice)
    if shard == WHOLE:
        _remove_other_folders(folder)
    with locked(folder, wait=True):  # one process of several does what all of them need
        encoder = _open(task, choice, folder)
        texts = DifferentInputs.of(text_hashes(task.items_path, folder / "text_hashes.npy", task.progress))
    no_hashes = np.zeros(len(texts.of_row), np.uint64)
    recorded = read_image_hashes(task.workspace_root)
    if recorded is None:
        recorded = no_hashes
    elif recorded.shape != no_hashes.shape or recorded.dtype != no_hashes.dtype:
        raise WorkspaceError("image_hashes.npy is of another catalogue", hint="run `mmsc prepare SOURCE` again")
    images = DifferentInputs.of(image_hashes(task.items_path, recorded) if encoder.reads_images else no_hashes)
    encoding = Encoding(
        task,
        folder,
        encoder,
        {"text": texts, "image": images},
        {"text": cut_parts(folder, "text", texts), "image": cut_parts(folder, "image", images)},
        {},
    )
    parts = unfinished(shard.parts(encoding.all_parts))
    started = time.monotonic()
    encoded = encode_texts(task, encoder, texts, [part for part in parts if part.modality == "text"])
    between = time.monotonic()
    encoding.per_second["text"] = _rate(encoded, between - started)
    encoded = encode_images(task, encoder, images, recorded, [part for part in parts if part.modality == "image"])
    encoding.per_second["image"] = _rate(encoded, time.monotonic() - between)
    return encoding


def _work_folder(task: EncodeTask, choice: Choice) -> Path:
    """Return the folder of this plan, which is made. Another plan has another folder, so that parts never mix."""
    plan = {
        "inputs": dict(task.inputs),
        "settings": task.settings.model_dump(mode="json"),
        "seed": task.seed,
        "encoder": dict(choice.identity),
    }
    folder = task.unfinished / sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "plan.json").exists():
        write_json(folder / "plan.json", plan)
    return folder


def _remove_other_folders(folder: Path) -> None:
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _open(task: EncodeTask, choice: Choice, folder: Path) -> Encoder:
    """Open the encoder, fitted and adapted, with the batch size of the first process: it may decide the last bit."""
    fitted, batch = folder / "encoder", folder / "batch.json"
    batch_size = json.loads(batch.read_bytes()) if batch.exists() else task.settings.batch_size
    encoder = choice.open(batch_size, fitted)
    if not batch.exists():
        write_json(batch, encoder.batch_size)
    if task.settings.adapt and trains_towers(task.settings, encoder, task.device):
        encoder = adapt_towers(encoder, lambda: choice.open(encoder.batch_size, fitted), task, folder / "adapter")
    return encoder


def _rate(count: int, seconds: float) -> float:
    return round(count / max(seconds, 1e-3), 2)
