from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmsc_cli.encode.settings import EncodeSettings
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EncodeTask:
    """What is to be encoded, and how.

    Attributes:
        items: the item table.
        pairs: the pair table; read for `settings.adapt` alone, and of it the training pairs alone.
        settings: the recipe's `[encode]`.
        inputs: the sha256 of what is read, by name: work on other inputs is not continued.
        workspace_root: where `image_path` starts.
        unfinished: a folder that outlives the run, where what is done is kept.
        seed: the run's seed.
        device: chooses the device; called only if torch is needed.
        progress: who watches.
    """

    items: Path
    pairs: Path
    settings: EncodeSettings
    inputs: Mapping[str, str]
    workspace_root: Path
    unfinished: Path
    seed: int
    device: Callable[[], torch.device]
    progress: Progress = SILENT
