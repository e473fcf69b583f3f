"""`mmsc encode`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mmsc_cli.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "encode",
        "mmsc encode",
        "mmsc encode --encoder classic",
        "mmsc encode --encoder open_clip:ViT-B-32/weights.safetensors",
    )
    def encode_command(
        session: Session,
        encoder: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="auto (open_clip's default model), classic (no download), or open_clip:ARCH/PRETRAINED.",
            ),
        ] = None,
        adapt: Annotated[
            bool | None,
            typer.Option("--adapt/--no-adapt", help="Adapt the embeddings to this catalogue's behaviour."),
        ] = None,
    ) -> None:
        """Turn titles, descriptions and images into vectors."""
        from mmsc_cli.pipeline import run_encode

        started = time.monotonic()
        recipe = session.recipe({"encode.encoder": encoder, "encode.adapt": adapt})
        counts = run_encode(session.workspace, recipe, session.device, session.progress)
        done = f"{counts['texts']:,} texts and {counts['images']:,} images with {counts['encoder']}"
        session.finish("encode", counts, started, done)
        if counts["images_failed"]:
            session.out.note(f"  {counts['images_failed']:,} images left out: see failures.jsonl")
