"""Fetching images by address: some at once, few per host, again where it may help, never twice what is here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from mmsc_cli.files.images import SUFFIXES, UnusableImageError, image_suffix
from mmsc_cli.files.settings import DownloadSettings
from mmsc_cli.files.web.public_network import PrivateAddressError, PublicTransport
from mmsc_cli.runtime.atomic import atomic_write
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.version import __version__

_LONGEST_WAIT = 30.0
_REDIRECTS = 5
# A host that fails so often in the same way, one time after the other, is not asked again.
MOST_FAILURES = 5
_LACKING = ("answers 404", "answers 410")
# Seconds of attempts that time out, which one host may cost, with all its images and retries.
_PATIENCE = 60.0
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LOG = logging.getLogger(__name__)


class _PassingError(Exception):
    """What may go better the next time; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download_images(
    urls: Sequence[str], cache: Path, settings: DownloadSettings, progress: Progress = SILENT
) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetch what is not in the cache yet; interrupted at any moment, the next call goes on from there.

    Args:
        urls: addresses, with repetitions; http is turned into https unless `settings.allow_http`.
        cache: a folder, made if need be; its files are named by a hash of the address.
        settings: the limits.
        progress: told of every image.

    Returns:
        The file of each address that could be fetched, and the reason for each other one.
    """
    cache.mkdir(parents=True, exist_ok=True)
    here = {path.stem: path for path in cache.iterdir() if path.suffix in SUFFIXES.values()}
    names = {url: blake2b(_fetched_url(url, settings).encode(), digest_size=16).hexdigest() for url in urls}
    # In the order of their hashes, which spreads the hosts.
    missing = sorted((url for url in names if names[url] not in here), key=names.__getitem__)
    reasons: dict[str, str] = {}
    if missing:
        _LOG.info("images: %d to fetch, %d here already", len(missing), len(names) - len(missing))
        run = _Downloads(cache, names, settings)
        asyncio.run(run.fetch_all(missing, progress))
        here |= run.here
        reasons = run.reasons
    return {url: here[name] for url, name in names.items() if name in here}, reasons


@dataclass
class _HostFailures:
    """How often a host has failed in a row, and how. An image that it lacks says nothing of the others."""

    reason: str = ""
    in_a_row: int = 0

    def note(self, reason: str) -> None:
        if not reason.endswith(_LACKING):
            self.in_a_row = self.in_a_row + 1 if reason == self.reason else 1
            self.reason = reason


class _Downloads:
    def __init__(self, cache: Path, names: dict[str, str], settings: DownloadSettings) -> None:
        self.here: dict[str, Path] = {}
        self.reasons: dict[str, str] = {}
        self._cache = cache
        self._names = names
        self._settings = settings
        self._failures: defaultdict[str, _HostFailures] = defaultdict(_HostFailures)
        self._hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(settings.per_host))
        self._wasted: defaultdict[str, float] = defaultdict(float)

    async def fetch_all(self, urls: Sequence[str], progress: Progress) -> None:
        """Fetch all, `settings.concurrency` at once."""
        settings = self._settings
        transport = PublicTransport(allow_private=settings.allow_private, connections=settings.concurrency)
        async with httpx.AsyncClient(
            transport=transport,
            timeout=settings.timeout,
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": f"mmsc/{__version__}"},
            event_hooks={"request": [self._check_address]},
        ) as client:
            queue = iter(urls)
            with progress.task("Fetching images", len(urls)) as task:

                async def work(queue: Iterator[str]) -> None:
                    for url in queue:
                        await self._fetch(client, url)
                        task.advance()

                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(settings.concurrency, len(urls))):
                            group.create_task(work(queue))
                except ExceptionGroup as errors:  # the disk is full, say: one of many is enough to tell
                    raise errors.exceptions[0] from errors

    async def _fetch(self, client: httpx.AsyncClient, url: str) -> None:
        settings = self._settings
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(1 + settings.retries),
            wait=_wait(settings.backoff),
            reraise=True,
        )
        host = ""
        try:
            host = urlsplit(url).hostname or ""
            failures = self._failures[host]
            if failures.in_a_row >= MOST_FAILURES:
                self.reasons[url] = f"not fetched: {host} failed {MOST_FAILURES} times in a row: {failures.reason}"
                return
            content: bytes = await retrying(self._get, client, _fetched_url(url, settings), host)
            self.here[self._names[url]] = await asyncio.to_thread(self._keep, content, self._names[url])
            failures.in_a_row = 0
        # An OverflowError is what becomes of a port that is none.
        except (UnusableImageError, _PassingError, httpx.InvalidURL, ValueError, OverflowError) as error:
            self.reasons[url] = redact(str(error))
            self._failures[host].note(self.reasons[url])

    def _keep(self, content: bytes, name: str) -> Path:
        path = self._cache / f"{name}{image_suffix(content, self._settings.max_pixels)}"
        with atomic_write(path) as file:
            file.write(content)
        return path

    async def _get(self, client: httpx.AsyncClient, url: str, host: str) -> bytes:
        """The body, once its host has a place for us.

        Raises:
            UnusableImageError: the server refuses, or sends too much.
            _PassingError: the server or the network may do better the next time.
        """
        try:
            async with self._hosts[host]:
                return await self._answer(client, url, host)
        except (PrivateAddressError, httpx.TooManyRedirects) as error:
            raise UnusableImageError(f"not fetched: {error}") from error
        except (TimeoutError, httpx.TransportError) as error:
            raise _PassingError(str(error) or type(error).__name__) from error

    async def _answer(self, client: httpx.AsyncClient, url: str, host: str) -> bytes:
        # The client's timeout is for each byte; a host that sends one now and then would never meet it.
        left = _PATIENCE - self._wasted[host]
        if left <= 0:
            raise UnusableImageError(f"not fetched: its host took more than {_PATIENCE:.0f} s without an image")
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(left, 10 * self._settings.timeout)), client.stream("GET", url) as response:
                if response.status_code in _AGAIN:
                    raise _PassingError(f"the server answers {response.status_code}", _asked_wait(response))
                if not response.is_success:
                    raise UnusableImageError(f"the server answers {response.status_code}")
                return await self._body(response)
        except (TimeoutError, httpx.TimeoutException):
            self._wasted[host] += time.monotonic() - started
            raise

    async def _body(self, response: httpx.Response) -> bytes:
        most = self._settings.max_bytes
        content = bytearray()
        async for part in response.aiter_raw():
            content += part
            if len(content) > most:
                raise UnusableImageError(f"more than {most:,} bytes")
        return bytes(content)

    async def _check_address(self, request: httpx.Request) -> None:
        """Of the first address and of every one it redirects to."""
        url = request.url
        if url.scheme != "https" and not (self._settings.allow_http and url.scheme == "http"):
            raise UnusableImageError(f"not fetched: {url} is not https")
        if url.userinfo:
            raise UnusableImageError(f"not fetched: {url} has a user or a password in it")


def _fetched_url(url: str, settings: DownloadSettings) -> str:
    """The address that is asked: the images of old catalogues have http addresses, and are served over https too."""
    return "https://" + url[len("http://") :] if url.startswith("http://") and not settings.allow_http else url


def _asked_wait(response: httpx.Response) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0


def _wait(backoff: float) -> Callable[[RetryCallState], float]:
    """Exponential back-off with jitter, but never less than the server asks for."""
    exponential = wait_random_exponential(multiplier=backoff, max=_LONGEST_WAIT)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(error.wait if isinstance(error, _PassingError) else 0.0, exponential(state))

    return wait
