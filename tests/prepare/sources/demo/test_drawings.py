from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mmsc_cli.prepare.sources.demo.drawings import SIDE, draw_images
from mmsc_cli.prepare.sources.demo.generate import DemoCatalogue
from mmsc_cli.prepare.sources.demo.stock import Stock
from mmsc_cli.runtime.progress import SILENT


def test_pictures_open_and_differ(catalogue: DemoCatalogue, image_folder: Path) -> None:
    paths = [path for path in catalogue.items["image_path"].to_pylist() if path]
    assert {Path(path).name for path in paths} == {file.name for file in image_folder.iterdir()}
    contents = set()
    for path in paths:
        with Image.open(image_folder.parent / path) as image:
            assert image.size == (SIDE, SIDE)
            contents.add(image.convert("RGB").tobytes())
    assert len(contents) == len(paths)


def test_same_seed_same_bytes(stock: Stock, tmp_path: Path) -> None:
    shown = np.arange(len(stock)) < 30
    names = [f"item{row}" for row in range(len(stock))]
    folders = [tmp_path / name for name in ("first", "again", "other")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        folder.mkdir()
        assert draw_images(stock, names, shown, folder, seed, SILENT) == 30
    first, again, other = ([(folder / f"item{row}.png").read_bytes() for row in range(30)] for folder in folders)
    assert first == again
    assert first != other
