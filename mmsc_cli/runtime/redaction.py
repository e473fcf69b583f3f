"""Keeping secrets out of what is shown and recorded: keys from the environment, and what an address carries of them."""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from urllib.parse import urlsplit

# Where a language model's server finds its key, the first that is set.
API_KEY_VARIABLES = ("MMSC_API_KEY", "OPENAI_API_KEY")
_SECRET_VARIABLES = (*API_KEY_VARIABLES, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# A shorter value would be found in words that have nothing to do with it.
_SHORTEST_SECRET = 8
_HIDDEN = "***"
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/?#@'\"]+(?:@[^\s/?#@'\"]+)*(?=@)")
_QUERY_OF_ADDRESS = re.compile(r"(https?://[^\s?#'\"]*)\?[^\s'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """A text as it may be shown: without keys of the environment, and addresses without users, passwords and queries.

    A query may hold a token or a signature as well as a page number; nobody can tell.
    """
    for name in _SECRET_VARIABLES:
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _HIDDEN)
    if "://" in text:
        text = _USER_OF_ADDRESS.sub(_HIDDEN, text)
        text = _QUERY_OF_ADDRESS.sub(rf"\1?{_HIDDEN}", text)
    return text


def recorded_address(url: str) -> str:
    """An address as it may be recorded: a hash stands for its query, so that another query is another address."""
    base, mark, query = url.partition("?")
    shown = _USER_OF_ADDRESS.sub(_HIDDEN, base)
    return shown if not mark else f"{shown}?{blake2b(query.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def has_password(url: str) -> bool:
    """Whether an address names a user or a password. What is no address has none."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False
