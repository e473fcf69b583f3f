"""Shares as tasks of Ray Core, on the machines of a cluster.

All machines see the files under the same paths, and have mmsc and its extras installed.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from mmsc_cli.errors import InputError, NotEnoughMemoryError, UnreachableError
from mmsc_cli.runtime.installation import extra_command
from mmsc_cli.runtime.shares.runner import ATTEMPTS, Result
from mmsc_cli.runtime.shares.shards import Shard

_GREETING_SECONDS = 10.0
_LOG = logging.getLogger(__name__)
LOCAL = "local"  # a cluster of this machine alone, started for this run
_ADDRESS = re.compile(r"(?:ray://)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


def is_address(text: str) -> bool:
    """Whether `text` names a cluster: HOST:PORT, or that of a Ray client, ray://HOST:PORT."""
    return _ADDRESS.fullmatch(text) is not None


def with_address(arguments: Sequence[str]) -> list[str]:
    """Return the words of a command line in which a `--ray` that no address follows has LOCAL as its value."""
    following = [*arguments[1:], ""]
    return [
        f"{word}={LOCAL}" if word == "--ray" and not is_address(after) else word
        for word, after in zip(arguments, following, strict=True)
    ]


class RayTasks:
    """Works in tasks of a Ray cluster; Ray begins a task again elsewhere when its process or machine dies."""

    def __init__(self, address: str = LOCAL, number: int | None = None, *, gpus: bool = False) -> None:
        """Take an address, which is the only cluster that is joined.

        Args:
            address: of a cluster (see `is_address`), or LOCAL.
            number: of tasks; None: one for each GPU of the cluster if `gpus`, else one for each of its CPUs.
            gpus: whether a task computes on a GPU, where the cluster has some.

        Raises:
            InputError: it is no address, or Ray is not installed.
        """
        if address != LOCAL and not is_address(address):
            hint = "name the cluster as HOST:PORT, or leave the address out for one on this machine"
            raise InputError(f"--ray {address}: no address of a cluster", hint=hint)
        if find_spec("ray") is None:
            raise InputError("--ray needs the extra ray, which is not installed", hint=extra_command("ray"))
        self._address, self._number, self._gpus = address, number, gpus

    def run(self, share: Callable[[Shard], Result]) -> dict[Shard, Result]:
        """See `Runner`.

        Raises:
            UnreachableError: the cluster does not answer, or goes away.
        """
        with _joined(self._address) as ray:
            available = ray.cluster_resources()
            gpus = int(available.get("GPU", 0)) if self._gpus else 0
            shards = Shard(1, self._number or gpus or max(1, int(available.get("CPU", 1)))).siblings()
            _LOG.info("ray: %d tasks on %d nodes", len(shards), sum(node["Alive"] for node in ray.nodes()))
            task = ray.remote(num_cpus=1, num_gpus=min(1, gpus), max_retries=ATTEMPTS - 1)(share_of)
            running = [task.remote(share, shard) for shard in shards]
            try:
                return dict(zip(shards, ray.get(running), strict=True))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                raise NotEnoughMemoryError(
                    f"--ray {self._address}: a task was killed {ATTEMPTS} times, most likely for lack of memory",
                    hint="what is finished is kept; try with fewer tasks at a time: --workers N",
                ) from error
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise _unreachable(self._address) from error


def share_of(share: Callable[[Shard], Result], shard: Shard) -> Result:
    """What a task does: Ray takes functions by name, and no partials."""
    return share(shard)


@contextmanager
def _joined(address: str) -> Iterator[Any]:
    """The module `ray`, connected to one cluster until the end; one that was connected before stays so."""
    if address != LOCAL:
        _greet(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # For the processes of a cluster that is started here: a json.py in the current folder must not be imported.
    os.environ["PYTHONSAFEPATH"] = "1"
    import ray  # noqa: PLC0415  an extra

    if ray.is_initialized():  # of a caller in Python
        yield ray
        return
    try:
        ray.init(
            # `local` starts one whatever RAY_ADDRESS says.
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise _unreachable(address) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _greet(address: str) -> None:
    """Refuse a cluster where nobody listens at once; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _GREETING_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address) from error


def _unreachable(address: str) -> UnreachableError:
    return UnreachableError(
        f"--ray {address}: the cluster does not answer, refuses us, or went away",
        hint="`ray status` says more, with the same token; what is finished is kept, and the same command continues",
    )
