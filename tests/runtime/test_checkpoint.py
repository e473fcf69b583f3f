from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.checkpoint import CHECKPOINT, Checkpoints


def _training(seed: int) -> tuple[torch.nn.Linear, torch.optim.Optimizer, Any]:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    return model, optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=9)


def _step(model: torch.nn.Linear, optimiser: torch.optim.Optimizer, schedule: Any) -> None:
    optimiser.zero_grad()
    model(torch.rand(4, 3)).square().sum().backward()
    optimiser.step()
    schedule.step()


def test_a_resumed_training_goes_through_the_same_states(tmp_path: Path) -> None:
    first = _training(1)
    _step(*first)
    states = {name: part.state_dict() for name, part in zip("mos", first, strict=True)}
    Checkpoints(tmp_path / "training", {"seed": 1}).save(states | {"random": torch.get_rng_state(), "loss": 0.1})
    _step(*first)

    again = _training(2)
    state = Checkpoints(tmp_path / "training", {"seed": 1}).load()
    assert state is not None
    for name, part in zip("mos", again, strict=True):
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    assert state["loss"] == 0.1
    _step(*again)
    assert torch.equal(again[0].weight, first[0].weight)
    assert again[2].state_dict() == first[2].state_dict()


def test_the_latest_checkpoint_counts_until_it_is_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "training", {})
    assert checkpoints.load() is None
    for epoch in range(3):
        checkpoints.save({"epoch": epoch, "weights": {7: torch.full((2,), epoch)}})
    state = checkpoints.load()
    assert state is not None
    assert (state["epoch"], state["weights"][7].tolist()) == (2, [2, 2])
    assert [path.name for path in (tmp_path / "training").iterdir()] == [CHECKPOINT]
    checkpoints.remove()
    assert not (tmp_path / "training").exists()


def test_a_checkpoint_of_another_run_is_not_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Checkpoints(tmp_path, {"seed": 1, "inputs": {"pairs": "x"}}).save({"epoch": 1})
    other = {"seed": 2, "inputs": {"pairs": "y"}}
    assert Checkpoints(tmp_path, other).load() is None
    assert "another inputs.pairs, seed: training starts over" in caplog.text
    with pytest.raises(InputError, match=r"another inputs\.pairs, seed") as caught:
        Checkpoints(tmp_path, other, "must").load()
    assert "--no-resume" in str(caught.value.hint)
    assert Checkpoints(tmp_path, {"seed": 1, "inputs": {"pairs": "x"}}, "never").load() is None


def test_a_truncated_checkpoint_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Checkpoints(tmp_path, {}).save({"weights": torch.arange(9.0)})
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-9])
    assert Checkpoints(tmp_path, {}).load() is None
    assert "damaged" in caplog.text
