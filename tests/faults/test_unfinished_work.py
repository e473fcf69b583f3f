"""What outlives an interrupted run is checked before it is continued."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.label.llm.opinion import Opinion
from mmsc_cli.train.loop.checkpoint import Checkpoints


def _flipped(content: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(content)
    flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("name", ["step-000000001.safetensors", "checkpoint.json"])
def test_a_checkpoint_with_a_flipped_bit_is_not_trained_on(tmp_path: Path, name: str) -> None:
    saved = {"weights": torch.arange(64.0)}
    Checkpoints(tmp_path, {"seed": 1}).save(1, saved, {"epoch": 3, "loss": 0.123456})
    path, chance = tmp_path / name, random.Random(name)
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):
        path.write_bytes(_flipped(whole, chance))
        found = Checkpoints(tmp_path, {"seed": 1}).load()
        refused += found is None
        assert found is None or (torch.equal(found[0]["weights"], saved["weights"]) and found[1]["epoch"] == 3)
    assert refused > 30
    path.write_bytes(whole)
    assert Checkpoints(tmp_path, {"seed": 1}).load() is not None


def test_answers_with_a_flipped_bit_are_not_believed(tmp_path: Path) -> None:
    opinions = {f"key {number}": Opinion(0.25, 0.5, 0.25, "a_to_b", 0.9, 0.8 + number / 1000) for number in range(20)}
    cache = AnswerCache(tmp_path, "judge", "1")
    cache.add([(key, "A", "B", opinion) for key, opinion in opinions.items()])
    (shard,) = tmp_path.glob("answers-*.parquet")
    whole, chance = shard.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(200):
        shard.write_bytes(_flipped(whole, chance))
        try:
            again = AnswerCache(tmp_path, "judge", "1")
        except WorkspaceError as error:
            refused += str(shard) in error.message and "delete it" in str(error.hint)
        else:
            assert all(again.get(key) == opinion for key, opinion in opinions.items())
    assert refused > 50
