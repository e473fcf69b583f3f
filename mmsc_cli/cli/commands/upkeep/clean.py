"""`mmsc clean`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.runtime.plain_words import sized
from mmsc_cli.upkeep.clean import Found, choose_parts, find_parts, is_busy, remove_parts

_COLUMNS = ("part", "size", "files", "where", "what", "without it")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "clean",
        "mmsc clean",
        "mmsc clean --yes",
        "mmsc clean leftovers downloads --yes",
        shared=("workspace", "as_json", "quiet", "log_format"),
    )
    def clean_command(
        session: Session,
        parts: Annotated[
            list[str] | None,
            typer.Argument(metavar="PART...", help="Parts to remove; default: all that are listed, except answers."),
        ] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Remove. Without it nothing is removed.")] = False,
    ) -> None:
        """Show what of a workspace can go, and how large it is.

        No artefact, judgement, recipe or file of yours is among it. Without --yes nothing is removed.
        """
        chosen = choose_parts(parts or [])
        there = remove_parts(session.directory, chosen) if yes else find_parts(session.directory)
        would_go = [here for here in there if here.part in chosen]
        total = sum(here.bytes for here in would_go)
        if session.out.as_json:
            listed = [_as_json(here, goes=here in would_go) for here in there]
            session.out.json(
                {"workspace": str(session.directory), "removed": yes, "bytes": total, "parts": listed},
            )
        elif there:
            session.out.table(_COLUMNS, [_row(here) for here in there])
        if yes:
            session.out.note(f"removed {sized(total)}")
        elif not would_go:
            session.out.note("there is nothing to remove")
        else:
            words = " ".join(["mmsc clean", *(part.name for part in chosen if parts), "--yes"])
            session.out.note(f"nothing is removed yet: `{words}` removes {sized(total)}")
            if is_busy(session.directory):
                session.out.warn(f"a mmsc process works in {session.directory}: some of this is its work")


def _row(here: Found) -> list[Any]:
    part = here.part
    return [part.name, sized(here.bytes), len(here.files), part.where, part.what, part.without]


def _as_json(here: Found, *, goes: bool) -> dict[str, Any]:
    part = here.part
    return {
        "part": part.name,
        "bytes": here.bytes,
        "files": len(here.files),
        "where": part.where,
        "chosen": goes,
        "what": part.what,
        "without": part.without,
    }
