"""`mmsc train`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mmsc_cli.cli.options import Session, command

if TYPE_CHECKING:
    from mmsc_cli.train.loop.checkpoint import Resume


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
        "mmsc train --no-resume",
    )
    def train_command(
        session: Session,
        epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many epochs.")] = None,
        without: Annotated[
            list[PartName] | None,
            typer.Option(metavar="PART", help=f"Leave out a part ({', '.join(PartName)}). Repeatable."),
        ] = None,
        resume: Annotated[
            bool | None,
            typer.Option(
                "--resume/--no-resume",
                help="Continue an interrupted run, and fail where its checkpoint does not fit; or begin anew. "
                "Default: continue where it fits.",
            ),
        ] = None,
    ) -> None:
        """Train the model and write the index that answers.

        An interrupted run continues from its last checkpoint when the same command is given again.
        """
        from mmsc_cli.train.stage import run_train

        started = time.monotonic()
        recipe = session.recipe({"train.epochs": epochs})
        parts = [part.value for part in without or []]
        asked: Resume = "auto" if resume is None else "must" if resume else "never"
        counts = run_train(session.workspace, recipe, parts, session.device, session.progress, asked)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in counts["validation"].items() if value is not None)
        session.finish("train", counts, started, f"{counts['epochs']} epochs; validation NDCG@10 {figures}")
