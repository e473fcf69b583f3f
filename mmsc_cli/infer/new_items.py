"""Answers for items the model has never seen. This is the one part of `infer` that loads torch and the encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file

from mmsc_cli.encode.encoder import Encoder, open_encoder
from mmsc_cli.encode.images import open_image
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.image_file import UnusableImageError
from mmsc_cli.index import Index
from mmsc_cli.infer.answers import Answer, Asked, asked_relations, rank_scores
from mmsc_cli.infer.lines import place
from mmsc_cli.infer.transfer import TransferBranch
from mmsc_cli.items import full_text
from mmsc_cli.model.behaviour import Lendable
from mmsc_cli.model.features import Attributes, Embeddings, ItemFeatures
from mmsc_cli.model.graph import neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.pairs import read_pairs
from mmsc_cli.relations import RELATIONS
from mmsc_cli.workspace import Workspace

if TYPE_CHECKING:
    from mmsc_cli.recipe.settings import Part


class NewItem(BaseModel):
    """An item that is not in the catalogue; every field is optional, but one of them must say something."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    title: str = ""
    description: str = ""
    brand: str = ""
    category: list[str] = Field(default_factory=list)
    price: float | None = Field(default=None, gt=0)
    image_path: str | None = None


def parse_new_item(source: str, number: int, line: str) -> NewItem:
    """A new item from a JSON line.

    Raises:
        InputError: it is no JSON object, has unknown or wrong fields, or says nothing.
    """
    where = place(source, number)
    try:
        item = NewItem.model_validate_json(line)
    except ValidationError as error:
        wrong = [": ".join([*map(str, found["loc"]), found["msg"]]) for found in error.errors()]
        known = ", ".join(NewItem.model_fields)
        raise InputError(f"{where}: {'; '.join(wrong)}", hint=f"one JSON object a line, with any of {known}") from error
    if not (item.title or item.description or item.brand or item.category or item.image_path):
        raise InputError(f"{where}: the item says nothing", hint="give at least a title")
    return item


class NewItemAnswers:
    """The encoder, the model and the index of a workspace, ready for new items."""

    def __init__(
        self,
        index: Index,
        encoder: Encoder,
        model: Mmsc,
        attributes: Attributes,
        lendable: Lendable,
        catalogue: torch.Tensor,
        neighbours: int,
        transfer: TransferBranch,
        without: tuple[Part, ...],
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._model = model
        self._attributes = attributes
        self._lendable = lendable
        self._catalogue = catalogue
        self._neighbours = neighbours
        self._transfer = transfer
        self._without = without
        known = np.diff(index.known.indptr) > 0
        self._has_behaviour = torch.from_numpy(known)

    @classmethod
    def open(cls, workspace: Workspace, device: Callable[[], torch.device]) -> NewItemAnswers:
        """Open a trained workspace; `device` is asked if the encoder needs one.

        Raises:
            WorkspaceError: a stage is missing or its artefacts are damaged.
        """
        # What judges a model needs the same as what extends it: an index made from the embeddings that lie here now.
        workspace.inputs_of("evaluate")
        index = Index.open(workspace.path("index"))
        folder = workspace.path("model")
        try:
            about = json.loads((folder / "model.json").read_bytes())
            without = tuple(about["without"])
            model = Mmsc(Shape(**about["shape"]), without)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            lendable = Lendable(**load_file(folder / "lendable.safetensors"))
            attributes = Attributes(**about["attributes"])
            neighbours = about["settings"]["neighbours"]
            weight = {relation: index.about["transfer_weight"][relation] for relation in RELATIONS}
            keep = about["settings"]["linear_top"]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise WorkspaceError(f"{folder} is missing or damaged: {error}", hint="run `mmsc train` again") from error
        transfer = TransferBranch.of(read_pairs(workspace.path("pairs.parquet")), len(index), weight, keep)
        embeddings = Embeddings.open(workspace.path("embeddings"))
        encoder = open_encoder(workspace.path("embeddings"), device=device)
        present = torch.from_numpy(np.array(embeddings.mask))
        text, image = (torch.from_numpy(np.asarray(side, np.float32)) for side in (embeddings.text, embeddings.image))
        catalogue = semantic_vectors(text, image, present)
        return cls(index, encoder, model.eval(), attributes, lendable, catalogue, neighbours, transfer, without)

    @torch.no_grad()
    def answer(self, item: NewItem, name: str, asked: Asked, k: int) -> Iterator[Answer]:
        """The `k` best items of the catalogue for a new item, per relation.

        Raises:
            InputError: its image cannot be used.
        """
        features = self._features(item)
        vectors = semantic_vectors(features.text, features.image, features.present)
        found, similarity = nearest_items(vectors, self._catalogue, self._has_behaviour, self._neighbours)
        similar = neighbour_graph(found, similarity, len(self._catalogue))
        answers = self._model.new_items(features, similar, self._lendable)
        for relation in asked_relations(asked):
            query = answers[relation][0].numpy()[0]
            # Keys may have one more column, which orders ranked answers of known items (`train/rerank/stage.py`).
            scores = np.asarray(self._index.vectors(relation).key[:, : len(query)] @ query, dtype=np.float32)
            scores += self._transfer.scores(relation, similar.as_sparse())
            yield from rank_scores(self._index, item.id or name, relation, scores, k)

    def _features(self, item: NewItem) -> ItemFeatures:
        table = pa.table(
            {
                "title": [item.title],
                "description": [item.description],
                "brand": [item.brand],
                "category": pa.array([item.category], pa.list_(pa.string())),
                "price": [float("nan") if item.price is None else item.price],
            }
        )
        text = self._encoder.encode_texts(full_text(table))
        image = np.zeros((1, self._encoder.image_dim), np.float32)
        if item.image_path is not None:
            try:
                image = self._encoder.encode_images([open_image(Path(item.image_path))])
            except UnusableImageError as error:
                raise InputError(
                    f"{item.image_path}: {error}", hint="leave image_path out, or give another image"
                ) from error
        present = np.array([[text.any(), image.any()]])
        return self._attributes.features(table, text, image, present, self._without)
