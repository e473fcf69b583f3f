"""What a built page or style sheet loads from other hosts when it is shown. Our site must load nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# The attribute by which a tag loads something. A link to click (`a href`) loads nothing.
_LOADING = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
_REMOTE = re.compile(r"(https?:)?//", re.IGNORECASE)
_REMOTE_IN_CSS = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""", re.IGNORECASE)


def remote_loads(text: str) -> list[str]:
    """Return what an HTML page or a style sheet loads from elsewhere, as it stands in the text."""
    page = _Page()
    page.feed(text)
    return page.remote + _REMOTE_IN_CSS.findall(text)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(_LOADING.get(tag, "")) or ""
        if _REMOTE.match(address):
            self.remote.append(f"<{tag}> {address}")
        if "mermaid" in (values.get("class") or "").split():
            self.remote.append(f'<{tag} class="mermaid">: the theme fetches a library to draw it')
