"""`mmsc run`."""

from __future__ import annotations

from typing import Annotated

import typer

from mmsc_cli.cli.options import InputsOption, Session, command
from mmsc_cli.recipe.shipped import recipe_path


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "run",
        "mmsc run demo",
        "mmsc run amazon-beauty --input meta_Beauty.json.gz",
        "mmsc run shop.toml --no-label",
    )
    def run_command(
        session: Session,
        source: Annotated[str, typer.Argument(help="Name or path of a recipe.")],
        inputs: InputsOption = None,
        label: Annotated[bool, typer.Option("--label/--no-label", help="Whether to label pairs.")] = True,
    ) -> None:
        """Run all stages of a recipe, skipping what is up to date."""
        from mmsc_cli.pipeline import run_all  # noqa: PLC0415  brings torch
        from mmsc_cli.recipe.loading import load_recipe  # noqa: PLC0415  brings pydantic

        recipe = load_recipe(source, session.overrides, session.values())
        done = run_all(
            session.workspace,
            recipe,
            inputs=inputs or [],
            recipe_directory=recipe_path(source).parent,
            label=label,
            device=session.device,
            progress=session.progress,
        )
        report = session.workspace.path("report.html")
        if session.out.as_json:
            value = {"workspace": str(session.directory), "stages": done, "report": str(report)}
            session.out.json(value)
        session.out.note(f"report: {report}")
