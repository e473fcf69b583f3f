"""`mmsc check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from mmsc_cli.cli.options import InputsOption, Session, command
from mmsc_cli.cli.sources import OptionalSourcesArgument, choose_source
from mmsc_cli.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "check",
        "mmsc check products.csv events.jsonl",
        "mmsc check shop.toml --json | jq .problems",
        "mmsc check -w workspace",
        shared=("workspace", "overrides", "as_json", "quiet", "verbose", "log_format"),
    )
    def check_command(session: Session, sources: OptionalSourcesArgument = None, inputs: InputsOption = None) -> None:
        """Look at data before training: what is in it, what is missing, what looks wrong; problems first.

        Reads a source as `mmsc prepare` does, and keeps nothing. Without a source, shows what is prepared in the
        workspace.
        """
        from mmsc_cli.prepare.check import check, check_prepared  # noqa: PLC0415  brings pyarrow and scipy
        from mmsc_cli.workspace.workspace import Workspace  # noqa: PLC0415  brings pydantic

        if not sources:
            if inputs or session.overrides:
                raise InputError("--input and --set need a source", hint="give a recipe: `mmsc check shop.toml`")
            report = check_prepared(session.workspace)
        else:
            with TemporaryDirectory() as folder:
                source = choose_source(session, sources, inputs or [], {}, Workspace(Path(folder)))
                report = check(
                    source.recipe,
                    inputs=source.inputs,
                    recipe_directory=source.directory,
                    progress=session.progress,
                    copies=source.copies,
                )
        if session.out.as_json:
            lists = {name: list(report[name].values()) for name in ("problems", "notes") if name in report}
            session.out.json(report | lists)
            return
        if not report["problems"]:
            session.out.note("no problems found")
        session.out.table(("topic", "figure", "value"), list(_rows(report)))


def _rows(report: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for topic, figures in report.items():
        for name, value in figures.items():
            if isinstance(value, dict):
                for inner, figure in value.items():
                    yield topic, f"{name}: {inner}", _shown(inner, figure)
            else:
                yield topic, name, _shown(name, value)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(map(str, value)) or "-"
    if name.startswith("without ") and isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
