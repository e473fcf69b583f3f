"""`--adapt` on a GPU: low-rank matrices in both towers, trained by contrast on the catalogue's texts and images."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmsc_cli.atomic import write_json
from mmsc_cli.encode.adapt_rows import Rows, epoch_batches, hold_out, in_parts, usable_rows
from mmsc_cli.encode.ahead import decoding_threads, map_ahead
from mmsc_cli.encode.batches import is_out_of_memory
from mmsc_cli.encode.contrast import MODALITIES, Temperatures, contrastive_loss
from mmsc_cli.encode.distinct import TEXT_COLUMNS
from mmsc_cli.encode.early_stopping import Schedule, train_early_stopping
from mmsc_cli.encode.images import load_image
from mmsc_cli.encode.lora import matrices_of, save_lora
from mmsc_cli.encode.open_clip_encoder import OpenClipEncoder
from mmsc_cli.errors import InputError
from mmsc_cli.image_file import UnusableImageError
from mmsc_cli.items import count_items, full_text, item_batches, take_items
from mmsc_cli.pairs import Pairs
from mmsc_cli.progress import SILENT, Progress
from mmsc_cli.seeds import derive_seed

RANK = 8
BATCH = 128
SMALLEST_BATCH = 8
SCHEDULE = Schedule(steps=50, max_epochs=20, patience=3, learning_rate=5e-4)
ABOUT = "lora.json"
_TIMED = 4
_LOG = logging.getLogger("mmsc_cli")


def fine_tune(
    encoder: OpenClipEncoder,
    items: Path,
    pairs: Pairs,
    workspace_root: Path,
    folder: Path,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> None:
    """Train low-rank matrices and write them into `folder`, with `lora.json` saying how they came about.

    A training that was stopped goes on after its last whole epoch. The encoder is of no use afterwards: open another one.

    Args:
        encoder: the frozen towers.
        items: the item table.
        pairs: the pair table; only its training pairs are read.
        workspace_root: where `image_path` starts.
        folder: where the matrices go, and the state of their training is kept.
        seed: the run's seed.
        progress: who watches.

    Raises:
        InputError: there is too little to learn from; the extra `adapt` is not installed; the towers have no linear
            layers; or the memory does not hold a small batch.
    """
    mask, warm = _what_items_have(items)
    rows = usable_rows(mask, pairs, warm)
    fit, valid = hold_out(rows, seed)
    parameters = _inject(encoder, seed)
    temperatures = Temperatures().to(encoder.device)
    trained = parameters | {f"temperatures.{name}": tensor for name, tensor in temperatures.items()}
    start = {name: tensor.detach().clone() for name, tensor in trained.items()}
    batch = BATCH
    if encoder.precision is torch.float16:
        encoder.precision = None  # gradients this small need a wider exponent
    while True:
        reader = _Reader(encoder, items, workspace_root, mask)

        def epoch_losses(epoch: int, reader: _Reader = reader, size: int = batch) -> Callable[[int], Tensor]:
            batches = [_with_ends(part, mask) for part in epoch_batches(fit, size, SCHEDULE.steps, seed=seed, epoch=epoch)]
            stream = reader.read(batches)
            return lambda _: next(stream).loss(encoder, temperatures)

        @torch.no_grad()
        def valid_loss(reader: _Reader = reader, size: int = batch) -> float:
            parts = [_with_ends(part, mask) for part in in_parts(valid, size)]
            return float(np.mean([part.loss(encoder, temperatures).item() for part in reader.read(parts)]))

        try:
            losses, best = train_early_stopping(
                trained,
                epoch_losses,
                valid_loss,
                SCHEDULE,
                checkpoint=folder / f"training-{batch}.safetensors",
                progress=progress,
            )
            break
        except RuntimeError as error:
            if not is_out_of_memory(error) or batch <= SMALLEST_BATCH:
                raise
            batch //= 2
            with torch.no_grad():
                for name, tensor in trained.items():
                    tensor.copy_(start[name])
            _LOG.warning("out of memory: adapting with batches of %d", batch)
    save_lora(folder, _matrices(encoder.model))
    report = {"pairs": len(rows.pairs), "best_epoch": best, "valid_losses": [round(loss, 4) for loss in losses]}
    write_json(folder / ABOUT, report | {"trained": "lora", "rank": RANK, "batch": batch})


def is_fine_tuned(folder: Path) -> bool:
    """Whether the matrices in a folder are trained to the end."""
    return (folder / ABOUT).exists()


def read_report(folder: Path) -> dict[str, Any]:
    """How the matrices in a folder came about."""
    report: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
    return report


@dataclass(frozen=True)
class _Batch:
    """A batch with what the towers are given: token ids and pixels of the items that have them, by item row."""

    rows: Rows
    mask: NDArray[np.bool_]
    items: dict[str, NDArray[np.int64]]
    inputs: dict[str, Tensor]

    def loss(self, encoder: OpenClipEncoder, temperatures: Temperatures) -> Tensor:
        towers = {"text": encoder.encode_tokens, "image": encoder.encode_pixels}
        encoded = {name: towers[name](self.inputs[name]) for name in MODALITIES if len(self.items[name])}

        def vectors(modality: str, rows: NDArray[np.int64]) -> Tensor:
            return encoded[modality][torch.from_numpy(np.searchsorted(self.items[modality], rows)).to(encoder.device)]

        return contrastive_loss(self.rows, self.mask, vectors, vectors, temperatures)


class _Reader:
    """Reads what batches need from the catalogue: texts of an epoch at once, images ahead of their batch."""

    def __init__(self, encoder: OpenClipEncoder, items: Path, workspace_root: Path, mask: NDArray[np.bool_]) -> None:
        self._encoder = encoder
        self._items = items
        self._root = workspace_root
        self._mask = mask

    def read(self, batches: Sequence[Rows]) -> Iterator[_Batch]:
        wanted = [np.unique(np.concatenate([rows.pairs.ravel(), rows.both])) for rows in batches]
        all_wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *wanted]))
        columns = [*TEXT_COLUMNS, "image_path"]
        texts: dict[int, str] = {}
        paths: dict[int, str | None] = {}
        rows = iter(all_wanted.tolist())
        for table in take_items(self._items, columns, all_wanted):
            for text, path in zip(full_text(table), table["image_path"].to_pylist(), strict=True):
                row = next(rows)
                texts[row], paths[row] = text, path
        with ExitStack() as stack:
            pool = stack.enter_context(decoding_threads())
            named = (paths[row] for part in wanted for row in part.tolist())
            loaded = map_ahead(pool, self._load, named, depth=2 * max(map(len, wanted), default=0))
            for batch, part in zip(batches, wanted, strict=True):
                yield self._batch(batch, part, [texts[row] for row in part.tolist()], [next(loaded) for _ in part])

    def _load(self, path: str | None) -> NDArray[np.uint8] | None:
        if path is None:
            return None
        try:
            return self._encoder.pixels(load_image(self._root, path))
        except UnusableImageError:
            return None

    def _batch(
        self, batch: Rows, part: NDArray[np.int64], texts: list[str], images: list[NDArray[np.uint8] | None]
    ) -> _Batch:
        # The mask says who names an image; only now is it known which images can be used.
        mask = self._mask.copy() if any(image is None for image in images) else self._mask
        seen = np.array([image is not None for image in images])
        if mask is not self._mask:
            mask[part[~seen], 1] = False
        told = mask[part, 0]
        stacked = np.stack([image for image in images if image is not None]) if seen.any() else np.zeros(0, np.uint8)
        tokens = self._encoder.tokens([text for text, has in zip(texts, told, strict=True) if has])
        return _Batch(
            Rows(batch.pairs, batch.both[mask[batch.both].all(axis=1)]),
            mask,
            {"text": part[told], "image": part[seen]},
            {"text": tokens, "image": torch.from_numpy(stacked)},
        )


@torch.inference_mode()
def seconds_per_epoch(encoder: OpenClipEncoder) -> float:
    """What an epoch of `fine_tune` would take: a small forward pass is timed; with its backward pass it is three."""
    pixels, tokens = encoder.blank_inputs(_TIMED)
    for _ in range(2):  # the first one warms up
        started = time.perf_counter()
        encoder.encode_pixels(pixels).sum().item()
        encoder.encode_tokens(tokens).sum().item()
        seconds = time.perf_counter() - started
    return 3 * seconds / _TIMED * 2 * BATCH * SCHEDULE.steps


def _what_items_have(items: Path) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per item whether it has a text, and names an image, shape (items, 2); and whether it is warm."""
    mask, warm = np.zeros((count_items(items), 2), np.bool_), np.zeros(count_items(items), np.bool_)
    start = 0
    for batch in item_batches(items, [*TEXT_COLUMNS, "image_path", "split"], 0, len(mask)):
        here = slice(start, start + len(batch))
        mask[here, 0] = [bool(text.strip()) for text in full_text(batch)]
        mask[here, 1] = batch["image_path"].is_valid().to_numpy()
        warm[here] = np.asarray(batch["split"].to_pylist()) == "warm"
        start += len(batch)
    return mask, warm


def _with_ends(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    """The same batch, in which text and image of the pairs' ends are compared too: they are encoded anyway."""
    both = np.unique(np.concatenate([rows.pairs.ravel(), rows.both[: max(len(rows.both) - rows.pairs.size, 0)]]))
    return Rows(rows.pairs, both[mask[both].all(axis=1)])


def _inject(encoder: OpenClipEncoder, seed: int) -> dict[str, Tensor]:
    """Put low-rank matrices beside every linear layer that is used as one; return what is to be trained, by name."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError(
            "--adapt trains low-rank matrices with peft, which is not installed",
            hint="pip install 'mmsc-cli[adapt]', or --set encode.adapt_with=projection",
        ) from error
    targets = list(_linear_layers(encoder.model))
    if not targets:
        raise InputError(
            f"--adapt: {encoder.name} has no linear layers to adapt", hint="--set encode.adapt_with=projection"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "adapt/lora"))
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets)
        inject_adapter_in_model(config, encoder.model)
    encoder.model.to(encoder.device)
    return {name: tensor for name, tensor in encoder.model.named_parameters() if tensor.requires_grad}


def _linear_layers(model: nn.Module) -> Iterable[str]:
    """Paths of the linear layers; those inside an attention are not called but read, so nothing beside them would be."""
    for name, module in model.named_modules():
        inside_attention = ".attn.out_proj" in name or "attnpool" in name
        if isinstance(module, nn.Linear) and not inside_attention:
            yield name


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    from peft.tuners.lora import LoraLayer

    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            for adapter, down in module.lora_A.items():
                found |= matrices_of(name, down.weight, module.lora_B[adapter].weight * module.scaling[adapter])
    return found
