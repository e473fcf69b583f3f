"""Encode parts: one pass over the item table, reading and decoding ahead of the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmsc_cli.encode.different_inputs import DifferentInputs
from mmsc_cli.encode.earlier import Known
from mmsc_cli.encode.encode_task import EncodeTask
from mmsc_cli.encode.part_files import PartFile
from mmsc_cli.encoders.encoder import Encoder
from mmsc_cli.files.images import UnusableImageError, load_image, resolve_image
from mmsc_cli.runtime.parallel import map_in_threads
from mmsc_cli.tables.image_hashes import NO_IMAGE, hash_image
from mmsc_cli.tables.items import TEXT_COLUMNS, full_text, take_items
from mmsc_cli.workspace.checksums import damaged_file

# Texts are sorted by length within a block, so a block holds several batches.
_BATCHES_A_BLOCK = 8


def encode_texts(
    task: EncodeTask, encoder: Encoder, inputs: DifferentInputs, parts: Sequence[PartFile], known: Known
) -> int:
    """Encode and write the parts, tokenising the next block while one is on the device; return how many texts."""
    size = _BATCHES_A_BLOCK * encoder.batch_size
    missing = [known.missing(part.numbers) for part in parts]

    def blocks() -> Iterator[list[str]]:
        rows = inputs.first_row[np.concatenate(missing)]
        texts = (text for table in take_items(task.items_path, TEXT_COLUMNS, rows) for text in full_text(table))
        for numbers in missing:
            for start in range(0, len(numbers), size):
                yield list(islice(texts, min(size, len(numbers) - start)))

    if not parts:
        return 0
    count = sum(map(len, missing))
    # One block ahead means one thread: some tokenisers cannot be called from two.
    tokens = map_in_threads(encoder.tokens, blocks() if count else (), ahead=1)
    with task.progress.task("encoding texts", total=count) as shown:
        for part, numbers in zip(parts, missing, strict=True):
            vectors = known.block(part.numbers, encoder.text_dim)
            for start in range(0, len(numbers), size):
                block = numbers[start : start + size] - part.numbers.start
                vectors[block] = encoder.text_vectors(next(tokens))
                shown.advance(len(block))
            part.write(vectors, {})
    return count


def encode_images(
    task: EncodeTask,
    encoder: Encoder,
    inputs: DifferentInputs,
    recorded: NDArray[np.uint64],
    parts: Sequence[PartFile],
    known: Known,
) -> int:
    """Encode and write the parts, decoding the next batches while one is on the device; return how many images.

    The parts are of images, or of texts and images as one input.

    Every file that is encoded is compared with its recorded hash, (items,), also those whose content an earlier row
    has. Files whose vectors are known by their content are not read.

    Raises:
        WorkspaceError: an image is not the one that `prepare` put in place.
    """
    missing = [known.missing(part.numbers) for part in parts]
    rows = [_rows_to_read(inputs, part, known) for part in parts]
    if not parts:
        return 0
    count = sum(map(len, missing))

    joint = parts[0].modality == "joint"

    def load(named: tuple[int, str, str]) -> tuple[str, NDArray[Any]] | UnusableImageError | None:
        row, path, text = named
        if recorded[row] != NO_IMAGE:
            _check(task.workspace_root, path, int(recorded[row]))
        if inputs.first_row[inputs.of_row[row]] != row:
            return None
        try:
            return text, encoder.pixels(load_image(task.workspace_root, path))
        except UnusableImageError as reason:
            return reason

    every_row = np.concatenate(rows)
    tables = take_items(task.items_path, ["image_path", *(TEXT_COLUMNS if joint else ())], every_row)
    named = (each for table in tables for each in _paths_and_texts(table, joint=joint))
    of_rows = ((row, path, text) for row, (path, text) in zip(every_row.tolist(), named, strict=True))
    images = map_in_threads(load, of_rows, ahead=2 * encoder.batch_size)
    with task.progress.task(f"encoding {'texts with ' if joint else ''}images", total=count) as shown:
        for part, numbers, part_rows in zip(parts, missing, rows, strict=True):
            vectors = known.block(part.numbers, encoder.width(part.modality))
            failures: dict[int, str] = {}
            positions = (numbers - part.numbers.start).tolist()
            usable = _usable(islice(images, len(part_rows)), positions, failures)
            while batch := list(islice(usable, encoder.batch_size)):
                texts, pixels = [text for _, (text, _) in batch], [pixels for _, (_, pixels) in batch]
                encoded = encoder.joint_vectors(texts, pixels) if joint else encoder.image_vectors(pixels)
                vectors[[position for position, _ in batch]] = encoded
                shown.advance(len(batch))
            shown.advance(len(failures))
            part.write(vectors, failures)
    return count


def _rows_to_read(inputs: DifferentInputs, part: PartFile, known: Known) -> NDArray[np.int64]:
    rows = inputs.rows(part.numbers)
    to_read: NDArray[np.int64] = rows[known.rows[inputs.of_row[rows]] < 0]
    return to_read


def _paths_and_texts(table: pa.Table, *, joint: bool) -> Iterator[tuple[str, str]]:
    paths = table["image_path"].to_pylist()
    return zip(paths, full_text(table) if joint else [""] * len(paths), strict=True)


def _check(workspace_root: Path, path: str, recorded: int) -> None:
    try:
        same = hash_image(resolve_image(workspace_root, path)) == recorded
    except (OSError, UnusableImageError):
        same = False
    if not same:
        raise damaged_file(workspace_root, path, "prepare")


def _usable(
    images: Iterator[tuple[str, NDArray[Any]] | UnusableImageError | None],
    positions: Sequence[int],
    failures: dict[int, str],
) -> Iterator[tuple[int, tuple[str, NDArray[Any]]]]:
    """Yield texts and images with their positions in the part; put the reasons of the others into `failures`."""
    different = (image for image in images if image is not None)
    for position, image in zip(positions, different, strict=False):
        if isinstance(image, UnusableImageError):
            failures[position] = str(image)
        else:
            yield position, image
