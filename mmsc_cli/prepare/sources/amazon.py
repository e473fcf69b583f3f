"""Amazon product metadata, in the schemas of 2014 and of 2018, told apart record by record.

2014 (McAuley et al., SIGIR 2015): Python dict literals or JSON, `related` lists, `categories`, `imUrl`.
2018 (Ni et al., EMNLP 2019): JSON lines, `also_view`, `also_buy`, `category`, `imageURL*`, prices as strings.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.files.line_blocks import LineBlock, LineBlocks
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.sources.amazon_record import RecordError, check_lines, deliver_block
from mmsc_cli.runtime.machine.cores import usable_cores
from mmsc_cli.runtime.parallel import map_in_processes
from mmsc_cli.runtime.progress import SILENT, Progress

SMALL_BYTES = 8 << 20
_LOG = logging.getLogger(__name__)


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
        counts: Counter[str] = Counter()
        first_error: RecordError | None = None
        with progress.task(f"Reading {path.name}") as task:
            try:
                for report in map_in_processes(deliver, _whole_lines(blocks), cores or _worthwhile_cores(path)):
                    counts.update(report.counts)
                    first_error = first_error or report.first_error
                    # Another kind of file is refused at its first block, not at its end.
                    if first_error is not None and counts["records_unreadable"] * 2 >= counts["records"]:
                        raise first_error
                    task.advance(report.counts["records"])
            except RecordError as error:
                raise InputError(
                    f"{path}: record {error.number} {error.reason}",
                    hint="the file must be Amazon product metadata, one product a line, plain or gzip; "
                    "for your own files see `mmsc recipes show my-shop`",
                ) from error
        if not counts["records"]:
            raise InputError(f"{path}: no records in it", hint="give an Amazon metadata file with --input")
        if first_error is not None:
            delivery.warnings.append(
                f"{path.name}: {counts['records_unreadable']:,} of {counts['records']:,} records are no products "
                f"and were left out; the first: record {first_error.number} {first_error.reason}"
            )
        delivery.counts.update(counts)
        if blocks.truncated_after is not None:
            _LOG.warning("%s is cut short after record %d; what is whole is kept", path, blocks.truncated_after)
            delivery.notes.setdefault("truncated", {})[path.name] = {"after_record": blocks.truncated_after}


def _worthwhile_cores(path: Path) -> int:
    """A small file is read before another process is up."""
    return usable_cores() if path.is_file() and path.stat().st_size > SMALL_BYTES else 1


def _whole_lines(blocks: LineBlocks) -> Iterator[LineBlock]:
    """The blocks, without the last line of a plain file that is cut short within it.

    Raises:
        RecordError: it is cut short, and that is not allowed.
    """
    for block in blocks:
        end = block.content.rfind(b"\n") + 1
        cut: RecordError | None = None
        if end < len(block.content):
            last = block.first + block.content.count(b"\n")
            try:
                check_lines(LineBlock(last, block.content[end:]))
            except RecordError as error:
                cut = error
                if blocks.allow_truncated:
                    blocks.truncated_after = last - 1
                    block = replace(block, content=block.content[:end])
        if block.content:
            yield block
        if cut is not None and not blocks.allow_truncated:
            raise cut
