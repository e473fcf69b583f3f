"""Training until the validation loss stops falling, in epochs after each of which it can be stopped and continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.progress import Progress

_OPTIMISER_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: an epoch is so many steps, whatever the catalogue's size."""

    steps: int
    max_epochs: int
    patience: int
    learning_rate: float
    weight_decay: float = 1e-2


def train_early_stopping(
    parameters: Mapping[str, Tensor],
    epoch_losses: Callable[[int], Callable[[int], Tensor]],
    valid_loss: Callable[[], float],
    schedule: Schedule,
    *,
    checkpoint: Path | None,
    progress: Progress,
) -> tuple[list[float], int]:
    """Train with AdamW, and leave the parameters as they were after the best epoch.

    Args:
        parameters: what is trained, by name.
        epoch_losses: of an epoch, from 1, what gives the loss of its step, from 0; depends on them and the parameters
            alone, so that a training which goes on in the middle ends as one that was never stopped.
        valid_loss: the validation loss now.
        schedule: how long, how fast.
        checkpoint: where the state is kept after each epoch, and continued from; None: nowhere.
        progress: who watches.

    Returns:
        The validation losses, first that before any training, and the number of the best epoch, 0 for that.
    """
    optimiser = torch.optim.AdamW(
        list(parameters.values()), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    state = _State(parameters, optimiser, checkpoint)
    if not state.restore():
        state.losses.append(valid_loss())
        state.keep()
    with progress.task("adapting", total=schedule.max_epochs * schedule.steps) as task:
        task.advance((len(state.losses) - 1) * schedule.steps)
        while len(state.losses) <= schedule.max_epochs and len(state.losses) - 1 - state.best < schedule.patience:
            losses = epoch_losses(len(state.losses))
            for step in range(schedule.steps):
                optimiser.zero_grad()
                loss = losses(step)
                if loss.requires_grad:
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                task.advance()
            state.losses.append(valid_loss())
            task.show(epoch=len(state.losses) - 1, valid_loss=state.losses[-1])
            if state.losses[-1] < state.losses[state.best]:
                state.keep()
            state.save()
    with torch.no_grad():
        for name, tensor in parameters.items():
            tensor.copy_(state.kept[name])
    return state.losses, state.best


class _State:
    """The losses so far, and the parameters after the best epoch."""

    def __init__(
        self, parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, checkpoint: Path | None
    ) -> None:
        self.losses: list[float] = []
        self.best = 0
        self.kept: dict[str, Tensor] = {}
        self._parameters = parameters
        self._optimiser = optimiser
        self._checkpoint = checkpoint

    def keep(self) -> None:
        """The latest epoch is the best one."""
        self.best = len(self.losses) - 1
        self.kept = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}

    def save(self) -> None:
        """Write everything that the next epoch depends on."""
        if self._checkpoint is None:
            return
        tensors = {f"kept.{name}": tensor for name, tensor in self.kept.items()}
        for name, tensor in self._parameters.items():
            tensors[f"now.{name}"] = tensor.detach()
            for key, value in self._optimiser.state[tensor].items():
                tensors[f"{key}.{name}"] = value
        whole = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
        with atomic_write(self._checkpoint) as file:
            file.write(save(whole, {"losses": json.dumps(self.losses), "best": str(self.best)}))

    @torch.no_grad()
    def restore(self) -> bool:
        """Read what `save` wrote; a file that is damaged is as good as none."""
        if self._checkpoint is None or not self._checkpoint.exists():
            return False
        try:
            with safe_open(self._checkpoint, "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            for name, tensor in self._parameters.items():
                tensor.copy_(tensors[f"now.{name}"])
                self.kept[name] = tensors[f"kept.{name}"].to(tensor.device)
                state = {key: tensors[f"{key}.{name}"] for key in _OPTIMISER_STATE if f"{key}.{name}" in tensors}
                if state:
                    self._optimiser.state[tensor] = {
                        key: value if key == "step" else value.to(tensor.device) for key, value in state.items()
                    }
        except (SafetensorError, KeyError, RuntimeError):
            return False
        self.losses, self.best = json.loads(about["losses"]), int(about["best"])
        return True
