"""What outlives an interrupted run is checked before it is continued."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from mmsc_cli.errors import WorkspaceError
from mmsc_cli.label.llm.cache import AnswerCache
from mmsc_cli.runtime.checkpoint import CHECKPOINT, Checkpoints


def _flipped(content: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(content)
    flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def test_a_checkpoint_with_a_flipped_bit_is_not_trained_on(tmp_path: Path) -> None:
    weights = torch.arange(64.0)
    Checkpoints(tmp_path, {"seed": 1}).save({"weights": weights, "epoch": 3, "loss": 0.123456})
    path, chance = tmp_path / CHECKPOINT, random.Random(1)
    whole = path.read_bytes()
    refused = 0
    for _ in range(120):
        path.write_bytes(_flipped(whole, chance))
        state = Checkpoints(tmp_path, {"seed": 1}).load()
        refused += state is None
        assert state is None or (
            torch.equal(state["weights"], weights) and (state["epoch"], state["loss"]) == (3, 0.123456)
        )
    assert refused > 60
    path.write_bytes(whole)
    assert Checkpoints(tmp_path, {"seed": 1}).load() is not None


def test_answers_with_a_flipped_bit_are_not_believed(tmp_path: Path) -> None:
    answers = {f"key {n}": [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], 0.8 + n / 1000] for n in range(20)}
    cache = AnswerCache(tmp_path, "judge")
    cache.add("1", [(key, ("A", "B"), answer) for key, answer in answers.items()])
    (shard,) = tmp_path.glob("answers-*.parquet")
    whole, chance = shard.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(200):
        shard.write_bytes(_flipped(whole, chance))
        try:
            again = AnswerCache(tmp_path, "judge")
        except WorkspaceError as error:
            refused += str(shard) in error.message and "delete it" in str(error.hint)
        else:
            assert all(again.get(key) == answer for key, answer in answers.items())
    assert refused > 50
