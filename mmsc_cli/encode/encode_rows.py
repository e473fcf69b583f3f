"""A share of the catalogue through an encoder, a modality at a time, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmsc_cli.encode.duplicates import Distinct
from mmsc_cli.encode.vector_file import PENDING, VectorFile
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.files.images import UnusableImageError, load_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.runtime.progress import Progress
from mmsc_cli.tables.items import TEXT_COLUMNS, full_text, take_items

# Texts are sorted by length within a block, so a block is several batches; it is done or not done as a whole.
_TEXT_BATCHES = 8
Value = TypeVar("Value")


def encode_texts(
    items: Path, rows: range, encoder: Encoder, distinct: Distinct, file: VectorFile, progress: Progress
) -> int:
    """Encode the texts that are not done yet, tokenising the next block while this one is on the device.

    Returns:
        How many there were.
    """
    todo = _Blocks(distinct, file, _TEXT_BATCHES * encoder.batch_size)

    def tokenise(block: tuple[range, list[str]]) -> tuple[range, Any]:
        part, texts = block
        return part, encoder.tokens(texts)

    with file.marking(), progress.task("encoding texts", total=len(rows)) as task:
        file.skip(distinct.nothing)
        task.advance(todo.done)
        texts = (
            text for table in take_items(items, TEXT_COLUMNS, rows.start + todo.first()) for text in full_text(table)
        )
        blocks = todo.of(texts)
        for part, tokens in map_in_threads(tokenise, blocks, ahead=1):
            members, which = distinct.rows_of(part)
            file.write(members, encoder.text_vectors(tokens)[which])
            task.advance(len(members))
    return len(todo.first())


def encode_images(
    items: Path,
    rows: range,
    encoder: Encoder,
    distinct: Distinct,
    file: VectorFile,
    workspace_root: Path,
    progress: Progress,
) -> int:
    """Encode the images that are not done yet, decoding the next batches while this one is on the device.

    Returns:
        How many there were.
    """
    todo = _Blocks(distinct, file, encoder.batch_size)

    def load(path: str) -> NDArray[Any] | UnusableImageError:
        try:
            return encoder.pixels(load_image(workspace_root, path))
        except UnusableImageError as reason:
            return reason

    with file.marking(), progress.task("encoding images", total=len(rows)) as task:
        file.skip(distinct.nothing)
        task.advance(todo.done)
        tables = take_items(items, ["image_path"], rows.start + todo.first())
        paths = (path for table in tables for path in table["image_path"].to_pylist())
        loaded = map_in_threads(load, paths, ahead=2 * encoder.batch_size)
        for part, images in todo.of(loaded):
            members, which = distinct.rows_of(part)
            usable = [image for image in images if not isinstance(image, UnusableImageError)]
            place = np.cumsum([not isinstance(image, UnusableImageError) for image in images]) - 1
            reasons = [str(image) if isinstance(image, UnusableImageError) else "" for image in images]
            failed = np.array([bool(reason) for reason in reasons])[which]
            vectors = encoder.image_vectors(usable)
            file.fail(members[failed], [reasons[at] for at in which[failed]])
            file.write(members[~failed], vectors[place[which[~failed]]])
            task.advance(len(members))
    return len(todo.first())


class _Blocks:
    """The blocks of different inputs of which a row is not done.

    Blocks are cut the same way whatever is done already, so that a run that was stopped ends as one that was not.
    """

    def __init__(self, distinct: Distinct, file: VectorFile, size: int) -> None:
        states = file.states()
        parts = [range(start, min(start + size, len(distinct))) for start in range(0, len(distinct), size)]
        self._parts = [part for part in parts if (states[distinct.rows_of(part)[0]] == PENDING).any()]
        self._distinct = distinct
        self.done = file.rows - sum(len(distinct.rows_of(part)[0]) for part in self._parts)

    def first(self) -> NDArray[np.int64]:
        """Of every input in these blocks the first row that has it, ascending."""
        chosen = np.zeros(len(self._distinct), np.bool_)
        for part in self._parts:
            chosen[part.start : part.stop] = True
        return self._distinct.first[chosen]

    def of(self, values: Iterator[Value]) -> Iterator[tuple[range, list[Value]]]:
        """The values of these inputs, block by block."""
        for part in self._parts:
            yield part, list(islice(values, len(part)))
