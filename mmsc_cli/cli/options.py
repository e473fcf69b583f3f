"""How a command gets its options: those that several commands share, and its own, one by one or as a dataclass."""

from __future__ import annotations

import functools
import inspect
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from mmsc_cli.cli.failures import debugging
from mmsc_cli.cli.log_lines import VARIABLE, LogFormat
from mmsc_cli.cli.output import Output, has_styles
from mmsc_cli.errors import MmscError, WorkspaceError, in_workspace
from mmsc_cli.runtime.machine.device import DeviceRequest
from mmsc_cli.runtime.progress import SILENT, Progress
from mmsc_cli.workspace.strange_folder import refuse_strange_folder

if TYPE_CHECKING:
    import torch

    from mmsc_cli.recipe.recipe import Recipe
    from mmsc_cli.workspace.workspace import Workspace


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
COMMON = "Common"  # the panel of the help that holds what several commands share


@dataclass(frozen=True)
class Session:
    """One command's call, less its own options.

    Attributes:
        directory: the workspace.
        overrides: what --set says.
        out: where output goes.
        device_name: what --device says.
        seed: what --seed says.
        typed: the options on the command line and their values, per panel of the help.
    """

    out: Output
    directory: Path = Path("workspace")
    overrides: list[str] = field(default_factory=list)
    device_name: DeviceRequest = "auto"
    seed: int | None = None
    typed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        """The workspace."""
        from mmsc_cli.workspace.workspace import Workspace  # noqa: PLC0415  brings pydantic

        return Workspace(self.directory)

    @property
    def progress(self) -> Progress:
        """Rich on a terminal, silence otherwise."""
        if not self.out.shows_progress():
            return SILENT
        from mmsc_cli.cli.progress_bars import RichProgress  # noqa: PLC0415  brings Rich

        return RichProgress(self.out.console())

    def recipe(self, flags: Mapping[str, Any] | None = None) -> Recipe:
        """The recipe that `prepare` recorded, with --set, --seed and the command's own flags on top.

        Raises:
            WorkspaceError: nothing was prepared here.
        """
        from mmsc_cli.recipe.loading import change_recipe  # noqa: PLC0415  brings pydantic

        record = self.workspace.manifest().stages.get("prepare")
        if record is None:
            refuse_strange_folder(self.directory)
            raise WorkspaceError(
                f"nothing is prepared in {self.directory}",
                hint="run `mmsc prepare SOURCE`; `mmsc recipes list` shows the sources that ship with mmsc",
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
        from mmsc_cli.runtime.machine.device import choose_device  # noqa: PLC0415  brings torch

        choice = choose_device(self.device_name)
        self.out.note(f"device: {choice.device.type} ({choice.reason})")
        return choice.device

    def finish(self, stage: str, counts: Mapping[str, Any], started: float, summary: str) -> None:
        """Report a stage that is done."""
        seconds = round(time.monotonic() - started, 3)
        value = {"stage": stage, "workspace": str(self.directory), "seconds": seconds, "counts": dict(counts)}
        self.out.result(value, f"{stage}: {summary} ({seconds:.1f} s)")


InputsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="PATH", help="A file, or an object (s3://, gs://), in place of the download. Repeatable."
    ),
]


@dataclass(frozen=True)
class _SharedOptions:
    """The options that several commands have; each command names those that mean something to it."""

    workspace: Annotated[
        Path,
        typer.Option(
            "--workspace", "-w", metavar="DIR", envvar="MMSC_WORKSPACE", help="The workspace.", rich_help_panel=COMMON
        ),
    ] = Path("workspace")
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the recipe: train.epochs=5. Repeatable; `mmsc recipes settings` lists them.",
            rich_help_panel=COMMON,
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object to stdout.", rich_help_panel=COMMON)
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="On stderr only warnings and errors; stdout stays.", rich_help_panel=COMMON),
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More details on stderr.", rich_help_panel=COMMON)
    ] = False
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            metavar="text|json",
            envvar=VARIABLE,
            help="Lines on stderr for a log: each with its time (UTC), and no progress bars; json is an object a line.",
            rich_help_panel=COMMON,
        ),
    ] = None
    device: Annotated[
        DeviceRequest,
        typer.Option(
            "--device",
            metavar="auto|cpu|cuda|mps",
            envvar="MMSC_DEVICE",
            help="Where to compute; auto chooses, and reports why.",
            rich_help_panel=COMMON,
        ),
    ] = "auto"
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            envvar="MMSC_SEED",
            help="Seed of all random choices; default: the recipe's.",
            rich_help_panel=COMMON,
        ),
    ] = None


SHARED = tuple(option.name for option in fields(_SharedOptions))


class PanelledHelp(TyperCommand):
    """Help in groups: Rich panels on a terminal, plain text elsewhere (and without loading Rich)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; `--ray` may stand without an address, which Typer has no option for."""
        if "--ray" in args:
            from mmsc_cli.runtime.shares.on_ray import with_address  # noqa: PLC0415  of few commands

            args = with_address(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        self.get_help_option(ctx).rich_help_panel = COMMON  # type: ignore[union-attr]
        if not (sys.stdout.isatty() and has_styles()):
            self.rich_markup_mode = None
            super().format_help(ctx, formatter)
            return
        self.rich_markup_mode = "markdown"
        examples, self.epilog = self.epilog, None  # Rich would join their lines
        super().format_help(ctx, formatter)
        self.epilog = examples
        self.format_epilog(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options as plain text, group by group."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                panels.setdefault(panel_of(parameter), []).append(record)
        for name, records in panels.items():
            with formatter.section(name):
                formatter.write_dl(records)


class PlainHelp(TyperGroup):
    """Help of the commands of a group: Rich panels on a terminal, plain text elsewhere."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        self.rich_markup_mode = "markdown" if sys.stdout.isatty() and has_styles() else None
        super().format_help(ctx, formatter)


def panel_of(parameter: Any) -> str:
    """The group of the help that lists a parameter."""
    return parameter.rich_help_panel or ("Arguments" if parameter.param_type_name == "argument" else "Options")


def command(
    app: typer.Typer, name: str, *examples: str, shared: Iterable[str] = SHARED
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command.

    Its function takes a Session first. If a parameter's annotation is a dataclass, each field of it becomes an option.

    Args:
        app: where to register it.
        name: the word that calls it.
        examples: command lines for its help.
        shared: the fields of _SharedOptions that it takes.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        options = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        groups: dict[str, Any] = {
            parameter.name: parameter.annotation for parameter in options if is_dataclass(parameter.annotation)
        }
        parameters = [
            option
            for parameter in options
            for option in (_options_of(groups[parameter.name]) if parameter.name in groups else [parameter])
        ]
        parameters += _options_of(_SharedOptions, tuple(shared))

        @functools.wraps(function)
        def call(ctx: typer.Context, **values: Any) -> None:
            given = {key: values.pop(key) for key in shared}
            if not (given.get("verbose") or debugging()):
                # Libraries warn their callers of deprecations and betas, which a user of this command cannot fix.
                warnings.simplefilter("ignore")
            session = _session(given, _typed(ctx), name)
            for key, group in groups.items():
                values[key] = group(**{option.name: values.pop(option.name) for option in fields(group)})
            try:
                function(session, **values)
            except MmscError as error:
                if error.hint:
                    error.hint = in_workspace(error.hint, session.directory)
                raise

        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        whole = [context, *(option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in parameters)]
        call.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in whole}
        del call.__wrapped__
        # \b keeps the lines as they are.
        epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
        app.command(name, cls=PanelledHelp, epilog=epilog, context_settings=HELP_OPTIONS)(call)
        return call

    return register


def _options_of(group: type, names: Iterable[str] | None = None) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=hints[option.name]
        )
        for option in fields(group)
        if names is None or option.name in names
    ]


def _typed(context: typer.Context) -> dict[str, dict[str, Any]]:
    typed: dict[str, dict[str, Any]] = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE":
            name = parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.name).upper()
            typed.setdefault(panel_of(parameter), {})[name] = context.params[str(parameter.name)]
    return typed


def _session(given: Mapping[str, Any], typed: Mapping[str, Mapping[str, Any]], name: str) -> Session:
    directory = given.get("workspace", Path("workspace"))
    output = Output(
        given.get("as_json", False),
        given.get("quiet", False),
        given.get("verbose", False),
        workspace=directory,
        log_format=given.get("log_format"),
        command=name,
    )
    return Session(
        out=output,
        directory=directory,
        overrides=given.get("overrides") or [],
        device_name=given.get("device", "auto"),
        seed=given.get("seed"),
        typed=typed,
    )
