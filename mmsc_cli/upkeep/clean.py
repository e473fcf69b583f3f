"""What of a workspace can go, and removing it: only files of names that mmsc gives, and no artefact."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mmsc_cli.errors import InputError, WorkspaceError
from mmsc_cli.workspace.lock import LOCK, is_held, is_marked, locked
from mmsc_cli.workspace.manifest_file import read_manifest_file
from mmsc_cli.workspace.pins import is_read
from mmsc_cli.workspace.regular_file import refuse_link
from mmsc_cli.workspace.stages import STAGES
from mmsc_cli.workspace.strange_folder import refuse_strange_folder

_STAGING = ".staging"
_STAGE = f"(?:{'|'.join(STAGES)})"
_HASH = "[0-9a-f]{{{}}}"


@dataclass(frozen=True)
class Part:
    """A part of a workspace that can go.

    Attributes:
        name: by which a user chooses it.
        where: the folder or file in the workspace, for people.
        what: what it is.
        without: what happens without it.
        files: matches the names in the workspace of its files; any other file there stays.
        only_named: whether it goes only where the user names it.
    """

    name: str
    where: str
    what: str
    without: str
    files: str
    only_named: bool = False


# All that `mmsc clean` ever removes. What is not here stays: artefacts, recipe.toml, judgements.parquet, what was piped
# into downloads/ (it cannot be had again), replaced/ (files of the user), and whatever mmsc does not know.
PARTS = (
    Part(
        "leftovers",
        ".staging/",
        "left by killed runs, and old indexes that were in use when they were replaced",
        "nothing is missed",
        rf"\.staging/{_STAGE}-[^/]+/.+"
        rf"|\.(?:manifest\.json|digests\.json|recipe\.toml|judgements\.parquet)\.{_HASH.format(16)}",
    ),
    Part(
        "encoding",
        "encoding/",
        "finished work of an interrupted encode",
        "it starts over",
        rf"encoding/{_HASH.format(16)}/.+",
    ),
    Part(
        "answering",
        "answering/",
        "finished work of an interrupted `infer --all` with --workers or --ray",
        "it starts over",
        rf"answering/{_HASH.format(16)}/.+",
    ),
    Part(
        "training",
        "training/",
        "the checkpoint of an interrupted train",
        "it starts over",
        r"training/\.?checkpoint\.safetensors(?:\.[0-9a-f]{16})?",
    ),
    Part(
        "kept_events",
        "kept_events/",
        "what counts of the log files read so far",
        "the next run reads every log file again",
        rf"kept_events/{_HASH.format(32)}\.(?:(?:events|tally)\.parquet(?:\.new)?|json)"
        rf"|kept_events/\.{_HASH.format(32)}\.json\.{_HASH.format(16)}",
    ),
    Part(
        "downloads",
        "downloads/",
        "downloaded sources, and copies of objects in buckets",
        "the next prepare downloads them again",
        rf"downloads/(?:{_HASH.format(8)}|s3|gs|sql-[^/]+)/.+",
    ),
    Part(
        "image_cache",
        "downloads/images/",
        "downloaded images; those in use are also in images/, and take no more room here",
        "the next prepare downloads all images again",
        rf"downloads/images/\.?{_HASH.format(32)}\.[a-z0-9]+(?:\.[0-9a-f]{{16}})?",
    ),
    Part(
        "digests",
        "digests.json",
        "the sha256 of your files",
        "the next run reads your files again to see whether they changed",
        r"digests\.json",
    ),
    Part(
        "answers",
        "answers/",
        "answers of language models",
        "label asks the model again, which costs its time or money",
        r"answers/(?:\.?answers-\d{6,}\.parquet(?:\.[0-9a-f]{16})?|vllm\.log)",
        only_named=True,
    ),
)


@dataclass
class Found:
    """What a workspace has of a part: names of files in the workspace, and the bytes that come free without them."""

    part: Part
    files: list[str] = field(default_factory=list)
    bytes: int = 0


def choose_parts(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names; of no names, all that go without being named.

    Raises:
        InputError: there is no part of such a name.
    """
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            raise InputError(f"{name!r} is no part of a workspace that can go", hint=f"choose from: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or [part for part in PARTS if not part.only_named]


def find_parts(root: Path) -> list[Found]:
    """Return what of a workspace can go, all parts of which something is there.

    Folders in `.staging/` that a reader still has open are left out.

    Raises:
        WorkspaceError: there is no workspace, its manifest is damaged, or one of its folders is a link.
    """
    _refuse_other_folders(root)
    found = {part.name: Found(part) for part in PARTS}
    patterns = [(found[part.name], re.compile(part.files, re.DOTALL)) for part in PARTS]
    for name, size in _files(root):
        for here, pattern in patterns:
            if pattern.fullmatch(name):
                here.files.append(name)
                here.bytes += size
                break
    return [here for here in found.values() if here.files]


def remove_parts(root: Path, parts: Sequence[Part]) -> list[Found]:
    """Remove parts of a workspace; return what they were.

    Raises:
        WorkspaceError: as `find_parts`; or another process works in the workspace.
        OSError: something may not be removed.
    """
    _refuse_other_folders(root)
    with locked(root):
        gone = [here for here in find_parts(root) if here.part in parts]
        for here in gone:
            for name in here.files:
                (root / name).unlink(missing_ok=True)
            _remove_empty_folders(root, here.files)
    return gone


def is_busy(root: Path) -> bool:
    """Return whether a process works in the workspace: some of what could go is then its work."""
    return is_held(root / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, fcntl.LOCK_EX)


def _refuse_other_folders(root: Path) -> None:
    """Refuse what is no workspace: neither a manifest nor the mark of an interrupted first run is there."""
    if read_manifest_file(root) is not None or is_marked(root):
        return
    refuse_strange_folder(root)
    raise WorkspaceError(f"there is no workspace at {root}", hint="name the folder of one with -w DIR")


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """The names of the files in the places of the table, and the bytes that come free without each."""
    tops = {part.files.split("/")[0].replace("\\", "") for part in PARTS if part.where.endswith("/")}
    for name in sorted(os.listdir(root)):  # noqa: PTH208  names, not paths
        if name in tops and refuse_link(root / name).is_dir():
            for folder, folders, names in os.walk(root / name):
                inside = Path(folder).relative_to(root)
                if inside.parts[0] == _STAGING and len(inside.parts) == 2:
                    folders[:] = [inner for inner in folders if not is_read(Path(folder, inner))]
                folders.sort()
                yield from ((f"{inside.as_posix()}/{file}", _frees(Path(folder, file))) for file in sorted(names))
        elif not (root / name).is_dir():
            yield name, _frees(root / name)


def _frees(path: Path) -> int:
    """The bytes that come free when this name goes: none where the file has another name too."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_size if status.st_nlink == 1 else 0
    return 0


def _remove_empty_folders(root: Path, files: Sequence[str]) -> None:
    """Remove the folders that the removal of files left empty, the innermost first."""
    folders = {folder for name in files for folder in Path(name).parents} - {Path()}
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):
            (root / folder).rmdir()
