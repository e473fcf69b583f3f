"""`mmsc doctor`."""

from __future__ import annotations

import typer

from mmsc_cli.cli.options import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor", "mmsc doctor", "mmsc doctor --json | jq .device", shared=("workspace", "as_json", "device"))
    def doctor_command(session: Session) -> None:
        """Show versions, extras, device and stages."""
        from mmsc_cli.upkeep.doctor import examine  # noqa: PLC0415  brings pydantic

        examined = examine(session.workspace, session.device_name)
        if session.out.as_json:
            session.out.json(examined)
            return
        rows = [[topic, name, value] for topic, values in examined.items() for name, value in values.items()]
        session.out.table(("topic", "name", "value"), rows)
