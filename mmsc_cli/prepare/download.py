"""Downloading a source: streamed to a `.part` file, continued where it broke off, renamed when whole."""

from __future__ import annotations

import os
from hashlib import file_digest
from pathlib import Path

import httpx

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.progress import SILENT, Progress

BLOCK = 1 << 20
TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def download(url: str, target: Path, sha256: str | None = None, progress: Progress = SILENT) -> str:
    """Download `url` to `target` unless it is there already.

    Returns:
        The sha256 of the file.

    Raises:
        UnreachableError: the server does not answer or refuses; what has arrived is kept for the next try.
        InputError: the address is not https, or the file is not the one the recipe names.
    """
    if httpx.URL(url).scheme != "https":
        raise InputError(f"{url}: only https downloads", hint="change source.url, or give the file with --input")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        try:
            _fetch(url, part, progress)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"cannot download {url}: {error}", hint="try again later, or give the file with --input FILE"
            ) from error
        os.replace(part, target)  # noqa: PTH105 (named in the contract)
    with target.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        target.unlink()
        raise InputError(f"{url}: sha256 {found}, the recipe says {sha256}", hint="run the command again")
    return found


def _fetch(url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
        response.raise_for_status()
        continues = response.status_code == httpx.codes.PARTIAL_CONTENT
        length = response.headers.get("Content-Length")
        total = int(length) + (have if continues else 0) if length else None
        with (
            part.open("ab" if continues else "wb") as file,
            progress.task(f"Downloading {url}", total) as task,
        ):
            task.advance(have if continues else 0)
            for block in response.iter_bytes(BLOCK):
                file.write(block)
                task.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
