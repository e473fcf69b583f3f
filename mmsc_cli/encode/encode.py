"""Encode the parts of a shard into a folder that outlives the run."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.adapt.adapt import adapt_towers, trains_towers
from mmsc_cli.encode.different_inputs import DifferentInputs, image_hashes, joint_hashes, text_hashes
from mmsc_cli.encode.earlier import Earlier, Known
from mmsc_cli.encode.encode_parts import encode_images, encode_texts
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.part_files import Modality, PartFile, cut_parts, unfinished
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.encoders.registry import Choice, choose_encoder
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.shares.shards import WHOLE, Shard
from mmsc_cli.tables.image_hashes import read_image_hashes
from mmsc_cli.workspace.changes import config_changes
from mmsc_cli.workspace.lock import locked

_LOG = logging.getLogger(__name__)
FITTED = "encoder"  # the folder of what is fitted on the catalogue


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
        hashes: of the inputs of all rows, (items,), by modality.
        known: the inputs whose vectors are taken from an earlier run, by modality.
        made: what decides the vectors, apart from the inputs.
        earlier: the earlier run, if the encoder is the same.
    """

    task: EncodeTask
    folder: Path
    encoder: Encoder
    inputs: Mapping[Modality, DifferentInputs]
    parts: Mapping[Modality, list[PartFile]]
    per_second: dict[Modality, float]
    hashes: Mapping[Modality, NDArray[np.uint64]]
    known: Mapping[Modality, Known]
    made: Mapping[str, Any]
    earlier: Earlier | None = None

    @property
    def all_parts(self) -> list[PartFile]:
        """The parts of all modalities, of which shards take every n-th one."""
        return [*self.parts["text"], *self.parts["image"], *self.parts["joint"]]

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
    made = _made(task, choice)
    # An adapter learns from pairs, which change every night.
    earlier = task.earlier if task.earlier and not task.settings.adapt and task.earlier.made == made else None
    if task.earlier and not task.settings.adapt and earlier is None:
        changes = config_changes(task.earlier.made, made)
        _LOG.warning("encode: everything is encoded anew, as these vectors would be others: %s", changes)
    folder = _work_folder(task, choice, earlier)
    if shard == WHOLE:
        _remove_other_folders(folder)
    with locked(folder, wait=True):  # one process of several does what all of them need
        texts = text_hashes(task.items_path, folder / "text_hashes.npy", task.progress)
        no_images = np.zeros(len(texts), np.uint64)
        recorded = read_image_hashes(task.workspace_root)
        if recorded is None:
            recorded = no_images
        elif recorded.shape != no_images.shape or recorded.dtype != no_images.dtype:
            raise WorkspaceError("image_hashes.npy is of another catalogue", hint="run `mmsc prepare SOURCE` again")
        hashes: dict[Modality, NDArray[np.uint64]] = {"text": texts, "image": image_hashes(task.items_path, recorded)}
        is_fitted = choice.identity["kind"] == "classic"
        if earlier is not None and is_fitted and not (folder / FITTED / "encoder.json").exists():
            earlier.keep_fitted(hashes, folder / FITTED)
        encoder = _open(task, choice, folder)
        if earlier is not None and is_fitted and not earlier.has_encoder(folder / FITTED):
            earlier = None
    if earlier is not None and not earlier.fits(encoder):
        earlier = None
    if not encoder.reads_images:
        hashes["image"] = no_images
    hashes["joint"] = joint_hashes(hashes["text"], hashes["image"]) if encoder.joint_dim else no_images
    inputs = {modality: DifferentInputs.of(of_rows) for modality, of_rows in hashes.items()}
    known = {modality: Known.of(earlier, modality, hashes[modality][inputs[modality].first_row]) for modality in inputs}
    cuts = {modality: cut_parts(folder, modality, inputs[modality]) for modality in inputs}
    encoding = Encoding(task, folder, encoder, inputs, cuts, {}, hashes, known, made, earlier)
    todo = unfinished(shard.parts(encoding.all_parts))
    for modality in inputs:
        started = time.monotonic()
        parts = [part for part in todo if part.modality == modality]
        if modality == "text":
            encoded = encode_texts(task, encoder, inputs[modality], parts, known[modality])
        else:
            encoded = encode_images(task, encoder, inputs[modality], recorded, parts, known[modality])
        encoding.per_second[modality] = _rate(encoded, time.monotonic() - started)
    return encoding


def _made(task: EncodeTask, choice: Choice) -> dict[str, Any]:
    """Return what decides the vectors, apart from the inputs, as JSON values."""
    settings = task.settings.model_dump(mode="json", exclude={"batch_size"}, exclude_none=True)
    made: dict[str, Any] = json.loads(
        json.dumps({"settings": settings, "seed": task.seed, "encoder": dict(choice.identity)})
    )
    return made


def _work_folder(task: EncodeTask, choice: Choice, earlier: Earlier | None) -> Path:
    """Return the folder of this plan, which is made. Another plan has another folder, so that parts never mix."""
    plan = {
        "inputs": dict(task.inputs),
        "settings": task.settings.model_dump(mode="json"),
        "seed": task.seed,
        "encoder": dict(choice.identity),
        "earlier": earlier and sha256(earlier.inputs.tobytes()).hexdigest(),
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
    fitted, batch = folder / FITTED, folder / "batch.json"
    batch_size = json.loads(batch.read_bytes()) if batch.exists() else task.settings.batch_size
    encoder = choice.open(batch_size, fitted)
    if not batch.exists():
        write_json(batch, encoder.batch_size)
    if task.settings.adapt and trains_towers(task.settings, encoder, task.device):
        encoder = adapt_towers(encoder, lambda: choice.open(encoder.batch_size, fitted), task, folder / "adapter")
    return encoder


def _rate(count: int, seconds: float) -> float:
    return round(count / max(seconds, 1e-3), 2)
