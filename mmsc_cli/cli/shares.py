"""Options that say where the shares of a work are worked on."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.shares.runner import OneShard

if TYPE_CHECKING:
    from mmsc_cli.cli.options import Session
    from mmsc_cli.runtime.machine.device import DeviceChooser
    from mmsc_cli.runtime.shares.runner import Runner
    from mmsc_cli.runtime.shares.shards import Shard

PANEL = "Where it runs"


@dataclass(frozen=True)
class SharesOptions:
    """Processes here, or a cluster."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Work in N processes of this machine; with --ray, in N tasks.",
            rich_help_panel=PANEL,
        ),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[HOST:PORT]",
            help="Work in tasks of this Ray cluster; without an address, of one that is started here (extra `ray`).",
            rich_help_panel=PANEL,
        ),
    ] = None

    @property
    def elsewhere(self) -> bool:
        """Whether other processes do the work."""
        return bool(self.ray) or (self.workers or 1) > 1

    def device(self, session: Session) -> DeviceChooser:
        """Chooses the device; where other processes do the work, it can be sent to them."""
        if not self.elsewhere:
            return session.device
        from mmsc_cli.runtime.machine.device import named_device  # noqa: PLC0415  as the others

        return functools.partial(named_device, session.device_name)

    def runner(self, shard: Shard | None = None, *, gpus: bool = False) -> Runner | None:
        """What runs the shares; None: this process does all.

        Args:
            shard: the only one that this process works on.
            gpus: whether a share computes on a GPU where there is one.

        Raises:
            InputError: the options exclude one another or make no sense, or Ray is not installed.
        """
        if shard is not None:
            if self.elsewhere:
                raise InputError("--shard is one share of several", hint="leave --workers and --ray out")
            return OneShard(shard)
        if self.ray is not None:
            from mmsc_cli.runtime.shares.on_ray import RayTasks  # noqa: PLC0415  of few commands

            return RayTasks(self.ray, self.workers, gpus=gpus)
        if self.workers is not None and self.workers > 1:
            from mmsc_cli.runtime.shares.processes import Processes  # noqa: PLC0415  of few commands

            return Processes(self.workers)
        return None
