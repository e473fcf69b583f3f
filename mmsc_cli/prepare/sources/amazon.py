"""Amazon product metadata, in the schemas of 2014 and of 2018, told apart record by record.

2014 (McAuley et al., SIGIR 2015): Python dict literals or JSON, `related` lists, `categories`, `imUrl`.
2018 (Ni et al., EMNLP 2019): JSON lines, `also_view`, `also_buy`, `category`, `imageURL*`, prices as strings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.files.line_blocks import Block, LineBlocks
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon_record import RecordError, deliver_block, read_lines
from mmsc_cli.runtime.cores import usable_cores
from mmsc_cli.runtime.parallel import map_in_processes
from mmsc_cli.runtime.progress import SILENT, Progress

SMALL_BYTES = 8 << 20
_LOG = logging.getLogger("mmsc_cli")


def read_amazon(
    paths: Sequence[Path],
    delivery: Delivery,
    *,
    allow_truncated: bool = False,
    cores: int | None = None,
    progress: Progress = SILENT,
) -> None:
    """Read metadata files (gzip or plain) into a delivery.

    Args:
        paths: the files; their order does not matter.
        delivery: where records, lists and counts go.
        allow_truncated: keep the whole records of a file that is cut short, and say so in the notes.
        cores: how many processes parse (None: all that this process may use, but for a small file).
        progress: told of the records read.

    Raises:
        InputError: a file is missing, is not metadata, or breaks off; the line is named.
    """
    for number, path in enumerate(paths):
        blocks = LineBlocks(path, allow_truncated=allow_truncated)
        deliver = partial(deliver_block, folder=delivery.folder, file_number=number)
        read = 0
        with progress.task(f"Reading {path.name}") as task:
            try:
                for counts in map_in_processes(deliver, _whole_lines(blocks), cores or _worthwhile_cores(path)):
                    delivery.counts.update(counts)
                    read += counts["records"]
                    task.advance(counts["records"])
            except RecordError as error:
                raise InputError(
                    f"{path}: record {error.number} {error.reason}",
                    hint="the file must be Amazon product metadata, one product a line, plain or gzip; "
                    "for your own files see `mmsc recipes show my-shop`",
                ) from error
        if not read:
            raise InputError(f"{path}: no records in it", hint="give an Amazon metadata file with --input")
        if blocks.truncated_after is not None:
            _LOG.warning("%s is cut short after record %d; what is whole is kept", path, blocks.truncated_after)
            delivery.notes.setdefault("truncated", {})[path.name] = {"after_record": blocks.truncated_after}


def _worthwhile_cores(path: Path) -> int:
    """A small file is read before another process is up."""
    return usable_cores() if path.is_file() and path.stat().st_size > SMALL_BYTES else 1


def _whole_lines(blocks: LineBlocks) -> Iterator[Block]:
    """The blocks, less (where that is allowed) the last line of a plain file that is cut short within it."""
    for block in blocks:
        end = block.content.rfind(b"\n") + 1
        if blocks.allow_truncated and end < len(block.content):
            last = block.first + block.content.count(b"\n")
            try:
                list(read_lines(Block(last, block.content[end:])))
            except RecordError:
                blocks.truncated_after = last - 1
                block = replace(block, content=block.content[:end])
        if block.content:
            yield block
