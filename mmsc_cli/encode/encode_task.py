"""What the encode stage works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmsc_cli.encode.earlier import Earlier
from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EncodeTask:
    """A catalogue and how to encode it.

    Attributes:
        items_path: the item table.
        pairs_path: the pair table; only `settings.adapt` reads it, and only its training pairs.
        settings: the recipe's `[encode]`.
        inputs: the sha256 of each input by name; finished parts of other inputs are not used.
        workspace_root: the folder that each `image_path` is relative to.
        unfinished: the folder that keeps finished parts until they are merged.
        seed: the seed of the run.
        device: chooses the device; called only if the encoder needs torch.
        progress: shows how far the work is.
        earlier: the embeddings of an earlier run; None: everything is encoded.
    """

    items_path: Path
    pairs_path: Path
    settings: EncodeSettings
    inputs: Mapping[str, str]
    workspace_root: Path
    unfinished: Path
    seed: int
    device: Callable[[], torch.device]
    progress: Progress = SILENT
    earlier: Earlier | None = None
