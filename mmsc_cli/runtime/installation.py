"""How this installation of mmsc is added to."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

_NAME = "mmsc-cli"


def extra_command(extra: str) -> str:
    """The command that installs an extra from where mmsc came from: a checkout, a file, an address or an index."""
    return f"pip install {shlex.quote(_requirement(extra))}"


def _requirement(extra: str) -> str:
    try:
        record = distribution(_NAME).read_text("direct_url.json")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return _of_folder(Path(__file__).parents[2], extra)
    if record is None:
        return f"{_NAME}[{extra}]"
    origin = json.loads(record)
    address = urlsplit(origin["url"])
    if address.scheme == "file":
        return _of_folder(Path(unquote(address.path)), extra)
    prefix = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
    return f"{_NAME}[{extra}] @ {prefix}{origin['url']}"


def _of_folder(path: Path, extra: str) -> str:
    return f"{'.' if path == Path.cwd() else path}[{extra}]"
