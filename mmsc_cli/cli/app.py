"""The command line: registers every command, and turns what goes wrong into one or two lines and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer
from typer.main import get_command

from mmsc_cli.cli.commands import (
    check,
    diff,
    encode,
    evaluate,
    infer,
    init,
    prepare,
    recipes,
    run,
    serve,
    show,
    train,
)
from mmsc_cli.cli.commands.labelling import judge, label
from mmsc_cli.cli.commands.upkeep import clean, doctor
from mmsc_cli.cli.failures import OK, USAGE, debugging, describe, exit_code
from mmsc_cli.cli.interrupt import typed_command
from mmsc_cli.cli.log_lines import write_failure
from mmsc_cli.cli.options import HELP_OPTIONS, PanelledHelp, PlainHelp
from mmsc_cli.runtime.redaction import redact
from mmsc_cli.runtime.visible import visible
from mmsc_cli.version import __version__

app = typer.Typer(
    name="mmsc",
    help="Which items of a catalogue can replace one another, and which go together.",
    cls=PlainHelp,
    context_settings=HELP_OPTIONS,
    epilog="First steps: `mmsc run demo`, then `mmsc infer ID`.",
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"mmsc {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Take the options that come before a command."""


@app.command("version", cls=PanelledHelp, epilog="\b\nExamples:\n  mmsc version", context_settings=HELP_OPTIONS)
def _version() -> None:
    """Show the version."""
    _show_version(True)


for module in (
    prepare,
    label,
    encode,
    train,
    evaluate,
    infer,
    serve,
    show,
    judge,
    run,
    init,
    check,
    diff,
    recipes,
    doctor,
    clean,
):
    module.register(app)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if sys.stderr is None:  # what Python makes of a stream that was closed before it started (`2>&-`)
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    if sys.stdout is None:
        sys.stderr.write("mmsc: stdout is closed\n  send it to a file, or to /dev/null\n")
        return USAGE
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`mmsc infer ... | head -1`); nothing is wrong.
        _discard_stdout()
        return OK
    except (Exception, KeyboardInterrupt) as error:
        try:
            sys.stdout.flush()
        except OSError:
            _discard_stdout()
        trace = visible(redact(traceback.format_exc())) if debugging() else ""
        code = exit_code(error)
        write_failure(describe(error, typed_command(arguments)), code, arguments, trace)
        return code
    return code


def _invoke(arguments: Sequence[str]) -> int:
    commands = get_command(app)
    try:
        if "_MMSC_COMPLETE" in os.environ:  # the shell asks what to complete a command line with
            commands.main(prog_name="mmsc")
        # Calling `app` would turn an interrupt and a closed pipe into silent exit codes of Typer's own.
        with commands.make_context("mmsc", list(arguments) or ["--help"]) as context:
            context.command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:  # what completion ends with
        return int(end.code or 0)
    return OK


def _discard_stdout() -> None:
    """Discard what is still buffered when Python closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
