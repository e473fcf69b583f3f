"""The files that a command line names: files, folders, patterns, and `-` for stdin."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from mmsc_cli.errors import InputError
from mmsc_cli.places.address import is_object
from mmsc_cli.places.copies import Copies
from mmsc_cli.prepare.guess.head import read_start, sniff_kind
from mmsc_cli.prepare.inputs import TABLE_ENDINGS, is_data

# Of two words each is meant; among more, a pattern of the shell may have caught what is no data.
MEANT = 2
_PACKED = (".gz", ".zst", ".zstd")


@dataclass(frozen=True)
class Source:
    """What one word of the command line names.

    Attributes:
        text: the word, as a recipe names it: a file, a folder or a pattern.
        files: the data files that it stands for.
        local: where copies of it lie, if it is an address.
    """

    text: str
    files: tuple[Path, ...]
    local: str | None = None

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""
        return Path(self.local or self.text)


def find_sources(
    texts: Sequence[str], stdin: IO[bytes] | None = None, folder: Path | None = None, copies: Copies | None = None
) -> list[Source]:
    """Look up what the words of a command line name.

    Args:
        texts: files, pipes, folders, patterns, also in buckets; one may be `-`.
        stdin: what `-` stands for.
        folder: where the content of stdin and pipes is kept; made if it is not there. None: there may be none.
        copies: takes the objects of buckets; None: there may be none.

    Raises:
        InputError: a file, or any data in a folder, is missing; `-` is there twice, or cannot be used here.
        UnreachableError: a bucket does not answer.
    """
    if texts.count("-") > 1:
        raise InputError("- is there twice, but there is one stdin", hint="give the other file by its name")
    sources = []
    for number, text in enumerate(texts):
        if copies is not None and is_object(text):
            files = copies.files(text, lambda key: is_data(Path(key), TABLE_ENDINGS))
            sources.append(Source(text, tuple(files), copies.local(text)))
        elif text != "-" and not is_pipe(text):
            sources.append(_source(text, alone=len(texts) <= MEANT))
        elif folder is None or (text == "-" and stdin is None):
            raise InputError(f"{text}: a recipe cannot name a pipe", hint="save the data in a file, and give that")
        elif text == "-" and stdin is not None:
            sources.append(_copy(stdin, folder, "stdin"))
        else:
            with Path(text).open("rb") as pipe:
                sources.append(_copy(pipe, folder, f"pipe-{number}"))
    named: set[Path] = set()
    for file in (file.resolve() for source in sources for file in source.files):
        if file in named:
            raise InputError(f"{file} is named twice", hint="name each file once, by itself or by its folder")
        named.add(file)
    return sources


def is_pipe(text: str) -> bool:
    """Whether a word names what can be read only once, such as a pipe."""
    path = Path(text)
    return text == "-" or (path.exists() and not path.is_file() and not path.is_dir())


def is_stray(source: Source) -> bool:
    """Whether a word names what `folder/*` catches beside data: other kinds of files, settings in JSON, a workspace."""
    path = source.path
    if not source.files:
        return True
    if not path.is_file() or read_start(path).startswith(b"PAR1"):
        return False
    if not _has_data_ending(path):
        return True
    return path.suffix.lower() == ".json" and _is_settings(path)


def _is_settings(path: Path) -> bool:
    """Whether a file is one JSON object over several lines, and no list and no lines of records."""
    start = read_start(path).lstrip()
    if not start.startswith(b"{"):
        return not start.startswith(b"[")
    try:
        orjson.loads(start.split(b"\n", 1)[0])
    except ValueError:
        return True
    return b"\n" not in start.strip()


def _source(text: str, *, alone: bool) -> Source:
    path = Path(text)
    if path.is_dir():
        workspaces = {manifest.parent for manifest in path.rglob("manifest.json")}
        files = tuple(
            file
            for file in sorted(path.rglob("*"))
            if file.is_file() and is_data(file.relative_to(path), TABLE_ENDINGS) and workspaces.isdisjoint(file.parents)
        )
        if not files and alone:
            raise InputError(
                f"{path}: no data in this folder", hint=f"files that end with {' '.join(TABLE_ENDINGS)} are data"
            )
        return Source(text, files)
    if path.exists():
        return Source(text, (path,))
    files = tuple(file for match in sorted(_matches(text)) if (file := Path(match)).is_file())
    if not files:
        raise InputError(f"no file at {text}", hint="give a file, a folder, a pattern, or - for stdin")
    return Source(text, files)


def _matches(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern


def _has_data_ending(path: Path) -> bool:
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.endswith(TABLE_ENDINGS)


def _copy(pipe: IO[bytes], folder: Path, name: str) -> Source:
    """Copy a pipe into a file whose ending is that of its content, as readers go by the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / name
    with copy.open("wb") as file:
        shutil.copyfileobj(pipe, file)
    if not copy.stat().st_size:
        copy.unlink()
        raise InputError(f"{name} is empty", hint="pipe data into it, or give a file")
    path = copy.rename(folder / f"{name}.{sniff_kind(read_start(copy))}")
    return Source(str(path), (path,))
