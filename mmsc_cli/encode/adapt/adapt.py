"""`--adapt`: choose a method, train it, and apply it to the encoder and its vectors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.adapt.gain import held_out_ndcg
from mmsc_cli.encode.adapt.pair_batches import usable_rows
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.part_files import write_array
from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.tables.embeddings import Embeddings, map_array
from mmsc_cli.tables.items import item_splits, read_items
from mmsc_cli.tables.pairs import Pairs

if TYPE_CHECKING:
    import torch

_ROWS = 1_024
_REPORT = "report.json"
_LOG = logging.getLogger(__name__)


def trains_towers(settings: EncodeSettings, encoder: Encoder, device: Callable[[], torch.device]) -> bool:
    """Return whether to train low-rank matrices in the towers, rather than a projection over their vectors.

    Raises:
        InputError: the settings ask for the towers and the encoder has none.
    """
    if settings.adapt_with == "projection" or (settings.adapt_with == "auto" and not encoder.has_towers):
        return False
    if not encoder.has_towers:
        raise InputError(
            f"encode.adapt_with=lora: {encoder.name} has no towers to adapt",
            hint="use an open_clip encoder, or --set encode.adapt_with=projection",
        )
    return settings.adapt_with == "lora" or device().type == "cuda"


def adapt_towers(encoder: Encoder, reopen: Callable[[], Encoder], task: EncodeTask, folder: Path) -> Encoder:
    """Train low-rank matrices in the towers, unless `folder` has them, and return the encoder with them."""
    from mmsc_cli.encode.adapt.train_towers import fine_tune  # noqa: PLC0415  torch and open_clip are slow to import
    from mmsc_cli.encoders.lora import open_lora  # noqa: PLC0415  brings torch
    from mmsc_cli.encoders.open_clip import OpenClipEncoder  # noqa: PLC0415  brings torch

    assert isinstance(encoder, OpenClipEncoder)
    if not (folder / _REPORT).exists():
        folder.mkdir(exist_ok=True)
        write_json(folder / _REPORT, fine_tune(encoder, task, folder))  # last: it says that the matrices are whole
        reopened = reopen()
        assert isinstance(reopened, OpenClipEncoder)
        encoder = reopened
    encoder.adapt(open_lora(folder))
    return encoder


def read_report(folder: Path) -> dict[str, Any]:
    """Read how the matrices of `adapt_towers` were trained."""
    report: dict[str, Any] = json.loads((folder / _REPORT).read_bytes())
    return report


def adapt_vectors(encoder: Encoder, task: EncodeTask, folder: Path, out: Path) -> tuple[Encoder, dict[str, Any]]:
    """Train a projection over the vectors in `out`, and apply it to them if held-out items gain by it.

    Returns:
        The encoder, with the projection if it was applied, and a report.
    """
    from mmsc_cli.encode.adapt.train_projection import train_adapter  # noqa: PLC0415  torch is slow to import
    from mmsc_cli.encoders.projection import AdaptedEncoder  # noqa: PLC0415  brings torch
    from mmsc_cli.runtime.checkpoint import Checkpoints  # noqa: PLC0415  brings torch

    device = task.device()
    cost = _log_cost(encoder, device)
    frozen = Embeddings.open(out)
    splits = item_splits(read_items(task.items_path, ["split"]))
    pairs = Pairs.read(task.pairs_path)
    adapter, report = train_adapter(
        frozen,
        usable_rows(frozen.mask, pairs, splits == "warm"),
        shared_space=encoder.shared_space,
        seed=task.seed,
        device=device,
        checkpoints=Checkpoints(folder, {}),
        progress=task.progress,
    )
    adapted = folder / "adapted"
    adapted.mkdir(exist_ok=True)
    for name, rows, project in (
        ("text", frozen.text, adapter.adapt_texts),
        ("image", frozen.image, adapter.adapt_images),
    ):
        starts = range(0, len(rows), _ROWS)
        blocks = (project(rows[start : start + _ROWS].astype(np.float32)) for start in starts)
        write_array(adapted / f"{name}.npy", np.float16, rows.shape, blocks)
    after = [map_array(adapted / f"{name}.npy", "mmsc encode --adapt") for name in ("text", "image")]
    gain = _judge((frozen.text, frozen.image), after, pairs, splits, task.seed)
    report = {"trained": "projection", **report, **cost, **gain}
    if not gain["applied"]:
        return encoder, report
    for name in ("text", "image"):
        (adapted / f"{name}.npy").replace(out / f"{name}.npy")
    return AdaptedEncoder(encoder, adapter), report


def _judge(
    before: Sequence[NDArray[np.floating]],
    after: Sequence[NDArray[np.floating]],
    pairs: Pairs,
    splits: NDArray[np.str_],
    seed: int,
) -> dict[str, Any]:
    """Compare the vectors on held-out items, log it, and decide; without such items the losses must suffice."""
    frozen, adapted = (held_out_ndcg(sides, pairs, splits, seed) for sides in (before, after))
    held_out = {
        name: {"queries": queries, "frozen_ndcg@10": round(ndcg, 4), "adapted_ndcg@10": round(adapted[name][0], 4)}
        for name, (ndcg, queries) in frozen.items()
    }
    applied = not frozen or sum(adapted[name][0] for name in adapted) > sum(frozen[name][0] for name in frozen)
    told = ", ".join(f"{name} {frozen[name][0]:.3f} → {adapted[name][0]:.3f}" for name in frozen)
    _LOG.info(
        "adapt: NDCG@10 of the nearest items, for held-out items: %s; %s",
        told or "there are none",
        "the adapted vectors are used" if applied else "nothing is gained, so the frozen vectors are kept",
    )
    return {"held_out": held_out, "applied": applied}


def _log_cost(encoder: Encoder, device: torch.device) -> dict[str, float]:
    """Measure and log what training the towers would take on this machine, if the encoder has towers."""
    if not encoder.has_towers:
        return {}
    from mmsc_cli.encode.adapt.train_towers import SCHEDULE, hours_per_epoch  # noqa: PLC0415  imports torch
    from mmsc_cli.encoders.open_clip import OpenClipEncoder  # noqa: PLC0415  brings torch

    assert isinstance(encoder, OpenClipEncoder)
    hours = hours_per_epoch(encoder)
    _LOG.info(
        "adapt: training the towers of %s on %s would take about %.1f h per epoch, up to %d epochs; training a "
        "projection over their vectors instead (--set encode.adapt_with=lora trains the towers anyway)",
        encoder.name,
        device.type,
        hours,
        SCHEDULE.max_epochs,
    )
    return {"towers_hours_per_epoch": round(hours, 3)}
