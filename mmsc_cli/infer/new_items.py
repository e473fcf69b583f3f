"""Answers for items the model has never seen. This is the one part of `infer` that loads torch and the encoder.

Images of new items: files of one's own, and addresses, fetched as carefully as those of a catalogue.

The linear branch for new items: kNN-transfer, as `train` gives it to items without behaviour."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy import sparse

from mmsc_cli.arrays.sparse_rows import greatest
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.files.images import UnusableImageError, open_image
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import Additions, Block
from mmsc_cli.index.storage import PATH_SEPARATOR
from mmsc_cli.infer.explain import Subject
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.model.behaviour import Lendable
from mmsc_cli.model.features import Attributes, ItemFeatures
from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import full_text
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from PIL import Image

    from mmsc_cli.model.parts import Part


def read_images(items: Sequence[NewItem], settings: DownloadSettings) -> list[Image.Image | UnusableImageError | None]:
    """Per item its image, why it cannot be used, or None where it names none."""
    urls = [item.image_url for item in items if item.image_url and not item.image_path]
    with tempfile.TemporaryDirectory(prefix="mmsc-") as folder:
        files, reasons = _fetch(urls, Path(folder), settings) if urls else ({}, {})
        images: list[Image.Image | UnusableImageError | None] = []
        for item in items:
            path = Path(item.image_path) if item.image_path else files.get(item.image_url or "")
            try:
                if path is not None:
                    images.append(open_image(path))
                elif item.image_url:
                    raise UnusableImageError(reasons[item.image_url])
                else:
                    images.append(None)
            except UnusableImageError as error:
                images.append(UnusableImageError(f"{item.image_path or redact(str(item.image_url))}: {error}"))
    return images


def _fetch(urls: Sequence[str], folder: Path, settings: DownloadSettings) -> tuple[dict[str, Path], dict[str, str]]:
    from mmsc_cli.files.image_download import download_images

    return download_images(urls, folder, settings)


@dataclass(frozen=True)
class TransferBranch:
    """Training pairs per relation as symmetric (items, items) strengths, and how the branch is mixed in.

    Attributes:
        adjacency: per relation.
        weight: per relation, as chosen on validation for cold items.
        keep: entries kept, the greatest.
    """

    adjacency: dict[Relation, sparse.csr_array[Any]]
    weight: dict[Relation, float]
    keep: int

    @classmethod
    def of(cls, pairs: Pairs, items: int, weight: dict[Relation, float], keep: int) -> TransferBranch:
        """From the pair table of a catalogue of so many items."""
        training = pairs.of("train")
        adjacency = {relation: training.adjacency(relation, items) for relation in RELATIONS}
        return cls(adjacency, weight, keep)

    def rows(self, relation: Relation, similar: sparse.csr_array[Any]) -> sparse.csr_array[Any]:
        """What the branch adds to the scores of new items, (new, items) sparse.

        Args:
            relation: which relation.
            similar: (new, items) similarities to items with behaviour, rows summing to one, or to zero without any.
        """
        rows = greatest(transfer_rows(similar, self.adjacency[relation]), self.keep)
        rows.data *= np.float32(self.weight[relation])
        return rows


_LOG = logging.getLogger("mmsc_cli")
# Encoded together, where so many lines are there to be read.
BATCH = 64


@dataclass(frozen=True)
class Newcomers:
    """Some new items, ready to be ranked and explained; `subjects` has one entry per query of `block`."""

    block: Block
    subjects: list[Subject]


class NewItemEncoder:
    """The encoder and the model of a workspace, which turn new items into what ranks the catalogue for them."""

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
        images: DownloadSettings,
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
        self._images = images
        known = np.diff(index.known.indptr) > 0
        self._has_behaviour = torch.from_numpy(known)

    @classmethod
    def open(
        cls, workspace: Workspace, index: Index, device: Callable[[], torch.device], images: DownloadSettings
    ) -> NewItemEncoder:
        """Open a trained workspace.

        Args:
            workspace: with all that training left.
            index: the workspace's.
            device: asked if the encoder needs one.
            images: limits of fetching images by address.

        Raises:
            WorkspaceError: a stage is missing or its artefacts are damaged, or of another model than the index.
        """
        # What judges a model needs the same as what extends it: an index made from the embeddings that lie here now.
        workspace.inputs_of("evaluate")
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
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise WorkspaceError(f"{folder} is missing or damaged: {error}", hint="run `mmsc train` again") from error
        transfer = TransferBranch.of(Pairs.read(workspace.path("pairs.parquet")), len(index), weight, keep)
        embeddings = Embeddings.open(workspace.path("embeddings"))
        encoder = open_encoder(workspace.path("embeddings"), device=device)
        present = torch.from_numpy(np.array(embeddings.mask))
        text, image = (torch.from_numpy(np.asarray(side, np.float32)) for side in (embeddings.text, embeddings.image))
        catalogue = semantic_vectors(text, image, present)
        return cls(index, encoder, model.eval(), attributes, lendable, catalogue, neighbours, transfer, without, images)

    @torch.no_grad()
    def encode(
        self, items: Sequence[NewItem], names: Sequence[str], relations: Sequence[Relation]
    ) -> tuple[Newcomers, dict[int, InputError]]:
        """What ranks the catalogue for new items.

        Args:
            items: at most BATCH of them.
            names: what answers call each.
            relations: those to answer in.

        Returns:
            The items in their order, and by their place in it those that nothing can be said of, which the first leaves
            out. An image that cannot be used is passed over, with a warning, where the item says more.
        """
        images, failed = self._read_images(items, names)
        kept = [place for place in range(len(items)) if place not in failed]
        if not kept:
            return Newcomers(Block([], {}, {}), []), failed
        items, names = [items[place] for place in kept], [names[place] for place in kept]
        features = self._features(items, [images[place] for place in kept])
        content = semantic_vectors(features.text, features.image, features.present)
        found, nearness = nearest_items(content, self._catalogue, self._has_behaviour, self._neighbours)
        similar = neighbour_graph(found, nearness, len(self._catalogue))
        vectors = self._model.new_items(features, similar, self._lendable)
        gates = self._model.gates(features, torch.zeros(len(items), len(RELATIONS))).numpy()
        queries = [self._query(items[row], names[row], features, row) for row in range(len(items))]
        block = Block(
            queries,
            {relation: self._padded(relation, vectors[relation][0].numpy()) for relation in relations},
            {relation: self._additions(relation, similar) for relation in relations},
        )
        return Newcomers(block, self._subjects(features, similar, gates)), failed

    def _padded(self, relation: Relation, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Query vectors (items, dim) as wide as the keys, which may have a column that only ranked items ask for.

        See `mmsc_cli.train.rerank.second_stage.compose`.
        """
        return np.pad(query, ((0, 0), (0, self._index.vectors(relation).key.shape[1] - query.shape[1])))

    def _additions(self, relation: Relation, similar: Graph) -> list[Additions]:
        """What the linear branch adds to the scores of each new item."""
        rows = self._transfer.rows(relation, similar.as_sparse())
        ends = zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)
        return [(rows.indices[start:stop], rows.data[start:stop]) for start, stop in ends]

    def _query(self, item: NewItem, name: str, features: ItemFeatures, row: int) -> Query:
        path = PATH_SEPARATOR.join(item.category)
        place = self._index.categories.place(path)
        known = path and place < len(self._index.categories) and self._index.categories[place] == path
        has_category = features.category_bag(row).any()
        used = {
            "text": bool(features.present[row, 0]),
            "image": bool(features.present[row, 1]),
            "category": bool(has_category),
            "brand": bool(features.brand[row] > 0),
            "price": bool(features.price[row, 1] > 0),
        }
        return Query(
            name,
            None,
            place if known else -1,
            float("nan") if item.price is None else item.price,
            "+".join(modality for modality, was_used in used.items() if was_used),
        )

    def _subjects(self, features: ItemFeatures, similar: Graph, gates: NDArray[np.float32]) -> list[Subject]:
        rows = similar.as_sparse()
        rows.sort_indices()
        subjects = []
        for row in range(len(features)):
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            sides = zip((features.text, features.image), features.present[row].tolist(), strict=True)
            text, image = (side[row].numpy() if present else None for side, present in sides)
            subjects.append(Subject(None, rows.indices[entries], rows.data[entries], (text, image), gates[row]))
        return subjects

    def _read_images(
        self, items: Sequence[NewItem], names: Sequence[str]
    ) -> tuple[list[NDArray[np.float32]], dict[int, InputError]]:
        """Image vectors, zero where there is no usable image; and the items that have nothing else, by place."""
        vectors, failed = [], {}
        for place, image in enumerate(read_images(items, self._images)):
            vector = np.zeros(self._encoder.image_dim, np.float32)
            if isinstance(image, UnusableImageError):
                if items[place].says_something():
                    _LOG.warning("%s: answered without its image: %s", names[place], image)
                else:
                    failed[place] = InputError(str(image), hint="give another image, or at least a title")
            elif image is not None:
                vector = self._encoder.encode_images([image])[0]
            vectors.append(vector)
        return vectors, failed

    def _features(self, items: Sequence[NewItem], images: Sequence[NDArray[np.float32]]) -> ItemFeatures:
        table = pa.table(
            {
                "title": pa.array([item.title for item in items], pa.string()),
                "description": pa.array([item.description for item in items], pa.string()),
                "brand": pa.array([item.brand for item in items], pa.string()),
                "category": pa.array([item.category for item in items], pa.list_(pa.string())),
                "price": np.array([float("nan") if item.price is None else item.price for item in items], np.float64),
            }
        )
        texts = full_text(table)
        # As in the catalogue, an encoder is not asked what it makes of an empty text.
        said = np.array([bool(text.strip()) for text in texts])
        text = np.zeros((len(items), self._encoder.text_dim), np.float32)
        if said.any():
            text[said] = self._encoder.encode_texts([words for words in texts if words.strip()])
        image = np.stack(images)
        present = np.stack([text.any(axis=1), image.any(axis=1)], axis=1)
        return self._attributes.features(table, text, image, present, self._without)
