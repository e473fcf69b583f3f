"""`mmsc train`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.model.parts import Part, parse_parts
from mmsc_cli.runtime.plain_words import counted

if TYPE_CHECKING:
    from mmsc_cli.runtime.checkpoint import Resume


PARTS = get_args(Part)


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "train",
        "mmsc train",
        "mmsc train --epochs 5 --seed 2",
        "mmsc train --without llm --without image",
        "mmsc train --fresh",
    )
    def train_command(
        session: Session,
        epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Maximum number of epochs.")] = None,
        without: Annotated[
            list[str] | None,
            typer.Option(
                metavar="PART",
                help=f"Leave out a part ({', '.join(PARTS)}). Repeatable.",
                autocompletion=lambda: list(PARTS),
            ),
        ] = None,
        resume: Annotated[
            bool | None,
            typer.Option(
                "--resume/--no-resume",
                help="Resume from the checkpoint, or fail if it does not match; --no-resume starts over. "
                "Default: resume if it matches.",
            ),
        ] = None,
        fresh: Annotated[
            bool,
            typer.Option("--fresh", help="Learn everything anew, also what could be taken over from the last time."),
        ] = False,
    ) -> None:
        """Train the model and write the index, from what was learned the last time.

        If training is interrupted, the same command resumes from the last checkpoint.
        """
        from mmsc_cli.train.stage import run_train  # noqa: PLC0415  brings torch

        started = time.monotonic()
        parts = parse_parts(without or [])
        recipe = session.recipe({"train.epochs": epochs})
        asked: Resume = "auto" if resume is None else "must" if resume else "never"
        counts = run_train(session.workspace, recipe, parts, session.device, session.progress, asked, fresh=fresh)
        figures = ", ".join(f"{name} {value:.4f}" for name, value in counts["validation"].items() if value is not None)
        learned = counted(counts["epochs"], "epoch") if counts["start"] == "anew" else "nothing learned anew"
        parts_done = [learned, f"validation NDCG@10 {figures}", *_student(counts)]
        session.finish("train", counts, started, "; ".join(parts_done))


def _student(counts: Mapping[str, Any]) -> list[str]:
    """What to say of the student of labels."""
    said = []
    about = counts["student"]
    if about and about["kind"]:
        low, high = about["accuracy_ci"]
        said.append(
            f"student right on {about['accuracy']:.0%} [{low:.0%}-{high:.0%}] of unseen labelled pairs, without labels "
            f"{about['without_labels_accuracy']:.0%}, all neither {about['everything_neither']:.0%}; the annotator's "
            f"own agreement {about['annotator_agreement']:.2f}"
        )
    if counts["follow_labels"]:
        weights = ", ".join(
            f"{relation}s {weight:.2g} (by {counts['followed_by'][relation]})"
            for relation, weight in counts["follow_labels"].items()
        )
        said.append(f"followed: {weights}")
    return said
