"""Downloading a source: streamed to a `.part` file, continued where it broke off, renamed when whole."""

from __future__ import annotations

import os
from hashlib import file_digest
from pathlib import Path

import httpx

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.progress import SILENT, Progress

TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def download(
    url: str,
    target: Path,
    sha256: str | None = None,
    progress: Progress = SILENT,
    *,
    transport: httpx.BaseTransport | None = None,
) -> str:
    """Download `url` to `target` unless it is there already.

    Args:
        url: https; so must be every address it redirects to.
        target: where the file goes; its folder is made.
        sha256: what the file must hash to, where that is known.
        progress: told how many bytes are there.
        transport: what carries the requests (default: the network).

    Returns:
        The sha256 of the file.

    Raises:
        UnreachableError: the server does not answer or refuses; what has arrived is kept for the next try.
        InputError: an address is not https, or the file is not the one the recipe names.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        try:
            with httpx.Client(
                transport=transport,
                timeout=TIMEOUT,
                follow_redirects=True,
                # The file as it lies there: a gzip file must not be unpacked on the way.
                headers={"Accept-Encoding": "identity"},
                event_hooks={"request": [_check_https]},
            ) as client:
                _fetch(client, url, part, progress)
        except httpx.InvalidURL as error:
            raise InputError(f"{url}: no web address: {error}", hint="change source.url") from error
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"cannot download {url}: {_reason(error)}", hint="try again later, or give the file with --input FILE"
            ) from error
        os.replace(part, target)  # noqa: PTH105 (named in the contract)
    with target.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        target.unlink()
        raise InputError(f"{url}: sha256 {found}, the recipe says {sha256}", hint="run the command again")
    return found


def _fetch(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers) as response:
        if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            whole = response.headers.get("Content-Range") == f"bytes */{have}"
        else:
            response.raise_for_status()
            _receive(response, part, have if response.status_code == httpx.codes.PARTIAL_CONTENT else 0, progress)
            whole = True
    if not whole:
        # What is there is no beginning of this file: once more, from the start.
        part.unlink()
        _fetch(client, url, part, progress)


def _receive(response: httpx.Response, part: Path, have: int, progress: Progress) -> None:
    """Append the body to the first `have` bytes of `part`."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with part.open("ab" if have else "wb") as file, progress.task(f"Downloading {response.url}", total) as task:
        task.advance(have)
        for block in response.iter_raw():
            file.write(block)
            task.advance(len(block))
        file.flush()
        os.fsync(file.fileno())
        if total is not None and file.tell() < total:
            raise httpx.RemoteProtocolError(f"the stream broke off at byte {file.tell():,} of {total:,}")


def _check_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise InputError(
            f"{request.url}: only https downloads", hint="change source.url, or give the file with --input"
        )


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answers {error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__
