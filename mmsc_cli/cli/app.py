"""The entry point: registers every command, and turns what goes wrong into one or two lines and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from mmsc_cli import __version__
from mmsc_cli.cli import doctor, encode, evaluate, infer, label, prepare, recipes, run, train
from mmsc_cli.cli.failure import OK, debugging, describe, exit_code
from mmsc_cli.cli.session import typed_command

app = typer.Typer(
    name="mmsc",
    help="Which items of a catalogue can replace one another, and which go together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="First steps: mmsc run demo, then mmsc infer --item ID --relation both",
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"mmsc {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Take the options that come before a command."""


for module in (prepare, label, encode, train, evaluate, infer, run, doctor):
    module.register(app)
app.add_typer(recipes.app, name="recipes")


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    try:
        code = app(args=arguments, prog_name="mmsc", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`mmsc infer ... | head -1`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (Exception, KeyboardInterrupt) as error:
        if debugging():
            traceback.print_exc()
        sys.stderr.write("\n".join(describe(error, typed_command())) + "\n")
        return exit_code(error)
    return code if isinstance(code, int) else OK


def main() -> None:
    """Run `mmsc`."""
    sys.exit(run_command())
