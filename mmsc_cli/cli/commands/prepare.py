"""`mmsc prepare`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mmsc_cli.cli.options import SHARED, InputsOption, Session, command
from mmsc_cli.cli.sources import SourcesArgument, choose_source
from mmsc_cli.runtime.plain_words import counted


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "prepare",
        "mmsc prepare demo",
        "mmsc prepare amazon-beauty --input meta_Beauty.json.gz",
        "mmsc prepare shop.toml",
        "mmsc prepare products.csv events.jsonl",
        shared=[name for name in SHARED if name != "device"],
    )
    def prepare_command(
        session: Session,
        sources: SourcesArgument,
        inputs: InputsOption = None,
        images: Annotated[
            bool | None,
            typer.Option("--images/--no-images", help="Download the images that items name by URL."),
        ] = None,
        allow_truncated: Annotated[
            bool | None,
            typer.Option("--allow-truncated", help="Read a truncated metadata file as far as it goes."),
        ] = None,
    ) -> None:
        """Read a source into a table of items and a table of pairs, unless they are up to date.

        Holds out pairs and items, chosen by the seed, for evaluation.
        """
        from mmsc_cli.pipeline import prepare_if_needed  # noqa: PLC0415  brings pyarrow and scipy

        started = time.monotonic()
        flags = {"images.download": images, "source.allow_truncated": allow_truncated}
        source = choose_source(session, sources, inputs or [], flags, session.workspace)
        counts, current = prepare_if_needed(
            session.workspace,
            source.recipe,
            inputs=source.inputs,
            recipe_directory=source.directory,
            copies=source.copies,
            progress=session.progress,
        )
        first, *rest = describe_counts(counts)
        session.finish("prepare", counts, started, f"{'up to date, ' * current}{first} in {session.directory}")
        for line in [*rest, *(f"  warning: {warning}" for warning in counts.get("warnings", []) if current)]:
            session.out.note(line)


def describe_counts(counts: Mapping[str, Any]) -> list[str]:
    """What was read, and what was left out or changed on the way; a line each."""
    from mmsc_cli.prepare.counts import LOSSES, MENDS  # noqa: PLC0415  brings pyarrow and scipy

    pairs = f"{counts['co_view_pairs']:,} co-view and {counted(counts['co_purchase_pairs'], 'co-purchase pair')}"
    lines = [f"{counted(counts['items'], 'item')}, {pairs}"]
    for heading, kinds in (("left out", LOSSES), ("repaired or missing", MENDS)):
        described = [f"    {meaning}: {counts[name]:,}" for name, meaning in kinds.items() if counts.get(name)]
        lines += [f"  {heading}:", *described] if described else []
    return lines
