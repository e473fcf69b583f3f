"""What a training learned and chose, and its files in `model/`, from which the next night's training starts.

`learned.json` says what it was made with, and holds the choices. `learned.safetensors` holds the rankers, the estimate
of reliabilities, the student, the item ids in the order of the network's item vectors, and sketches of what was there.
The network itself lies beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mmsc_cli.arrays.id_hashes import hash_ids
from mmsc_cli.index.index_file import Index
from mmsc_cli.model.features import Attributes
from mmsc_cli.model.mmsc import Mmsc
from mmsc_cli.runtime.atomic import write_json
from mmsc_cli.runtime.os_errors import writing
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.train.inputs import Inputs, Plan
from mmsc_cli.train.network import Weights, shape_of
from mmsc_cli.train.ranking.ranker import Ranker
from mmsc_cli.train.reliability import PAIR_FEATURES, Reliability
from mmsc_cli.train.settings import TrainSettings
from mmsc_cli.train.student.student import Student, teaching_labels
from mmsc_cli.train.yesterday.drift import Since, too_far
from mmsc_cli.version import __version__
from mmsc_cli.workspace.changes import config_changes

# To be raised when the meaning of what is kept changes, features of the rankers included.
FORMAT = 1
# What may be there or not, in words.
_TEACHERS = {"labels": "labels or judgements to learn from", "proposals": "proposals"}
_TENSORS, _ABOUT = "learned.safetensors", "learned.json"


@dataclass(frozen=True)
class Learned:
    """What every index of a training is made with.

    Attributes:
        weights: of the network.
        rankers: by relation; none where a relation has too few examples.
        affinity_weights: of category affinity, by relation.
        student: None where behaviour taught none.
        denoiser: estimates reliabilities; None where denoising is left out.
        about: what `index.json` says of every index: weights and probabilities.
        counts: what was measured meanwhile, for the manifest.
    """

    weights: Weights
    rankers: Mapping[Relation, Ranker]
    affinity_weights: Mapping[Relation, float]
    student: Student | None
    denoiser: Reliability | None
    about: Mapping[str, Any]
    counts: Mapping[str, Any]


def made_with(inputs: Inputs, settings: TrainSettings, plan: Plan) -> dict[str, Any]:
    """What must be the same for a training to start from another one's end, as JSON values."""
    return {
        "format": FORMAT,
        "mmsc": __version__,
        "settings": {"seed": plan.seed, "without": sorted(plan.without), "train": settings.model_dump()},
        "encoder": dict(inputs.encoder),
        "labels": teaching_labels(inputs.labels) is not None,
        "proposals": inputs.proposed is not None,
    }


def write_learned(folder: Path, learned: Learned, since: Since, inputs: Inputs, made: Mapping[str, Any]) -> None:
    """Write what the next training starts from, beside the network's files.

    Args:
        folder: of the model.
        learned: what was learned and chosen.
        since: what was there when it was.
        inputs: what is there now.
        made: what it was made with.
    """
    student, denoiser = learned.student, learned.denoiser
    tensors = {f"since.{name}": tensor for name, tensor in since.tensors().items()}
    tensors |= {"ids": _ids(inputs), "trained": learned.weights.trained}
    for relation, ranker in learned.rankers.items():
        tensors |= _state(ranker, f"ranker.{relation}.")
    tensors |= {} if denoiser is None else _state(denoiser, "denoiser.")
    tensors |= {} if student is None else {f"student.{name}": tensor for name, tensor in student.tensors().items()}
    with writing(folder / _TENSORS) as path:
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)
    about = {
        "made_with": dict(made),
        "affinity_weights": dict(learned.affinity_weights),
        "about": dict(learned.about),
        "counts": dict(learned.counts),
        "student": student and student.about,
    }
    write_json(folder / _ABOUT, about)


@dataclass(frozen=True)
class Earlier:
    """What an earlier training left in `model/`."""

    tensors: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]
    attributes: Attributes
    network: Mapping[str, torch.Tensor]
    history: list[dict[str, float]]
    since: Since

    @classmethod
    def open(cls, folder: Path) -> Earlier | None:
        """Read it; None where an earlier version of mmsc trained, or it cannot be what mmsc wrote."""
        try:
            found = json.loads((folder / _ABOUT).read_bytes())
            about = {name: found[name] for name in ("made_with", "affinity_weights", "about", "counts", "student")}
            tensors = load_file(folder / _TENSORS)
            described = json.loads((folder / "model.json").read_bytes())
            network = {name: torch.from_numpy(value) for name, value in load_file(folder / "model.safetensors").items()}
            history = [json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
            attributes = Attributes(**described["attributes"])
            return cls(tensors, about, attributes, network, history, Since.of_tensors(_under(tensors, "since.")))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
            return None

    def why_not(self, inputs: Inputs, made: Mapping[str, Any]) -> str | None:
        """Say why a training of these inputs cannot start from it; None where it can."""
        before = self.about["made_with"]
        for name in ("format", "mmsc"):
            if before[name] != made[name]:
                return "another version of mmsc trained the last time"
        if changed := config_changes(before["settings"], made["settings"]):
            return changed
        if before["encoder"] != made["encoder"]:
            return "the encoder is another one"
        for name, what in _TEACHERS.items():
            if before[name] != made[name]:
                return f"there are {'' if made[name] else 'no '}{what} {'now' if made[name] else 'any more'}"
        return too_far(self.since.drift(inputs))

    def learned(self, inputs: Inputs, device: torch.device) -> Learned:
        """What was learned, for the items that are there now; the network on a device."""
        rankers: dict[Relation, Ranker] = {}
        for relation in RELATIONS:
            if state := _under(self.tensors, f"ranker.{relation}."):
                rankers[relation] = Ranker(len(state["mean"]))
                _load(rankers[relation], state)
        denoiser = None
        if state := _under(self.tensors, "denoiser."):
            denoiser = Reliability(torch.zeros(1, PAIR_FEATURES))
            _load(denoiser, state)
        taught = _under(self.tensors, "student.")
        return Learned(
            weights=self._weights(inputs, device),
            rankers=rankers,
            affinity_weights=self.about["affinity_weights"],
            student=Student.of_tensors(taught, self.about["student"]) if taught else None,
            denoiser=denoiser,
            about=self.about["about"],
            counts=self.about["counts"],
        )

    def _weights(self, inputs: Inputs, device: torch.device) -> Weights:
        """The network's weights, with the vectors of items, categories and brands in today's order; new ones are 0."""
        made = self.about["made_with"]["settings"]
        rows = _places(self.tensors["ids"], _ids(inputs))
        trained: NDArray[np.bool_] = np.append(self.tensors["trained"], False)[rows]
        # Row 0 is that of no category and no brand.
        categories, brands = (
            np.append(0, 1 + _places(_hashes(before), _hashes(now)))
            for before, now in (
                (self.attributes.categories, inputs.attributes.categories),
                (self.attributes.brands, inputs.attributes.brands),
            )
        )
        places = {
            "behaviour.item.weight": rows,
            "semantic.category.weight": categories,
            "semantic.brand.weight": brands,
        }
        shape = shape_of(inputs, made["train"]["dim"])
        model = Mmsc(shape, made["without"])
        model.load_state_dict(
            {name: _taken(value, places[name]) if name in places else value for name, value in self.network.items()}
        )
        # The own vector of an item that is held out now must not tell what it learned.
        trained = trained & inputs.training().has_behaviour
        return Weights(model.to(device), shape, trained, self.history)


def item_places(last: Index, inputs: Inputs) -> NDArray[np.int64]:
    """The row in an earlier index of each item, (n_items,), -1 for a new one."""
    places = _places(_hashes(list(last.ids)), _ids(inputs))
    return np.where(places < len(last), places, -1)


def _ids(inputs: Inputs) -> NDArray[np.uint64]:
    return _hashes(inputs.items["item_id"].to_pylist())


def _hashes(names: Sequence[str]) -> NDArray[np.uint64]:
    return hash_ids(names, "rows")


def _places(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The place of each wanted hash among known ones, `len(known)` where it is not among them."""
    order = np.argsort(known, kind="stable")
    found = np.searchsorted(known[order], wanted)
    place = np.append(order, len(known))[found]
    return np.where(np.append(known, np.uint64(0))[place] == wanted, place, len(known))


def _taken(table: torch.Tensor, places: NDArray[np.int64]) -> torch.Tensor:
    """Rows of a table, zero for the place after the last."""
    return torch.cat([table, torch.zeros(1, table.shape[1])])[torch.from_numpy(places)]


def _state(module: torch.nn.Module, prefix: str) -> dict[str, NDArray[Any]]:
    return {prefix + name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}


def _load(module: torch.nn.Module, state: Mapping[str, NDArray[Any]]) -> None:
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    module.eval()


def _under(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
