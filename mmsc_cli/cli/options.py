"""What every command has in common: workspace, settings, output, device, seed."""

from __future__ import annotations

import functools
import inspect
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsc_cli.cli.failures import debugging
from mmsc_cli.cli.output import Output
from mmsc_cli.errors import WorkspaceError
from mmsc_cli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

    from mmsc_cli.recipe.recipe import Recipe
    from mmsc_cli.workspace.workspace import Workspace


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class DeviceName(StrEnum):
    """Values of --device."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@dataclass(frozen=True)
class Session:
    """One command's call, less its own options."""

    directory: Path
    overrides: list[str]
    out: Output
    device_name: DeviceName
    seed: int | None

    @property
    def workspace(self) -> Workspace:
        """The workspace (the import is late: it brings pydantic)."""
        from mmsc_cli.workspace.workspace import Workspace

        return Workspace(self.directory)

    @property
    def progress(self) -> Progress:
        """Rich on a terminal, silence otherwise."""
        if not self.out.shows_progress():
            return SILENT
        from mmsc_cli.cli.progress_bars import RichProgress

        return RichProgress(self.out.console())

    def recipe(self, flags: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe that `prepare` recorded, with --set, --seed and the command's own flags on top.

        Raises:
            WorkspaceError: nothing was prepared here.
        """
        from mmsc_cli.recipe.loading import change_recipe

        record = self.workspace.manifest().stages.get("prepare")
        if record is None:
            raise WorkspaceError(
                f"nothing is prepared in {self.directory}",
                hint="run `mmsc prepare demo`, or see `mmsc recipes list`",
            )
        return change_recipe(record.config["recipe"], self.overrides, self.values(flags))

    def values(self, flags: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Settings given as flags, by dotted key; flags that were not given are left out."""
        given = {"seed": self.seed, **(flags or {})}
        return {key: value for key, value in given.items() if value is not None}

    def device(self) -> torch.device:
        """The device, chosen when first asked for; the reason goes to stderr."""
        return self._device

    @functools.cached_property
    def _device(self) -> torch.device:
        from mmsc_cli.runtime.device import choose_device

        choice = choose_device(self.device_name.value)
        self.out.note(f"device: {choice.device.type} ({choice.reason})")
        return choice.device

    def finish(self, stage: str, counts: Mapping[str, Any], started: float, summary: str) -> None:
        """Report a stage that is done."""
        seconds = round(time.monotonic() - started, 3)
        value = {"stage": stage, "workspace": str(self.directory), "seconds": seconds, "counts": dict(counts)}
        self.out.result(value, f"{stage}: {summary} ({seconds:.1f} s)")


InputsOption = Annotated[
    list[Path] | None,
    typer.Option("--input", metavar="PATH", help="A local file in place of the download. Repeatable."),
]

_COMMON: dict[str, tuple[Any, Any]] = {
    "workspace": (
        Annotated[
            Path, typer.Option("--workspace", "-w", metavar="DIR", envvar="MMSC_WORKSPACE", help="The workspace.")
        ],
        Path("workspace"),
    ),
    "overrides": (
        Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="A recipe value, dotted: train.epochs=5. Repeatable."),
        ],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="One JSON result object on stdout.")], False),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Errors only on stderr.")], False),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="More on stderr.")], False),
    "device": (
        Annotated[
            DeviceName,
            typer.Option(
                "--device", metavar="auto|cpu|cuda|mps", envvar="MMSC_DEVICE", help="Where to compute; auto says why."
            ),
        ],
        DeviceName.auto,
    ),
    "seed": (
        Annotated[
            int | None,
            typer.Option(
                "--seed", min=0, metavar="N", envvar="MMSC_SEED", help="Seed of all random choices (else the recipe's)."
            ),
        ],
        None,
    ),
}


def command(app: typer.Typer, name: str, *examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command; its function takes a Session first, and every common option is added for it."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _COMMON.items()
        ]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common

        @functools.wraps(function)
        def call(**values: Any) -> None:
            if not (values["verbose"] or debugging()):
                # Libraries warn their callers of deprecations and betas; a user of this command can mend none.
                warnings.simplefilter("ignore")
            session = Session(
                directory=values.pop("workspace"),
                overrides=values.pop("overrides") or [],
                out=Output(values.pop("as_json"), values.pop("quiet"), values.pop("verbose")),
                device_name=values.pop("device"),
                seed=values.pop("seed"),
            )
            function(session, **values)

        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del call.__wrapped__
        # \b keeps the lines as they are.
        epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
        app.command(name, epilog=epilog, context_settings=HELP_OPTIONS)(call)
        return call

    return register
