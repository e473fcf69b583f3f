"""`mmsc serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.installation import extra_command

_NEEDED = ("fastapi", "uvicorn", "httptools", "prometheus_client")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "serve",
        "mmsc serve",
        "mmsc serve --port 9000 --workers 4",
        "MMSC_API_KEY=... mmsc serve --host 0.0.0.0",
        shared=("workspace", "quiet", "verbose", "log_format"),
    )
    def serve_command(
        session: Session,
        host: Annotated[
            str,
            typer.Option(metavar="HOST", help="Address to listen on; other than this machine's needs MMSC_API_KEY."),
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65_535, metavar="N", help="Port; 0 for any free one.")] = 8080,
        workers: Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Number of processes.")] = 1,
        no_auth: Annotated[
            bool, typer.Option("--no-auth", help="Let everybody who can connect ask, without a key.")
        ] = False,
        cors: Annotated[
            list[str] | None,
            typer.Option(metavar="ORIGIN", help="Let web pages of this origin ask. Repeatable; default: none."),
        ] = None,
        rules: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Rules of the shop, CSV, in place of the recipe's; read again if changed."
            ),
        ] = None,
    ) -> None:
        """Answer over HTTP, and show a page to look at answers.

        Serves /v1 and a page at / from the index. A new index is served as soon as `mmsc train` has put it in place.
        SIGTERM and Ctrl-C end it once requests under way are answered. -q writes no line per request.
        """
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise InputError(f"serve needs {missing[0]}, which is not installed", hint=extra_command("serve"))
        from mmsc_cli.serve.server import serve  # noqa: PLC0415  brings uvicorn
        from mmsc_cli.serve.settings import ServeSettings, check_access  # noqa: PLC0415  only this command needs it

        key = os.environ.get("MMSC_API_KEY", "").strip()
        check_access(host, key, no_auth)
        settings = ServeSettings(
            session.directory,
            host,
            port,
            workers,
            key,
            tuple(cors or ()),
            rules=rules,
            log=None if session.out.quiet else session.out.timed_line,
        )
        if no_auth:
            session.out.note("everybody who can connect may ask (--no-auth)")
        serve(settings, lambda address: session.out.note(f"serving {session.directory} at {address} (Ctrl-C ends)"))
