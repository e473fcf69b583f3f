"""Keeping secrets out of what is shown and recorded: keys from the environment, and what an address carries of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from urllib.parse import quote, quote_plus, urlsplit

from mmsc_cli.errors import InputError

# Where a language model's server finds its key, the first that is set.
API_KEY_VARIABLES = ("MMSC_API_KEY", "OPENAI_API_KEY")
_SECRET_VARIABLES = (
    *(*API_KEY_VARIABLES, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    *("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
# A shorter value would be found in words that have nothing to do with it.
_SHORTEST_SECRET = 8
_HIDDEN = "***"
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/?#@'\"]+(?:@[^\s/?#@'\"]+)*(?=@)")
# Each is taken whole, queries cut off afterwards: a search for the mark from every address on would take the square of
# the length of a text of many addresses.
_ADDRESS = re.compile(r"(https?|postgres(?:ql)?|s3|gs)://[^\s'\"]*", re.IGNORECASE)
_BUCKETS = ("s3", "gs")


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


def redact(text: str, secrets: Sequence[str] | None = None) -> str:
    """Return a text as it may be shown: without keys of the environment, users, passwords and queries of addresses.

    A query may hold a token or a signature as well as a page number; nobody can tell.

    Args:
        text: the text.
        secrets: what `secret_forms` found before, for many texts; None: look again.
    """
    for form in secret_forms() if secrets is None else secrets:
        text = text.replace(form, _HIDDEN)
    if "://" in text:
        text = _USER_OF_ADDRESS.sub(_HIDDEN, text)
        text = _ADDRESS.sub(_without_secrets, text)
    return text


def _without_secrets(address: re.Match[str]) -> str:
    scheme = address[1].lower()
    if scheme in _BUCKETS:  # a question mark is part of a pattern there
        return _without_user(address[0]) if has_password(address[0]) else address[0]
    base, mark, _ = (address[0] if scheme.startswith("http") else _without_user(address[0])).partition("?")
    return f"{base}?{_HIDDEN}" if mark else base


def _without_user(address: str) -> str:
    """The address from its last @ on: a password that was not escaped may hold what ends a user's part."""
    scheme, _, rest = address.partition("://")
    _, mark, host = rest.rpartition("@")
    if "@" in rest.partition("?")[2]:  # of a password with a question mark, or of a parameter
        return f"{scheme}://{_HIDDEN}"
    hidden = f"{_HIDDEN}@{host}" if mark else _HIDDEN if scheme.lower() in _BUCKETS else rest
    return f"{scheme}://{hidden}"


def secret_forms() -> list[str]:
    """Return the keys of the environment as they are, as Python, JSON and addresses write them, the longest first."""
    secrets = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    values = {value for secret in secrets for value in (secret, secret.strip()) if len(value) >= _SHORTEST_SECRET}
    encoded = {value: value.encode("utf-8", "surrogateescape") for value in values}
    forms = values.union(
        *((repr(value)[1:-1], ascii(value)[1:-1], json.dumps(value)[1:-1]) for value in values),
        *((quote(content), quote(content, safe=""), quote_plus(content)) for content in encoded.values()),
        *((repr(content)[2:-1],) for content in encoded.values()),
    )
    return sorted(forms, key=len, reverse=True)


def recorded_address(url: str) -> str:
    """An address as it may be recorded: a hash stands for its query, so that another query is another address."""
    base, mark, query = url.partition("?")
    shown = _USER_OF_ADDRESS.sub(_HIDDEN, base)
    return shown if not mark else f"{shown}?{blake2b(query.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def has_password(url: str) -> bool:
    """Whether an address names a user or a password. What is no address has none."""
    try:
        address = urlsplit(url)
    except ValueError:
        return False
    # The part before a colon may be all that a key which was not escaped leaves there.
    return "@" in address.netloc or (address.scheme in _BUCKETS and ":" in address.netloc)
