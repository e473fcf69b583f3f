"""`mmsc init`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.cli.sources import guess_source


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "init",
        "mmsc init products.csv events.jsonl > shop.toml",
        "mmsc init items.parquet 'log/2026-*.csv.gz' > shop.toml && mmsc run shop.toml",
        shared=("quiet", "verbose", "log_format"),
    )
    def init_command(
        session: Session,
        files: Annotated[list[str], typer.Argument(help="Files, folders or patterns: items, events, orders, pairs.")],
    ) -> None:
        """Write a recipe for data files to stdout.

        The recipe is the one that `mmsc run FILES` would use. Its paths are relative to the current folder: store it
        here, or edit them. What nobody can guess is a line with TO DO.
        """
        from mmsc_cli.places.copies import Copies  # noqa: PLC0415  for the commands that read sources alone
        from mmsc_cli.prepare.guess.recipe_text import recipe_text  # noqa: PLC0415  brings pyarrow

        with TemporaryDirectory() as folder:
            copies = Copies(Path(folder), session.progress)
            decided = guess_source(files, copies, None)
            for line in decided.decisions():
                session.out.note(copies.named(line))
            for warning in decided.warnings:
                session.out.warn(copies.named(warning))
            for gap in decided.gaps:
                session.out.warn(copies.named(f"{gap}: write it where the recipe says TO DO"))
            session.out.text(copies.named(recipe_text(decided)))
