"""What MkDocs does not do by itself: pages from the project's root, and a check that no page needs a network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path
from docs.remote_loads import remote_loads  # noqa: E402

ROOT_PAGES = {"SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are in the project's root, with links that fit their new place."""
    for source, page in ROOT_PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for name, new_name in ROOT_PAGES.items():
            text = re.sub(rf"\]\({re.escape(name)}", f"]({new_name}", text)
        files.append(File.generated(config, page, content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Check that the built site loads nothing from other hosts.

    Raises:
        PluginError: it does; the message names each page and what it would load.
    """
    site = Path(config.site_dir)
    remote = [
        f"{path.relative_to(site)}: {address}"
        for path in sorted(site.rglob("*"))
        if path.suffix in {".html", ".css"}
        for address in remote_loads(path.read_text(encoding="utf-8"))
    ]
    if remote:
        raise PluginError("the site would load from other hosts:\n" + "\n".join(remote))
