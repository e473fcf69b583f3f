"""Objects in buckets, through pyarrow.fs: find, fetch and put them. Keys come from the environment alone."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.places.address import ObjectAddress
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import pyarrow.fs as pafs

_CONNECT_SECONDS = 10
_SILENT_SECONDS = 60
_ATTEMPTS = 3
_PIECE_BYTES = 8 << 20
# How AWS and Google name what comes and goes, and what a person must mend.
_UNREACHABLE = re.compile(
    r"NETWORK_CONNECTION|REQUEST_TIMEOUT|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|curlCode|"
    r"UNAVAILABLE|DEADLINE_EXCEEDED|CURL error|HTTP response code 5\d\d"
)
_NO_PERMISSION = re.compile(r"ACCESS_DENIED|FORBIDDEN|PERMISSION_DENIED|UNAUTHENTICATED|response code 40[13]")
_NO_CREDENTIALS = re.compile(
    r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|EXPIRED_TOKEN|EXPIRED"
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|specified bucket does not exist")
_IDENTITY = {
    "s3": "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and what the bucket's policy allows them",
    "gs": "look at GOOGLE_APPLICATION_CREDENTIALS and what the bucket allows that account",
}


@dataclass(frozen=True)
class StoredObject:
    """An object that is there: its size in bytes and its time of change in nanoseconds tell it from an older one."""

    address: ObjectAddress
    size: int
    mtime_ns: int


def find_objects(address: ObjectAddress) -> list[StoredObject]:
    """The object of an address, all in a folder, or those whose keys match a pattern (`*`, `?`, `[...]`, `**/`).

    Raises:
        InputError: there is none, no such bucket, or no permission.
        UnreachableError: the store does not answer.
    """
    from pyarrow.fs import FileSelector  # noqa: PLC0415  slow to import

    store = _store(address.scheme, address.bucket)
    found: list[StoredObject] = []
    with _understood(address):
        # A key may hold the marks of a pattern.
        about = None if address.is_folder else store.get_file_info(address.path)
        if about is not None and about.is_file:
            return [_stored(address, about)]
        if address.is_folder or address.is_pattern:
            deep = address.is_folder or "/" in address.key.removeprefix(address.fixed.key)
            for about in store.get_file_info(FileSelector(address.fixed.path.rstrip("/"), recursive=deep)):
                key = about.path.partition("/")[2]
                if about.is_file and is_meant(key, address):
                    found.append(_stored(ObjectAddress(address.scheme, address.bucket, key), about))
    if not found:
        raise InputError(
            f"no file at {address}", hint="give the key of an object, a folder that ends with /, or a pattern"
        )
    return sorted(found, key=lambda stored: stored.address.key.split("/"))


def _stored(address: ObjectAddress, about: pafs.FileInfo) -> StoredObject:
    return StoredObject(address, about.size, about.mtime_ns or 0)


def is_meant(key: str, address: ObjectAddress) -> bool:
    """Whether an address means the object of a key in its bucket."""
    if address.is_folder:
        return key.startswith(address.key)
    return key == address.key or _fits(key.split("/"), address.key.split("/"))


def _fits(parts: Sequence[str], steps: Sequence[str]) -> bool:
    """Whether the parts of a key match the steps of a pattern, of which `**` stands for any number of parts."""
    if not steps:
        return not parts
    if steps[0] == "**":
        return any(_fits(parts[start:], steps[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], steps[0]) and _fits(parts[1:], steps[1:])


def fetch_object(stored: StoredObject, target: Path, progress: Progress = SILENT) -> None:
    """Copy an object into a file, whole or not at all; the file gets the object's time of change.

    Raises:
        InputError: it may not be read, or was replaced meanwhile.
        UnreachableError: the store does not answer, or the connection was lost.
        OSError: the disk is full.
    """
    address = stored.address
    store = _store(address.scheme, address.bucket)
    with atomic_write(target) as file, progress.task(f"Reading {address}", stored.size, "bytes") as task:
        with _understood(address):
            before = _stored(address, store.get_file_info(address.path))
            source = store.open_input_stream(address.path, compression=None)
        size = 0
        while True:
            with _understood(address):
                piece = source.read(_PIECE_BYTES)
            if not piece:
                break
            file.write(piece)
            size += len(piece)
            task.advance(len(piece))
        with _understood(address):
            after = _stored(address, store.get_file_info(address.path))
        if not before.size == size == stored.size or before != after:
            raise InputError(f"{address} was replaced while it was read", hint="run the same command again")
    os.utime(target, ns=(stored.mtime_ns, stored.mtime_ns))


def put_object(source: Path, address: ObjectAddress) -> None:
    """Copy a file into a bucket: whoever reads the key gets the old object or the whole new one.

    Raises:
        InputError: there is no such bucket, or no permission.
        UnreachableError: the store does not answer, or the connection was lost.
    """
    import pyarrow.fs as pafs  # noqa: PLC0415  slow to import

    if address.is_folder:
        raise InputError(
            f"{address}: a bucket or a folder", hint=f"name an object, such as {address}neighbours.parquet"
        )
    store = _store(address.scheme, address.bucket)
    with _understood(address):
        # In one call: a stream of Python's that an interrupt ends would be closed, and with it the upload completed.
        pafs.copy_files(
            str(source.absolute()),
            address.path,
            source_filesystem=pafs.LocalFileSystem(),
            destination_filesystem=store,
            use_threads=False,
        )


def _store(scheme: str, bucket: str) -> pafs.FileSystem:
    if scheme == "gs":
        return _open_gs()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        region = _region(bucket)
    return _open_s3(endpoint, region)


@functools.cache
def _open_s3(endpoint: str | None, region: str | None) -> pafs.FileSystem:
    import pyarrow.fs as pafs  # noqa: PLC0415  slow to import

    return pafs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_SILENT_SECONDS,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


@functools.cache
def _open_gs() -> pafs.FileSystem:
    import pyarrow.fs as pafs  # noqa: PLC0415  slow to import

    return pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=_SILENT_SECONDS))


@functools.cache
def _region(bucket: str) -> str:
    import pyarrow.fs as pafs  # noqa: PLC0415  slow to import

    with _understood(ObjectAddress("s3", bucket, "")):
        region: str = pafs.resolve_s3_region(bucket)
    return region


@contextmanager
def _understood(address: ObjectAddress) -> Iterator[None]:
    """The errors of a store as ours."""
    import pyarrow as pa  # noqa: PLC0415  slow to import

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"no file at {address}", hint="look at the names of the bucket's objects") from error
    except (OSError, pa.ArrowException) as error:
        raise _described(address, " ".join(str(error).split())) from error


def _described(address: ObjectAddress, text: str) -> InputError | UnreachableError:
    if _NO_BUCKET.search(text):
        return InputError(f"{address}: there is no bucket {address.bucket}", hint="look at its name and region")
    if _NO_CREDENTIALS.search(text):
        return InputError(
            f"{address}: the store does not know the key, or the key is too old", hint=_IDENTITY[address.scheme]
        )
    if _NO_PERMISSION.search(text):
        return InputError(f"{address}: no permission, or no such object", hint=_IDENTITY[address.scheme])
    reason = re.sub(r"^When .*?: (?=AWS Error|google)|\(Request ID: .*?\)|error_info=.*$", "", text).strip()
    if _UNREACHABLE.search(text):
        return UnreachableError(
            f"{address}: the store does not answer: {reason}",
            hint="look at the network and AWS_ENDPOINT_URL, and run the same command again"
            if address.scheme == "s3"
            else "look at the network, and run the same command again",
        )
    return InputError(f"{address}: {reason}", hint=_IDENTITY[address.scheme])
