"""`mmsc train`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from mmsc_cli.cli.session import Session, command


class PartName(StrEnum):
    """Parts of the model that can be left out."""

    llm = "llm"
    denoise = "denoise"
    aggregation = "aggregation"
    image = "image"
    text = "text"
    id = "id"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "train",
        "mmsc train",
        "mmsc train --epochs 5 --seed 2",
        "mmsc train --without llm --without image",
    )
    def train_command(
        session: Session,
        epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many epochs.")] = None,
        without: Annotated[
            list[PartName] | None,
            typer.Option(metavar="PART", help=f"Leave out a part ({', '.join(PartName)}). Repeatable."),
        ] = None,
    ) -> None:
        """Train the model and write the index that answers."""
        from mmsc_cli.pipeline import run_train

        started = time.monotonic()
        recipe = session.recipe({"train.epochs": epochs})
        parts = [part.value for part in without or []]
        counts = run_train(session.workspace, recipe, parts, session.device, session.progress)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in counts["validation"].items() if value is not None)
        session.finish("train", counts, started, f"{counts['epochs']} epochs; validation NDCG@10 {figures}")
