"""The images that items name, local files or web addresses, brought into the workspace.

What cannot be had is noted in `images/failures.jsonl`, and its item goes on without an image. The local files that were
looked for are listed in `images/sources.parquet`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from mmsc_cli.errors import InputError
from mmsc_cli.files.images import FORMATS, UnusableImageError, open_checked
from mmsc_cli.files.web.image_download import download_images
from mmsc_cli.prepare.local_pictures import write_sources
from mmsc_cli.prepare.settings import ImageSettings
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.redaction import redact

FAILURES = "failures.jsonl"
_REASONS_SHOWN = 10
_LOG = logging.getLogger(__name__)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


class ImagePlaces:
    """Decides where the image of each item lies. Local files come before addresses.

    Attributes:
        counts: `images_named` by items; of these `images`, `images_not_found` (local) and `images_failed` (web).
        reasons: why images are not there, without their addresses, with the number of images.
    """

    def __init__(
        self,
        source: Path | None,
        folder: Path | None,
        target: Path,
        cache: Path,
        settings: ImageSettings,
        progress: Progress = SILENT,
    ) -> None:
        """Take the folders.

        Args:
            source: what local paths are relative to; None: the source names no local files.
            folder: of images whose names are item ids; None: there is none.
            target: the workspace's `images/`, which exists.
            cache: where downloads are kept from run to run.
            settings: the recipe's `[images]`.
            progress: told of every image.

        Raises:
            InputError: there is no such folder.
        """
        if folder is not None and not folder.is_dir():
            raise InputError(f"no folder at {folder}", hint="images.folder is relative to the recipe file")
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._source = source
        self._folder = folder
        self._roots = [root.resolve() for root in (source, folder) if root is not None]
        self._target = target
        self._cache = cache
        self._settings = settings
        self._progress = progress
        self._looked_for: list[Path] = [] if folder is None else [folder]

    def place(
        self, item_ids: Sequence[str], urls: Sequence[str | None], paths: Sequence[str | None]
    ) -> list[str | None]:
        """Bring the images here.

        Args:
            item_ids: of the items, shape (items,).
            urls: their web addresses, fetched if `settings.download`, for items without a path.
            paths: their local paths.

        Returns:
            Paths relative to the workspace, None for an item without an image.
        """
        if self._source is None:
            paths = [None] * len(item_ids)
        paths = self._from_folder(item_ids, paths)
        if not self._settings.download:
            urls = [None] * len(item_ids)
        fetched, reasons = self._download([url for url, path in zip(urls, paths, strict=True) if url and not path])
        placed: list[str | None] = []
        named = sum(bool(path or url) for path, url in zip(paths, urls, strict=True))
        with (
            (self._target / FAILURES).open("w", encoding="utf-8", errors="backslashreplace") as failures,
            self._progress.task("Placing images", named) as task,
        ):
            for item_id, url, path in zip(item_ids, urls, paths, strict=True):
                if not (path or url):
                    placed.append(None)
                    continue
                source_path = self._local(path) if path else fetched.get(str(url), reasons.get(str(url), ""))
                placed.append(self._put(source_path, item_id, link=not path) if isinstance(source_path, Path) else None)
                task.advance()
                if not isinstance(source_path, Path):
                    self.counts["images_not_found" if path else "images_failed"] += 1
                    self.reasons[_kind_of(source_path)] += 1
                    line = {"item_id": item_id, "image": path or redact(str(url)), "reason": source_path}
                    failures.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not self.counts:
            (self._target / FAILURES).unlink()
        if self._looked_for:
            write_sources(self._target, self._source or self._folder or Path(), self._looked_for)
        for reason, count in self.reasons.most_common(_REASONS_SHOWN):
            _LOG.warning("%s: %s", counted(count, "image"), reason)
        self.counts["images"] = sum(path is not None for path in placed)
        self.counts["images_named"] = named
        return placed

    def _download(self, urls: Sequence[str]) -> tuple[Mapping[str, Path], Mapping[str, str]]:
        if not urls:
            return {}, {}
        return download_images(urls, self._cache, self._settings, self._progress)

    def _from_folder(self, item_ids: Sequence[str], paths: Sequence[str | None]) -> Sequence[str | None]:
        if self._folder is None:
            return paths
        by_id = {path.stem: str(path.absolute()) for path in self._folder.iterdir() if path.suffix.lower() in SUFFIXES}
        return [path or by_id.get(item_id) for item_id, path in zip(item_ids, paths, strict=True)]

    def _local(self, path: str) -> Path | str:
        """The file that a path leads to, or why there is none to take."""
        source_path = (self._source or Path()) / path
        try:
            self._looked_for.append(source_path)
            if not source_path.is_file():
                return "there is no such file"
            # A table may come from anywhere: through it, no file of this machine may get into the workspace.
            if not (self._settings.allow_outside or any(map(source_path.resolve().is_relative_to, self._roots))):
                return "the path leads out of the item file's folder (images.allow_outside takes it)"
        except (ValueError, OSError) as error:  # a NUL byte, a name that is too long
            return f"not a path: {error}"
        try:
            # By content, not by name: a path may name a key or a letter that lies beside the item file.
            with open_checked(source_path, formats=FORMATS):
                return source_path
        except UnusableImageError as error:
            return str(error)

    def _put(self, path: Path, item_id: str, *, link: bool) -> str:
        """The name comes from the item's id, which may hold anything, by a hash."""
        name = blake2b(item_id.encode(), digest_size=16).hexdigest() + path.suffix.lower()
        target = self._target / name
        if link:
            try:
                os.link(path, target)
            except OSError:  # a file system without links
                shutil.copyfile(path, target)
        else:
            shutil.copyfile(path, target)
        return f"images/{name}"


def _kind_of(reason: str) -> str:
    """A reason without the address or path that it names."""
    return re.sub(r"(?<!\S)[^\s/]*+/\S+", "the address", reason)
