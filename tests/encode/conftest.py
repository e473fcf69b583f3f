"""Small catalogues with texts and drawn images, and a tiny open_clip model with random weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from mmsc_cli.encode.encode import encode_share
from mmsc_cli.encode.merge import put_together
from mmsc_cli.encode.shards import WHOLE
from mmsc_cli.encode.task import EncodeTask
from mmsc_cli.recipe.settings import EncodeSettings
from mmsc_cli.tables.items import ITEM_SCHEMA, write_items
from mmsc_cli.tables.pairs import Pairs, write_pairs

if TYPE_CHECKING:
    import torch

TYPES = ("camera", "printer", "kettle")
WORDS = {
    "camera": "camera lens sensor shutter zoom photo",
    "printer": "printer ink toner paper scanner cartridge",
    "kettle": "kettle water boil steel tea kitchen",
}
COLOURS = {"camera": "black", "printer": "royalblue", "kettle": "firebrick"}


@dataclass(frozen=True)
class Encoded:
    """What one run of the stage left behind."""

    folder: Path
    failures: Path
    counts: dict[str, Any]

    def array(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """One of the arrays, as a reader would open it."""
        array: np.ndarray[Any, np.dtype[Any]] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        return array


def _item_table(texts: list[str], image_paths: list[str | None], split: list[str] | None = None) -> pa.Table:
    """An item table with these titles and images and nothing else."""
    count = len(texts)
    return pa.table(
        {
            "item_id": [f"i{row:04d}" for row in range(count)],
            "title": texts,
            "description": [""] * count,
            "brand": [""] * count,
            "category": [[] for _ in range(count)],
            "price": [float("nan")] * count,
            "image_url": [None] * count,
            "image_path": image_paths,
            "split": split or ["warm"] * count,
        },
        schema=ITEM_SCHEMA,
    )


def _pair_table(ends: list[tuple[int, int]], split: list[str]) -> Pairs:
    """A pair table in which every pair is a co-view."""
    a, b = np.asarray(ends, np.int32).reshape(-1, 2).T
    ones, zeros = np.ones(len(a), np.float32), np.zeros(len(a), np.float32)
    return Pairs(a, b, ones, ones, zeros, zeros, np.asarray(split, np.str_))


def _draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """A product of a type: its own shape and colour, at a place and size of its own."""
    image = Image.new("RGB", (120, 100), "white")
    pen = ImageDraw.Draw(image)
    x, y, size = (int(value) for value in rng.integers((10, 10, 30), (40, 30, 50)))
    box = (x, y, x + size, y + size)
    if kind == "camera":
        pen.rectangle(box, fill=COLOURS[kind])
    elif kind == "printer":
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=COLOURS[kind])
    else:
        pen.ellipse(box, fill=COLOURS[kind])
    return image


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


def task_of(
    items: pa.Table,
    pairs: Pairs | None,
    root: Path,
    *,
    unfinished: Path,
    device: Callable[[], torch.device] = _cpu,
    **settings: str | int,
) -> EncodeTask:
    """What the stage is given for a table in the workspace `root`."""
    write_items(root / "items.parquet", items)
    write_pairs(root / "pairs.parquet", _pair_table([], []) if pairs is None else pairs)
    return EncodeTask(
        items=root / "items.parquet",
        pairs=root / "pairs.parquet",
        settings=EncodeSettings.model_validate(settings),
        inputs={},
        workspace_root=root,
        unfinished=unfinished,
        seed=1,
        device=device,
    )


@pytest.fixture
def encode_task() -> Callable[..., EncodeTask]:
    """Make what the stage is given: (items, pairs, root, unfinished=folder, **settings)."""
    return task_of


@pytest.fixture
def item_table() -> Callable[..., pa.Table]:
    """Make an item table: (texts, image_paths, split=all warm)."""
    return _item_table


@pytest.fixture
def pair_table() -> Callable[..., Pairs]:
    """Make a pair table: (ends, split)."""
    return _pair_table


@pytest.fixture
def typed_items(tmp_path: Path) -> pa.Table:
    """Sixty items of three types with a drawn image each, in `tmp_path/images`; row % 3 is the type."""
    (tmp_path / "images").mkdir()
    texts, paths = [], []
    for row in range(60):
        kind = TYPES[row % 3]
        rng = np.random.default_rng(zlib.crc32(f"{row}".encode()))
        texts.append(" ".join([kind, *rng.choice(WORDS[kind].split(), 3), f"model{row}"]))
        path = f"images/{row}.png"
        _draw(kind, rng).save(tmp_path / path)
        paths.append(path)
    return _item_table(texts, list(paths))


@pytest.fixture
def run_encode(tmp_path: Path) -> Callable[..., Encoded]:
    """Run the stage on a table in the workspace `tmp_path`."""
    runs = 0

    def run(
        items: pa.Table,
        pairs: Pairs | None = None,
        *,
        device: Callable[[], torch.device] = _cpu,
        **settings: str | int,
    ) -> Encoded:
        nonlocal runs
        runs += 1
        out = tmp_path / f"run{runs}"
        out.mkdir()
        failures = tmp_path / f"failures{runs}.jsonl"
        task = task_of(items, pairs, tmp_path, unfinished=tmp_path / f"work{runs}", device=device, **settings)
        work, encoder = encode_share(task)
        counts = put_together(task, work, encoder, WHOLE, out, failures)
        return Encoded(out, failures, counts)

    return run


@pytest.fixture(scope="session")
def tiny_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of an architecture `mmsc-tiny`, registered with open_clip: 32 wide, 32-pixel images."""
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    return _random_checkpoint("mmsc-tiny", config, tmp_path_factory.mktemp("open_clip"))


@pytest.fixture(scope="session")
def wide_open_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`--encoder` for another one, `mmsc-wide`, whose features are rich enough to be adapted."""
    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}
    return f"open_clip:mmsc-wide/{_random_checkpoint('mmsc-wide', config, tmp_path_factory.mktemp('wide'))}"


def _random_checkpoint(name: str, config: dict[str, Any], folder: Path) -> Path:
    import open_clip
    import torch
    from safetensors.torch import save_file

    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(name)
    checkpoint = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, checkpoint)
    return checkpoint
