"""`mmsc encode`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.cli.shares import SharesOptions
from mmsc_cli.runtime.plain_words import counted
from mmsc_cli.runtime.progress import SILENT
from mmsc_cli.runtime.shares.shards import parse_shard, torchrun_shard


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "encode",
        "mmsc encode",
        "mmsc encode --encoder classic",
        "mmsc encode --encoder open_clip:ViT-B-32/weights.safetensors",
        "mmsc encode --workers 4",
        "mmsc encode --shard 1/4",
        "mmsc encode --ray head:6379",
        "torchrun --nproc-per-node 4 -m mmsc_cli encode",
    )
    def encode_command(
        session: Session,
        shares: SharesOptions,
        encoder: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="auto (open_clip's default model), classic (no download), open_clip:ARCH/PRETRAINED (a tag or a "
                ".safetensors file), open_clip:hf-hub:OWNER/NAME, or sentence-transformers:NAME.",
            ),
        ] = None,
        adapt: Annotated[
            bool | None,
            typer.Option(
                "--adapt/--no-adapt",
                help="Adapt the encoder to this catalogue: its towers on a GPU, a projection on a CPU.",
            ),
        ] = None,
        shard: Annotated[
            str | None,
            typer.Option(metavar="I/N", help="Encode shard I of N; the last shard to finish merges them."),
        ] = None,
        fresh: Annotated[
            bool, typer.Option("--fresh", help="Encode everything anew, also what has not changed since the last run.")
        ] = False,
    ) -> None:
        """Turn titles, descriptions and images into vectors; those that have not changed are not encoded again."""
        from mmsc_cli.encode.stage import run_encode  # noqa: PLC0415  brings torch

        started = time.monotonic()
        recipe = session.recipe({"encode.encoder": encoder, "encode.adapt": adapt})
        own_shard = parse_shard(shard) if shard else torchrun_shard()
        # Of processes that torchrun started together, one draws.
        draws = shard or own_shard is None or own_shard.number == 1
        counts = run_encode(
            session.workspace,
            recipe,
            shares.device(session),
            session.progress if draws and not shares.elsewhere else SILENT,
            shares.runner(own_shard, gpus=True),
            fresh=fresh,
        )
        if "shard" in counts:
            missing = ", ".join(counts["missing"])
            session.finish("encode", counts, started, f"shard {counts['shard']} is finished; missing: {missing}")
            return
        done = f"{counted(counts['texts'], 'text')} and {counted(counts['images'], 'image')} with {counts['encoder']}"
        kept = counts.get("texts_kept", 0), counts.get("images_kept", 0)
        if any(kept):
            done += f"; {counted(kept[0], 'text')} and {counted(kept[1], 'image')} of them were there before"
        session.finish("encode", counts, started, done)
        if counts["images_failed"]:
            session.out.note(f"  {counted(counts['images_failed'], 'image')} left out: see failures.jsonl")
