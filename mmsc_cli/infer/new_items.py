"""Turn items that the model has never seen into queries. Only this part of `infer` loads torch and the encoder.

Images are local files, or URLs that are downloaded with the same safeguards as those of a catalogue. The linear branch
of a new item is kNN-transfer, as `train` gives it to items without behaviour."""

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
from mmsc_cli.files.web.image_download import download_images
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import Additions, QueryBlock
from mmsc_cli.index.storage import PATH_SEPARATOR
from mmsc_cli.infer.explain import Subject
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.linear.transfer import transfer_rows
from mmsc_cli.model.behaviour import Lendable
from mmsc_cli.model.features import Attributes, ItemFeatures, side_masks
from mmsc_cli.model.graph import Graph, neighbour_graph
from mmsc_cli.model.mmsc import Mmsc, Shape
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import full_text
from mmsc_cli.tables.relations import RELATIONS, Relation
from mmsc_cli.workspace.stages import NEW_ITEMS
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from PIL import Image

    from mmsc_cli.model.parts import Part

_LOG = logging.getLogger(__name__)
# Maximum number of items that are encoded together.
BATCH = 64


def read_images(items: Sequence[NewItem], settings: DownloadSettings) -> list[Image.Image | UnusableImageError | None]:
    """Return each item's image, or the error that says why it cannot be used; None where it names no image."""
    urls = [item.image_url for item in items if item.image_url and not item.image_path]
    with tempfile.TemporaryDirectory(prefix="mmsc-") as folder:
        files, reasons = download_images(urls, Path(folder), settings) if urls else ({}, {})
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


@dataclass(frozen=True)
class Newcomers:
    """New items as queries; `subjects`, for explanations, has one entry per query of `block`."""

    block: QueryBlock
    subjects: list[Subject]


@dataclass(frozen=True)
class _Trained:
    """What training left that encodes new items.

    Attributes:
        model: the model, in evaluation mode.
        widths: of the text, image and joint vectors that it reads.
        attributes: what the model reads of prices, brands and categories.
        lendable: the behaviour that new items borrow from similar items.
        without: parts that the model was trained without.
        neighbours: number of similar items a new item borrows from.
        linear_top: entries of the linear branch that are kept per item, the largest.
        transfer_weight: weight of the linear branch, per relation, chosen on cold validation items.
        adjacency: strengths of the pairs that the index knows, symmetric (n_items, n_items), per relation.
        has_behaviour: which items have such a pair, (n_items,).
    """

    model: Mmsc
    widths: tuple[int, ...]
    attributes: Attributes
    lendable: Lendable
    without: tuple[Part, ...]
    neighbours: int
    linear_top: int
    transfer_weight: dict[Relation, float]
    adjacency: dict[Relation, sparse.csr_array[Any]]
    has_behaviour: torch.Tensor

    @classmethod
    def open(cls, workspace: Workspace, index: Index) -> _Trained:
        """Load it from a workspace.

        Raises:
            WorkspaceError: it is missing or damaged.
        """
        folder = workspace.path("model")
        try:
            described = json.loads((folder / "model.json").read_bytes())
            without = tuple(described["without"])
            shape = Shape(**described["shape"])
            model = Mmsc(shape, without)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            lendable = Lendable(**load_file(folder / "lendable.safetensors"))
            attributes = Attributes(**described["attributes"])
            neighbours, linear_top = (described["settings"][name] for name in ("neighbours", "linear_top"))
            weight = {relation: index.about["transfer_weight"][relation] for relation in RELATIONS}
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise WorkspaceError(f"{folder} is missing or damaged: {error}", hint="run `mmsc train` again") from error
        return cls(
            model=model.eval(),
            widths=shape.side_dims,
            attributes=attributes,
            lendable=lendable,
            without=without,
            neighbours=neighbours,
            linear_top=linear_top,
            transfer_weight=weight,
            adjacency={relation: index.known_pairs(relation) for relation in RELATIONS},
            has_behaviour=torch.from_numpy(index.known.lengths() > 0),
        )


class NewItemEncoder:
    """The encoder and the model of a workspace, which turn new items into queries."""

    def __init__(
        self, index: Index, encoder: Encoder, trained: _Trained, content: torch.Tensor, images: DownloadSettings
    ) -> None:
        """See `open`; `content` are the semantic vectors (n_items, dim) of the catalogue."""
        self._index = index
        self._encoder = encoder
        self._trained = trained
        self._content = content
        self._images = images

    @classmethod
    def open(
        cls, workspace: Workspace, index: Index, device: Callable[[], torch.device], images: DownloadSettings
    ) -> NewItemEncoder:
        """Open a trained workspace.

        Args:
            workspace: with all that training left.
            index: the workspace's.
            device: chooses the device, if the encoder needs one.
            images: limits for downloading images.

        Raises:
            WorkspaceError: a stage is missing or its artefacts are damaged, or of another model than the index.
        """
        workspace.check_inputs(NEW_ITEMS, "infer --new")
        trained = _Trained.open(workspace, index)
        embeddings = Embeddings.open(workspace.path("embeddings"), len(index))
        if tuple(side.shape[1] for side in embeddings.sides) != trained.widths:
            raise WorkspaceError("embeddings/ is not what the model was trained on", hint="run `mmsc train` again")
        encoder = open_encoder(workspace.path("embeddings"), device=device)
        present = torch.from_numpy(np.array(embeddings.mask))
        sides = [torch.from_numpy(np.asarray(side, np.float32)) for side in embeddings.sides]
        masks = side_masks(present, sides[-1].shape[1])
        return cls(index, encoder, trained, semantic_vectors(sides, masks), images)

    @torch.no_grad()
    def encode(
        self, items: Sequence[NewItem], names: Sequence[str], relations: Sequence[Relation]
    ) -> tuple[Newcomers, dict[int, InputError]]:
        """Turn new items into queries.

        Args:
            items: at most BATCH of them.
            names: what answers call each.
            relations: those to answer in.

        Returns:
            The items in their order, and the errors of those that cannot be answered, by position. An image that cannot
            be used is skipped with a warning if the item has anything else.
        """
        images, errors = self._read_images(items, names)
        kept = [position for position in range(len(items)) if position not in errors]
        if not kept:
            return Newcomers(QueryBlock([], {}, {}), []), errors
        items, names = [items[position] for position in kept], [names[position] for position in kept]
        features = self._features(items, [images[position] for position in kept])
        content = semantic_vectors(features.sides, features.side_masks)
        trained = self._trained
        neighbours, nearness = nearest_items(content, self._content, trained.has_behaviour, trained.neighbours)
        similar = neighbour_graph(neighbours, nearness, len(self._content))
        vectors = trained.model.new_items(features, similar, trained.lendable)
        gates = trained.model.gates(features, torch.zeros(len(items), len(RELATIONS))).numpy()
        queries = [self._query(items[row], names[row], features, row) for row in range(len(items))]
        block = QueryBlock(
            queries,
            {relation: self._padded(relation, vectors[relation][0].numpy()) for relation in relations},
            {relation: self._additions(relation, similar) for relation in relations},
        )
        return Newcomers(block, self._subjects(queries, features, similar, gates)), errors

    def _padded(self, relation: Relation, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """Query vectors (new, dim), padded with zeros to the width of the keys.

        Keys may have a column that only reranked items use; see `mmsc_cli.train.ranking.answers.compose`.
        """
        return np.pad(query, ((0, 0), (0, self._index.vectors(relation).key.shape[1] - query.shape[1])))

    def _additions(self, relation: Relation, similar: Graph) -> list[Additions]:
        """The entries that the linear branch adds to the scores of each new item."""
        trained = self._trained
        rows = greatest(transfer_rows(similar.as_sparse(), trained.adjacency[relation]), trained.linear_top)
        rows.data *= np.float32(trained.transfer_weight[relation])
        ends = zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)
        return [(rows.indices[start:stop], rows.data[start:stop]) for start, stop in ends]

    def _query(self, item: NewItem, name: str, features: ItemFeatures, row: int) -> Query:
        path = PATH_SEPARATOR.join(item.category)
        categories = self._index.categories
        number = categories.position(path)
        known = path and number < len(categories) and categories[number] == path
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
            number if known else -1,
            float("nan") if item.price is None else item.price,
            modalities="+".join(modality for modality, was_used in used.items() if was_used),
        )

    def _subjects(
        self, queries: Sequence[Query], features: ItemFeatures, similar: Graph, gates: NDArray[np.float32]
    ) -> list[Subject]:
        rows = similar.as_sparse()
        rows.sort_indices()
        subjects = []
        for row in range(len(features)):
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            sides = zip((features.text, features.image), features.present[row].tolist(), strict=True)
            text, image = (side[row].numpy() if present else None for side, present in sides)
            subjects.append(Subject(queries[row], rows.indices[entries], rows.data[entries], (text, image), gates[row]))
        return subjects

    def _read_images(
        self, items: Sequence[NewItem], names: Sequence[str]
    ) -> tuple[list[NDArray[Any] | None], dict[int, InputError]]:
        """Prepared images, None without a usable one; and the errors of items that have nothing else, by position."""
        prepared: list[NDArray[Any] | None] = []
        errors = {}
        for position, image in enumerate(read_images(items, self._images)):
            pixels = None
            if isinstance(image, UnusableImageError):
                if items[position].says_something():
                    _LOG.warning("%s: answered without its image: %s", names[position], image)
                else:
                    errors[position] = InputError(str(image), hint="give another image, or at least a title")
            elif image is not None:
                pixels = self._encoder.pixels(image)
            prepared.append(pixels)
        return prepared, errors

    def _features(self, items: Sequence[NewItem], images: Sequence[NDArray[Any] | None]) -> ItemFeatures:
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
        # As in the catalogue, empty texts are not encoded: their vectors stay zero.
        written = np.array([bool(text.strip()) for text in texts])
        text = np.zeros((len(items), self._encoder.text_dim), np.float32)
        if written.any():
            text[written] = self._encoder.encode_texts([words for words in texts if words.strip()])
        image = np.zeros((len(items), self._encoder.image_dim), np.float32)
        joint = np.zeros((len(items), self._encoder.joint_dim), np.float32)
        for row, pixels in enumerate(images):
            if pixels is not None:
                image[row] = self._encoder.image_vectors([pixels])[0]
                if written[row] and self._encoder.joint_dim:
                    joint[row] = self._encoder.joint_vectors([texts[row]], [pixels])[0]
        present = np.stack([text.any(axis=1), image.any(axis=1)], axis=1)
        return self._trained.attributes.features(table, (text, image, joint), present, self._trained.without)
