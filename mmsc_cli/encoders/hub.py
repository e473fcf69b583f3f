"""Files of the model hub: from its cache on this machine, else from the hub, else the ways out are named."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from mmsc_cli.errors import InputError, UnreachableError

_PROBE_SECONDS = 5.0
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def hub_file(name: str, repository: str, file: str, revision: str | None, *, local_option: str) -> Path | None:
    """A file of a repository at a revision (None: its latest), or None where the repository has no such file.

    Args:
        name: what `--encoder` was given, for messages.
        repository: owner/name.
        file: its path there.
        revision: a commit.
        local_option: the option that names a local file instead, for messages.

    Raises:
        UnreachableError: it is not on this machine and the hub does not answer.
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


def hub_snapshot(
    name: str, repository: str, revision: str | None, *, without: Sequence[str], local_option: str
) -> Path:
    """The folder of a repository at a revision (None: its latest), less the files that match `without`.

    The hub is asked first, as only it knows whether what lies here is the whole folder.

    Raises:
        InputError: the hub has no such repository.
        UnreachableError: it is not on this machine and the hub does not answer.
    """

    def fetch(*, cached: bool) -> str:
        return huggingface_hub.snapshot_download(
            repository, revision=revision, ignore_patterns=list(without), local_files_only=cached
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
    """What the hub itself does, without waiting for most of a minute where there is no network."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise unreachable(name, "HF_HUB_OFFLINE is set", local_option)
    try:
        httpx.head(huggingface_hub.constants.ENDPOINT, timeout=_PROBE_SECONDS)
    except httpx.HTTPError as error:
        raise unreachable(name, str(error), local_option) from error
    try:
        return fetch()
    except LocalEntryNotFoundError as error:  # the hub's word for a connection that failed
        raise unreachable(name, str(error), local_option) from error
    except (EntryNotFoundError, RepositoryNotFoundError):
        raise
    except Exception as error:  # its HTTP library is another from one version to the next
        if isinstance(error, OSError) and error.errno in _OWN_DISK:
            raise
        raise unreachable(name, str(error), local_option) from error


def unreachable(name: str, reason: str, local_option: str) -> UnreachableError:
    """The hub cannot be reached: says why, and the two ways out."""
    first_line = reason.strip().partition("\n")[0]
    return UnreachableError(
        f"--encoder {name}: its files are not on this machine and {huggingface_hub.constants.ENDPOINT} "
        f"cannot be reached ({first_line})",
        hint=f"give a local one ({local_option}), or use --encoder classic, which needs no download",
    )
