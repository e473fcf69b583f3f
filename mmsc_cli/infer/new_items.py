"""Turn items that the model has never seen into queries. Only this part of `infer` loads torch and the encoder.

A new item is answered by the lists of its look-alikes: the items with behaviour whose content is most like its own.
Images are local files, or URLs that are downloaded with the same safeguards as those of a catalogue.
"""

from __future__ import annotations

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

from mmsc_cli.arrays.rows import divide
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.encoders.registry import open_encoder
from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.files.images import UnusableImageError, open_image
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.files.web.image_download import download_images
from mmsc_cli.index.borrowed import LookAlikes, borrow
from mmsc_cli.index.index_file import Index
from mmsc_cli.index.query import Query
from mmsc_cli.index.ranking import Additions, QueryBlock
from mmsc_cli.index.storage import PATH_SEPARATOR
from mmsc_cli.infer.explain import Subject
from mmsc_cli.infer.new_item import NewItem
from mmsc_cli.model.features import side_masks
from mmsc_cli.model.neighbours import nearest_items, semantic_vectors
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.tables.embeddings import Embeddings
from mmsc_cli.tables.items import full_text
from mmsc_cli.tables.relations import Relation
from mmsc_cli.workspace.stages import NEW_ITEMS
from mmsc_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from PIL import Image

_LOG = logging.getLogger(__name__)
# Maximum number of items that are encoded together.
BATCH = 64
# Cosine of vectors of two items that say the same.
SAME = 0.99
# Look-alikes of a new item, where the index does not say how many its own items have.
USUAL_NEIGHBOURS = 20


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


class NewItemEncoder:
    """The encoder of a workspace, and what its look-alikes lend: they turn new items into queries."""

    def __init__(self, index: Index, encoder: Encoder, content: torch.Tensor, images: DownloadSettings) -> None:
        """See `open`; `content` are the semantic vectors (n_items, dim) of the catalogue."""
        self._index = index
        self._encoder = encoder
        self._content = content
        self._widths = [encoder.text_dim, encoder.image_dim, encoder.joint_dim]
        self._images = images
        self._has_behaviour = torch.from_numpy(index.known.lengths() > 0)

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
            WorkspaceError: a stage is missing or its artefacts are damaged, or of other items than the index.
        """
        workspace.check_inputs(NEW_ITEMS, "infer --new")
        embeddings = Embeddings.open(workspace.path("embeddings"), len(index))
        encoder = open_encoder(workspace.path("embeddings"), device=device)
        widths = encoder.text_dim, encoder.image_dim, encoder.joint_dim
        if tuple(side.shape[1] for side in embeddings.sides) != widths:
            raise WorkspaceError("embeddings/ is not what its encoder makes", hint="run `mmsc encode` again")
        content = _content(index, np.array(embeddings.mask), *embeddings.sides)
        if not torch.isfinite(content).all():
            raise WorkspaceError("embeddings/ holds what is no number", hint="run `mmsc encode` again")
        return cls(index, encoder, content, images)

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
            Those that can be answered, in their order, and the errors of the others, by position. An image that cannot
            be used is skipped with a warning if the item has anything else.
        """
        images, errors = self._read_images(items, names)
        sides = self._encoded(items, images)
        present = np.stack([sides[0].any(axis=1), sides[1].any(axis=1)], axis=1)
        content = _content(self._index, present, *sides)
        count = self._index.about.get("neighbours", USUAL_NEIGHBOURS)
        found, likeness = nearest_items(content, self._content, self._has_behaviour, count)
        queries, subjects = [], []
        borrowed: dict[Relation, list[tuple[NDArray[np.float32], Additions]]] = {relation: [] for relation in relations}
        for position, item in enumerate(items):
            if position in errors:
                continue
            rows, alikeness = found[position].numpy(), likeness[position].numpy()
            kept = (rows >= 0) & (alikeness > 0)
            rows, alikeness = rows[kept], alikeness[kept]
            if not len(rows):
                errors[position] = _unreadable()
                continue
            same = _says_the_same(content[position], self._content[rows], self._widths)
            alike = LookAlikes(rows, divide(alikeness, alikeness.sum()), same)
            query = self._query(item, names[position], present[position])
            queries.append(query)
            text, image = (
                side[position] if there else None
                for side, there in zip(sides[:2], present[position].tolist(), strict=True)
            )
            by_row = np.argsort(alike.rows)
            subjects.append(
                Subject(query, alike.rows[by_row].astype(np.int32), alike.weights[by_row], (text, image), None)
            )
            for relation in relations:
                borrowed[relation].append(borrow(self._index, relation, alike))
        block = QueryBlock(
            queries,
            {relation: np.array([vector for vector, _ in lent]) for relation, lent in borrowed.items()},
            {relation: [additions for _, additions in lent] for relation, lent in borrowed.items()},
        )
        return Newcomers(block, subjects), errors

    def _query(self, item: NewItem, name: str, present: NDArray[np.bool_]) -> Query:
        path = PATH_SEPARATOR.join(item.category)
        categories = self._index.categories
        number = categories.position(path)
        known = path and number < len(categories) and categories[number] == path
        used = [modality for modality, there in zip(("text", "image"), present.tolist(), strict=True) if there]
        return Query(
            name,
            None,
            number if known else -1,
            float("nan") if item.price is None else item.price,
            modalities="+".join(used),
        )

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

    def _encoded(
        self, items: Sequence[NewItem], images: Sequence[NDArray[Any] | None]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Text, image and joint vectors, (items, dim) each, zeros where there is nothing to read."""
        table = pa.table(
            {
                "title": pa.array([item.title for item in items], pa.string()),
                "description": pa.array([item.description for item in items], pa.string()),
                "brand": pa.array([item.brand for item in items], pa.string()),
                "category": pa.array([item.category for item in items], pa.list_(pa.string())),
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
        return text, image, joint


def _content(index: Index, present: NDArray[np.bool_], *sides: NDArray[np.floating]) -> torch.Tensor:
    """Semantic vectors of text, image and joint vectors, without the parts that the index was trained without."""
    without = index.about.get("without", [])
    present = present & np.array([part not in without for part in ("text", "image")])
    vectors = [torch.from_numpy(np.asarray(side, np.float32)) for side in sides]
    masks = side_masks(torch.from_numpy(present), vectors[-1].shape[1])
    kept = [side * mask.unsqueeze(1) for side, mask in zip(vectors, masks.T, strict=False)]
    return semantic_vectors(kept, masks)


def _says_the_same(item: torch.Tensor, others: torch.Tensor, widths: list[int]) -> NDArray[np.bool_]:
    """Which items (others,) say the same as an item, in all that both have of text, image and joint vector.

    Semantic vectors, (dim,) and (others, dim), hold these side by side, each of a width.
    """
    same = torch.ones(len(others), dtype=torch.bool)
    shared = torch.zeros(len(others), dtype=torch.bool)
    for own, theirs in zip(torch.split(item, widths), torch.split(others, widths, dim=1), strict=True):
        sizes = own.norm() * theirs.norm(dim=1)
        both = sizes > 0
        same &= ~both | (theirs @ own >= SAME * sizes)
        shared |= both
    return (same & shared).numpy()


def _unreadable() -> InputError:
    return InputError(
        "the model knows nothing of what the item says", hint="say more: a longer title, a category, a description"
    )
