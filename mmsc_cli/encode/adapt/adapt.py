"""`--adapt`: which way, and what becomes of the encoder and its vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.encode.vector_file import write_header
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from mmsc_cli.encode.shards import Work
    from mmsc_cli.encode.task import EncodeTask
    from mmsc_cli.encoders.registry import Choice

_ROWS = 1_024
_LOG = logging.getLogger("mmsc_cli")


def trains_towers(settings: EncodeSettings, encoder: Encoder, device: Callable[[], torch.device]) -> bool:
    """Whether low-rank matrices are trained in the towers, rather than a projection over their vectors.

    Raises:
        InputError: they are asked for, and the encoder has no towers.
    """
    if settings.adapt_with == "projection" or (settings.adapt_with == "auto" and not encoder.shared_space):
        return False
    if not encoder.shared_space:
        raise InputError(
            f"encode.adapt_with=lora: {encoder.name} has no towers to adapt",
            hint="use an open_clip encoder, or --set encode.adapt_with=projection",
        )
    return settings.adapt_with == "lora" or device().type == "cuda"


def adapt_towers(encoder: Encoder, choice: Choice, task: EncodeTask, work: Work) -> Encoder:
    """Train low-rank matrices in the towers, unless that is done, and return the encoder with them in it."""
    from mmsc_cli.encode.adapt.train_towers import fine_tune, is_fine_tuned
    from mmsc_cli.encoders.lora import open_lora
    from mmsc_cli.encoders.open_clip import OpenClipEncoder

    assert isinstance(encoder, OpenClipEncoder)
    if not is_fine_tuned(work.adapter):
        fine_tune(
            encoder,
            task.items,
            Pairs.read(task.pairs),
            task.workspace_root,
            work.adapter,
            seed=task.seed,
            progress=task.progress,
        )
        again = choice.open(encoder.batch_size, work.fitted)
        assert isinstance(again, OpenClipEncoder)
        encoder = again
    encoder.adapt(open_lora(work.adapter))
    return encoder


def adapt_vectors(encoder: Encoder, task: EncodeTask, work: Work, out: Path) -> tuple[Encoder, dict[str, Any]]:
    """Train a projection over the vectors in `out`, put it over the encoder, and exchange the vectors."""
    from mmsc_cli.encode.adapt.train_projection import FrozenEmbeddings, train_adapter
    from mmsc_cli.encoders.projection import AdaptedEncoder

    device = task.device()
    cost = _say_cost(encoder, device)
    text, image, mask = Embeddings.open(out)
    warm = item_splits(read_items(task.items, ["split"])) == "warm"
    result = train_adapter(
        FrozenEmbeddings(text, image, mask, encoder.shared_space),
        Pairs.read(task.pairs),
        warm,
        seed=task.seed,
        device=device,
        checkpoint=work.adapter / "training.safetensors",
        progress=task.progress,
    )
    for name, frozen, adapt in (
        ("text", text, result.adapter.adapt_texts),
        ("image", image, result.adapter.adapt_images),
    ):
        _exchange(out / f"{name}.npy", frozen, adapt)
    report = {
        "trained": "projection",
        "pairs": result.pairs,
        "best_epoch": result.best_epoch,
        "valid_losses": result.valid_losses,
        **cost,
    }
    return AdaptedEncoder(encoder, result.adapter), report


def _say_cost(encoder: Encoder, device: torch.device) -> dict[str, float]:
    """Where towers could be trained, but are not: say what that would cost here."""
    if not encoder.shared_space:
        return {}
    from mmsc_cli.encode.adapt.train_towers import SCHEDULE, seconds_per_epoch
    from mmsc_cli.encoders.open_clip import OpenClipEncoder

    assert isinstance(encoder, OpenClipEncoder)
    seconds = seconds_per_epoch(encoder)
    _LOG.info(
        "adapt: on %s the towers of %s would take about %.1f h an epoch, up to %d epochs, and are left as they are; a "
        "projection over their vectors is trained (--set encode.adapt_with=lora trains the towers all the same)",
        device.type,
        encoder.name,
        seconds / 3_600,
        SCHEDULE.max_epochs,
    )
    return {"towers_hours_per_epoch": round(seconds / 3_600, 3)}


def _exchange(
    path: Path, frozen: NDArray[np.float16], adapt: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> None:
    """Write adapted rows into a new file and put it in place of the frozen one, which the work under way shares."""
    with atomic_write(path) as file:
        write_header(file, frozen.dtype, frozen.shape)
        for start in range(0, len(frozen), _ROWS):
            file.write(adapt(frozen[start : start + _ROWS].astype(np.float32)).astype(np.float16).tobytes())
