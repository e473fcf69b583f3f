"""Files of the model hub, from its cache on this machine or else from the hub."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from mmsc_cli.errors import InputError, UnreachableError

_PROBE_SECONDS = 5.0
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def hub_file(name: str, repository: str, file: str, revision: str | None, *, local_option: str) -> Path | None:
    """Return the path of a file of a repository; None if the repository has no such file.

    Args:
        name: the value of `--encoder`, for messages.
        repository: OWNER/NAME.
        file: its path in the repository.
        revision: a commit; None: the latest.
        local_option: the option that takes a local file instead, for messages.

    Raises:
        UnreachableError: the file is not on this machine and the hub does not answer.
    """
    cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(
            _download(name, local_option, lambda: huggingface_hub.hf_hub_download(repository, file, revision=revision))
        )
    except EntryNotFoundError:
        return None


def hub_snapshot(name: str, repository: str, revision: str | None, *, only: Sequence[str], local_option: str) -> Path:
    """Return the folder of a repository at a commit (None: the latest), with the files that match `only`.

    The hub is asked first: only it knows whether the folder on this machine is complete.

    Raises:
        InputError: the hub has no such repository.
        UnreachableError: the folder is not on this machine and the hub does not answer.
    """

    def fetch(*, cached: bool) -> str:
        return huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=list(only), local_files_only=cached
        )

    try:
        return Path(_download(name, local_option, lambda: fetch(cached=False)))
    except RepositoryNotFoundError:
        raise InputError(f"--encoder {name}: the hub has no {repository}", hint="check the name") from None
    except UnreachableError:
        try:
            return Path(fetch(cached=True))
        except LocalEntryNotFoundError:
            pass
        raise


def _download(name: str, local_option: str, fetch: Callable[[], str]) -> str:
    """Call `fetch`, after a quick probe: the hub's own client waits most of a minute where there is no network."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise _unreachable(name, "HF_HUB_OFFLINE is set", local_option)
    try:
        httpx.head(huggingface_hub.constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except httpx.HTTPError as error:
        raise _unreachable(name, str(error), local_option) from error
    try:
        return fetch()
    except LocalEntryNotFoundError as error:  # how the hub's client reports a failed connection
        raise _unreachable(name, str(error), local_option) from error
    except (EntryNotFoundError, RepositoryNotFoundError):
        raise
    except Exception as error:  # its HTTP library depends on its version
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise _unreachable(name, str(error), local_option) from error


def _unreachable(name: str, reason: str, local_option: str) -> UnreachableError:
    """Return the error that says why the hub cannot be reached, and what to use instead."""
    first_line = reason.strip().partition("\n")[0]
    return UnreachableError(
        f"--encoder {name}: its files are not on this machine and {huggingface_hub.constants.ENDPOINT} "
        f"cannot be reached ({first_line})",
        hint=f"use local files ({local_option}), or --encoder classic, which needs no download",
    )
