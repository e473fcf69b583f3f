"""Keeping secrets out of what is shown and recorded: keys from the environment, and what an address carries of them."""

from __future__ import annotations

import json
import os
import re
from hashlib import blake2b
from urllib.parse import quote, quote_plus, urlsplit

from mmsc_cli.errors import InputError

# Where a language model's server finds its key, the first that is set.
API_KEY_VARIABLES = ("MMSC_API_KEY", "OPENAI_API_KEY")
_SECRET_VARIABLES = (*API_KEY_VARIABLES, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
# A shorter value would be found in words that have nothing to do with it.
_SHORTEST_SECRET = 8
_HIDDEN = "***"
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/?#@'\"]+(?:@[^\s/?#@'\"]+)*(?=@)")
# Each is taken whole, queries cut off afterwards: a search for the mark from every address on would take the square of
# the length of a text of many addresses.
_ADDRESS = re.compile(r"https?://[^\s'\"]*", re.IGNORECASE)


def api_key() -> str:
    """Return the key of a language model's server from the environment, without white space around it.

    Where there is none, "none": a server that wants no key ignores it.

    Raises:
        InputError: no header can carry it.
    """
    for name in API_KEY_VARIABLES:
        key = os.environ.get(name, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise InputError(
                f"{name} holds a character that no key has", hint="set it again, without quotes, colours or line ends"
            )
        if key:
            return key
    return "none"


def redact(text: str) -> str:
    """Return a text as it may be shown: without keys of the environment, users, passwords and queries of addresses.

    A query may hold a token or a signature as well as a page number; nobody can tell.
    """
    for form in sorted(_secret_forms(), key=len, reverse=True):
        text = text.replace(form, _HIDDEN)
    if "://" in text:
        text = _USER_OF_ADDRESS.sub(_HIDDEN, text)
        text = _ADDRESS.sub(_without_query, text)
    return text


def _without_query(address: re.Match[str]) -> str:
    base, mark, _ = address[0].partition("?")
    return f"{base}?{_HIDDEN}" if mark else base


def _secret_forms() -> set[str]:
    """The keys of the environment as they are, as Python (text and bytes), JSON and addresses write them."""
    values = {os.environ.get(name, "") for name in _SECRET_VARIABLES}
    values |= {value.strip() for value in values}
    values = {value for value in values if len(value) >= _SHORTEST_SECRET}
    encoded = {value: value.encode("utf-8", "surrogateescape") for value in values}
    return values.union(
        *((repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1]) for value in values),
        *((quote(content), quote(content, safe=""), quote_plus(content)) for content in encoded.values()),
        *((repr(content)[2:-1],) for content in encoded.values()),
    )


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
