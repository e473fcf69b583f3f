"""`mmsc doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from mmsc_cli.cli.failures import USAGE
from mmsc_cli.cli.options import Session, command
from mmsc_cli.runtime.plain_words import counted, sized


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor", "mmsc doctor", "mmsc doctor --json | jq .device", shared=("workspace", "as_json", "device"))
    def doctor_command(session: Session) -> None:
        """Show versions, extras, device, stages, and the size and state of every artefact.

        The exit code is 2 where an artefact or the manifest is damaged.
        """
        from mmsc_cli.upkeep.doctor import examine, find_damaged  # noqa: PLC0415  brings pydantic

        examined = examine(session.workspace, session.device_name)
        if session.out.as_json:
            session.out.json(examined)
        else:
            rows = [[topic, name, _text(value)] for topic, values in examined.items() for name, value in values.items()]
            session.out.table(("topic", "name", "value"), rows)
        if damaged := find_damaged(examined):
            lines = [f"mmsc: damaged: {', '.join(damaged)}", "  the line of the stage says what to run"]
            session.out.failure(lines, USAGE)
            raise typer.Exit(USAGE)


def _text(value: str | Mapping[str, Any]) -> str:
    """A value as a cell: of an artefact its size, state and age."""
    if isinstance(value, str):
        return value
    state = ": ".join(filter(None, (value["state"], value["reason"])))
    return (
        f"{sized(value['bytes'])}, {counted(value['files'], 'file')}, made {value['made']} by {value['stage']}, {state}"
    )
