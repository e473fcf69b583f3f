"""Downloading a source: streamed to a `.part` file, continued where it broke off, renamed when whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
from hashlib import file_digest
from pathlib import Path, PurePosixPath

import httpx

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.redaction import redact

TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def download(
    url: str,
    target: Path,
    sha256: str | None = None,
    progress: Progress = SILENT,
    *,
    size: int | None = None,
    transport: httpx.BaseTransport | None = None,
) -> str:
    """Download `url` to `target` unless it is there already.

    Args:
        url: https; so must be every address it redirects to.
        target: where the file goes; its folder is made.
        sha256: what the file must hash to, where that is known.
        progress: told how many bytes are there.
        size: how many bytes it must have, where that is known.
        transport: what carries the requests (default: the network).

    Returns:
        The sha256 of the file.

    Raises:
        UnreachableError: the server does not answer or refuses; what has arrived is kept for the next try.
        InputError: an address is not https, or the file is not the one the recipe names.
        OSError: the disk has not enough room for the file.
    """
    shown = redact(url)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _PartialFile(target)
        try:
            with httpx.Client(
                transport=transport,
                timeout=TIMEOUT,
                follow_redirects=True,
                # The file as it lies there: a gzip file must not be unpacked on the way.
                headers={"Accept-Encoding": "identity"},
                event_hooks={"request": [_check_https]},
            ) as client:
                _fetch(client, url, part, progress, checked=sha256 is not None)
        except httpx.InvalidURL as error:
            raise _no_address(url, error) from error
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"cannot download {shown}: {redact(_reason(error))}",
                hint="run the command again to go on, or give the file with --input FILE",
            ) from error
        part.finish(target)
    found = target.stat().st_size
    if size is not None and found != size:
        target.unlink()
        raise InputError(f"{shown}: {found:,} bytes, the recipe says {size:,}", hint="run the command again")
    with target.open("rb") as file:
        hashed = file_digest(file, "sha256").hexdigest()
    if sha256 is not None and hashed != sha256:
        target.unlink()
        raise InputError(f"{shown}: sha256 {hashed}, the recipe says {sha256}", hint="run the command again")
    return hashed


def file_name(url: str) -> str:
    """The name of the file at an address: its last part, or `download` where that names none.

    Raises:
        InputError: it is no web address.
    """
    try:
        name = PurePosixPath(httpx.URL(url).path).name
    except httpx.InvalidURL as error:
        raise _no_address(url, error) from error
    return "download" if name in ("", "..") or "\0" in name else name


def _no_address(url: str, error: Exception) -> InputError:
    return InputError(f"{redact(url)}: no web address: {error}", hint="change source.url")


class _PartialFile:
    """What has arrived of a file, and the server's mark of the version that it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._version = target.with_name(f"{target.name}.part.version")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        return self._version.read_text(encoding="utf-8") if self._version.exists() else None

    def begin(self, version: str | None) -> None:
        """Start anew, from a version with this mark."""
        self.drop()
        if version is not None:
            with atomic_write(self._version) as file:
                file.write(version.encode())

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        os.replace(self.path, target)  # noqa: PTH105 (named in the contract)
        self._version.unlink(missing_ok=True)


def _fetch(client: httpx.Client, url: str, part: _PartialFile, progress: Progress, *, checked: bool) -> None:
    """Fetch what is missing of a file, or all of it where the rest might be of another version.

    `checked`: the whole file will be compared with a known hash, so a part without the server's mark may go on.
    """
    have, version = part.size(), part.version()
    if have and version is None and not checked:
        part.drop()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and version is not None:
        # A file that has changed since comes whole instead of as a rest that does not fit.
        headers["If-Range"] = version
    with client.stream("GET", url, headers=headers) as response:
        if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            whole = response.headers.get("Content-Range") == f"bytes */{have}" and _same_version(response, version)
        elif response.raise_for_status().status_code == httpx.codes.PARTIAL_CONTENT:
            whole = bool(have) and _same_version(response, version) and _starts_at(response, have)
            if whole:
                _receive(response, part.path, have, progress)
        else:
            part.begin(_version(response))
            _receive(response, part.path, 0, progress)
            whole = True
    if not whole:
        # What is there is no beginning of this file: once more, from the start.
        if not have:
            raise httpx.RemoteProtocolError("the server sends a part of the file that was not asked for")
        part.drop()
        _fetch(client, url, part, progress, checked=checked)


def _same_version(response: httpx.Response, version: str | None) -> bool:
    """Return whether an answer is of the version that we have a part of, as far as either says."""
    return version is None or _version(response) in (None, version)


def _starts_at(response: httpx.Response, have: int) -> bool:
    """Return whether a partial answer goes on after `have` bytes, to the end of the file."""
    said = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.headers.get("Content-Range", ""))
    if said is None:
        return False
    first, last, total = map(int, said.groups())
    length = response.headers.get("Content-Length", str(total - have))
    return first == have and last == total - 1 and length == str(total - have)


def _receive(response: httpx.Response, path: Path, have: int, progress: Progress) -> None:
    """Append the body to the `have` bytes that are there."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    free = shutil.disk_usage(path.parent).free
    if length and int(length) > free:
        raise OSError(errno.ENOSPC, f"{int(length):,} bytes to come, {free:,} free", str(path))
    with path.open("ab") as file, progress.task(f"Downloading {redact(str(response.url))}", total, "bytes") as task:
        task.advance(have)
        for block in response.iter_raw():
            file.write(block)
            task.advance(len(block))
        file.flush()
        os.fsync(file.fileno())
        if total is not None and file.tell() < total:
            raise httpx.RemoteProtocolError(f"the stream broke off at byte {file.tell():,} of {total:,}")


def _version(response: httpx.Response) -> str | None:
    """The server's mark of a version that a later request can ask for; a weak mark names no bytes."""
    mark: str = response.headers.get("ETag", "")
    strong = mark if not mark.startswith("W/") else ""
    return strong or response.headers.get("Last-Modified") or None


def _check_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise InputError(
            f"{redact(str(request.url))}: only https downloads", hint="change source.url, or give the file with --input"
        )


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answers {error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__
