"""A run that is stopped, at any moment, ends as one that never was; and it does nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mmsc_cli.encode import merge as merging
from mmsc_cli.encode import part_files as parts
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.merge import merge
from mmsc_cli.encoders.classic.classic import ClassicEncoder
from mmsc_cli.encoders.open_clip import OpenClipEncoder
from mmsc_cli.runtime.shares.shards import WHOLE, Shard

MakeTask = Callable[..., EncodeTask]
Table = Callable[..., pa.Table]
KILLED_AT = """
import os, pathlib, signal, sys
from mmsc_cli.encode import part_files
from mmsc_cli.encoders.classic.classic import ClassicEncoder
from mmsc_cli.encode.encode import encode_shard
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.settings import EncodeSettings

root, unfinished, method, batches = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
part_files.PART_INPUTS = 14
whole, seen = getattr(ClassicEncoder, method), 0

def until_killed(self, inputs):
    global seen
    seen += 1
    if seen > batches:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, inputs)

setattr(ClassicEncoder, method, until_killed)
settings = EncodeSettings(encoder="classic", batch_size=4)
encode_shard(EncodeTask(root / "items.parquet", root / "pairs.parquet", settings, {}, root, unfinished, 1, None))
"""


def finished(task: EncodeTask, out: Path, shard: Shard = WHOLE) -> dict[str, bytes]:
    """Encode to the end, and what the artefacts hold."""
    encoding = encode_shard(task, shard)
    out.mkdir()
    merge(encoding, out, out / "failures.jsonl")
    return {path.name: path.read_bytes() for path in out.iterdir()}


def stop_after(monkeypatch: pytest.MonkeyPatch, encoder: type, method: str, batches: int) -> None:
    whole, seen = getattr(encoder, method), 0

    def until_stopped(self: Any, *arguments: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > batches:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(encoder, method, until_stopped)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts a modality, and several blocks of rows to merge."""
    monkeypatch.setattr(parts, "PART_INPUTS", 14)
    monkeypatch.setattr(merging, "_ROWS", 25)


@pytest.fixture
def messy_items(typed_items: pa.Table, item_table: Table, tmp_path: Path) -> pa.Table:
    """The typed items with some that have no text, no image, a broken image, or what another item has."""
    texts, paths = typed_items["title"].to_pylist(), typed_items["image_path"].to_pylist()
    (tmp_path / "images/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    texts[5], texts[30], texts[31] = "", texts[2], texts[2]
    paths[7], paths[20], paths[21], paths[50] = None, "images/broken.png", "images/gone.png", paths[3]
    return item_table(texts, paths)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_batches_it_ends_the_same(
    messy_items: pa.Table, encode_task: MakeTask, tmp_path: Path, seed: int
) -> None:
    task = encode_task(messy_items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic", batch_size=4)
    rng = np.random.default_rng(seed)
    for method, most in (("text_vectors", 2), ("image_vectors", 13)):
        batches = str(rng.integers(0, most))
        ran = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(tmp_path), str(task.unfinished), method, batches], check=False
        )
        assert ran.returncode == -9
    once = encode_task(messy_items, None, tmp_path, unfinished=tmp_path / "once", encoder="classic", batch_size=4)
    assert finished(task, tmp_path / "killed") == finished(once, tmp_path / "never_killed")


# Of the four times seven images two cannot be used.
@pytest.mark.parametrize(
    ("method", "batches", "kept"), [("encode_tokens", 3, 0), ("encode_pixels", 0, 0), ("encode_pixels", 4, 4 * 7 - 2)]
)
def test_interrupted_towers_end_the_same_and_repeat_nothing(
    messy_items: pa.Table,
    encode_task: MakeTask,
    tiny_open_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    batches: int,
    kept: int,
) -> None:
    def task(name: str) -> EncodeTask:
        encoder = f"open_clip:mmsc-tiny/{tiny_open_clip}"
        return encode_task(messy_items, None, tmp_path, unfinished=tmp_path / name, encoder=encoder, batch_size=7)

    whole = finished(task("once"), tmp_path / "never_stopped")
    with monkeypatch.context() as patch:
        stop_after(patch, OpenClipEncoder, method, batches)
        with pytest.raises(KeyboardInterrupt):
            encode_shard(task("again"))
    seen: list[int] = []
    encode_pixels = OpenClipEncoder.encode_pixels

    def counting(self: OpenClipEncoder, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return encode_pixels(self, pixels)

    monkeypatch.setattr(OpenClipEncoder, "encode_pixels", counting)
    assert finished(task("again"), tmp_path / "stopped") == whole
    images = 56  # of 60: one item names none, one is a copy, two cannot be used
    assert sum(seen) == images - kept


def test_merged_shards_are_the_whole(messy_items: pa.Table, encode_task: MakeTask, tmp_path: Path) -> None:
    def task(name: str) -> EncodeTask:
        return encode_task(messy_items, None, tmp_path, unfinished=tmp_path / name, encoder="classic", batch_size=4)

    whole = finished(task("whole"), tmp_path / "one")
    for number in (3, 1):
        encoding = encode_shard(task("shards"), Shard(number, 3))
    assert encoding.missing(Shard(1, 3)) == [Shard(2, 3)]
    assert finished(task("shards"), tmp_path / "three", Shard(2, 3)) == whole
    assert encoding.missing(Shard(1, 3)) == []


def test_what_is_equal_is_encoded_once(
    messy_items: pa.Table, encode_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    text_vectors = ClassicEncoder.text_vectors

    def counting(self: ClassicEncoder, texts: list[str]) -> NDArray[np.float32]:
        seen.extend(texts)
        return text_vectors(self, texts)

    monkeypatch.setattr(ClassicEncoder, "text_vectors", counting)
    task = encode_task(messy_items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic")
    finished(task, tmp_path / "out")
    assert len(seen) == len(set(seen)) == 57
    text, image = (np.load(tmp_path / f"out/{name}.npy") for name in ("text", "image"))
    assert np.array_equal(text[2], text[30])
    assert np.array_equal(text[2], text[31])
    assert np.array_equal(image[3], image[50])
    assert image[50].any()


def test_other_work_is_not_continued(
    typed_items: pa.Table, item_table: Table, encode_task: MakeTask, tmp_path: Path
) -> None:
    def task(items: pa.Table, inputs: dict[str, str]) -> EncodeTask:
        made = encode_task(items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic")
        return EncodeTask(**{**vars(made), "inputs": inputs})

    first = finished(task(typed_items, {"items.parquet": "a"}), tmp_path / "first")
    paths = typed_items["image_path"].to_pylist()
    changed = item_table([f"other {text}" for text in typed_items["title"].to_pylist()], paths)
    second = finished(task(changed, {"items.parquet": "b"}), tmp_path / "second")
    assert first["text.npy"] != second["text.npy"]
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_part_is_finished_when_its_vectors_are_there(tmp_path: Path) -> None:
    part = parts.PartFile("image", range(14, 16), tmp_path / "image-000001.npy")
    assert parts.unfinished([part]) == [part]
    part.write(np.ones((2, 3), np.float16), {1: "broken"})
    assert parts.unfinished([part]) == []
    assert part.vectors().tolist() == [[1, 1, 1]] * 2
    assert part.failures() == {15: "broken"}


def test_a_shard_repeats_nothing_that_another_count_of_shards_finished(
    messy_items: pa.Table, encode_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = encode_task(messy_items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic")
    for number in (1, 2):
        encode_shard(task, Shard(number, 2))
    monkeypatch.setattr(ClassicEncoder, "text_vectors", None)
    monkeypatch.setattr(ClassicEncoder, "image_vectors", None)
    assert encode_shard(task, Shard(3, 3)).missing(Shard(3, 3)) == []


def test_failures_of_equal_images_are_told_of_every_item(
    item_table: Table, encode_task: MakeTask, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for name in "abc":
        (tmp_path / f"images/{name}.jpg").write_bytes(b"nothing")
    items = item_table(["lamp"] * 4, ["images/a.jpg", "images/b.jpg", None, "images/c.jpg"])
    task = encode_task(items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic")
    lines = finished(task, tmp_path / "out")["failures.jsonl"].splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]


def test_images_of_a_block_that_all_fail(item_table: Table, encode_task: MakeTask, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(5):
        (tmp_path / f"images/{number}.jpg").write_bytes(b"nothing %d" % number)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "images/5.jpg")
    items = item_table(["lamp"] * 6, [f"images/{number}.jpg" for number in range(6)])
    task = encode_task(items, None, tmp_path, unfinished=tmp_path / "work", encoder="classic", batch_size=2)
    out = finished(task, tmp_path / "out")
    assert len(out["failures.jsonl"].splitlines()) == 5
