"""Addresses of objects in buckets and of tables in databases; none has a password in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.redaction import has_password

_BUCKETS = ("s3://", "gs://")
_POSTGRES = ("postgresql://", "postgres://")
_SQLITE = "sqlite:///"
_MARKS = re.compile(r"[*?\[]")
DEFAULT_TABLE = "mmsc_answers"
# Names of parameters of an address that libpq, or a driver, takes secrets from.
_SECRET = re.compile(r"password|secret|token", re.IGNORECASE)
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.%]*\]|[^:\[\]]*)(?::[0-9]*)?")
REFUSED = "an address with a password or a key in it is refused"
_PASSWORDS = "the password comes from PGPASSWORD or ~/.pgpass"
_KEYS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS in the environment",
}
_TABLES = "such as postgresql://HOST/DATABASE/TABLE, or postgresql://HOST/DATABASE/SCHEMA.TABLE"


@dataclass(frozen=True)
class ObjectAddress:
    """An object in a bucket, a folder (its key is empty or ends with a slash), or a pattern of keys."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def path(self) -> str:
        """Bucket and key, as pyarrow names an object."""
        return f"{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether all objects below it are meant."""
        return not self.key or self.key.endswith("/")

    @property
    def is_pattern(self) -> bool:
        """Whether it may mean several objects by the marks of a pattern."""
        return not self.is_folder and bool(_MARKS.search(self.key))

    @property
    def fixed(self) -> ObjectAddress:
        """The folder above the first mark of a pattern; of anything else, the folder that it is or is in."""
        steps = self.key.split("/")
        marked = (number for number, step in enumerate(steps[:-1]) if _MARKS.search(step))
        folder = "".join(f"{step}/" for step in steps[: next(marked, len(steps) - 1)])
        return ObjectAddress(self.scheme, self.bucket, folder)


@dataclass(frozen=True)
class TableAddress:
    """A table of a PostgreSQL database.

    Attributes:
        uri: of the database, as libpq takes it.
        schema: None: the first of the search path that has the table, or else in which one can be made.
        table: its name.
    """

    uri: str
    schema: str | None
    table: str


def is_object(text: str) -> bool:
    """Whether a text is the address of an object."""
    return text.lower().startswith(_BUCKETS)


def is_database(text: str) -> bool:
    """Whether a text is the address of a database, or of a table in one."""
    return text.lower().startswith((*_POSTGRES, "sqlite:"))


def parse_object(text: str) -> ObjectAddress:
    """Take an address such as `s3://bucket/log/2026-*.csv` apart.

    Raises:
        InputError: it has a key in it, or no bucket.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    bucket, _, key = rest.partition("/")
    if has_password(text):
        raise InputError(REFUSED, hint=_KEYS[scheme])
    if not bucket:
        raise InputError(f"{text}: no bucket in it", hint=f"such as {scheme}://bucket/products.csv")
    return ObjectAddress(scheme, bucket, key)


def parse_table(text: str) -> TableAddress:
    """Take the address of a table apart: that of its database, and behind it the table; none: DEFAULT_TABLE.

    Raises:
        InputError: it has a password in it, or is no such address.
    """
    try:
        uri = check_database(text)
    except ValueError as error:
        raise InputError(str(error), hint=None if REFUSED in str(error) else _TABLES) from error
    if sqlite_path(uri) is not None:
        raise InputError("answers go to tables of PostgreSQL, not of SQLite", hint=_TABLES)
    base, mark, parameters = uri.partition("?")
    scheme, _, rest = base.partition("://")
    authority, *names = rest.split("/")
    if len(names) > 2:
        raise InputError("an address of a table has a database and a table behind the host, and no more", hint=_TABLES)
    table = unquote(names[1]) if len(names) == 2 else ""
    schema, _, table = (table or DEFAULT_TABLE).rpartition(".")
    if not table:
        raise InputError("an address of a table has its name behind the dot", hint=_TABLES)
    database = f"/{names[0]}" if names else ""
    return TableAddress(f"{scheme}://{authority}{database}{mark}{parameters}", schema or None, table)


def check_database(uri: str) -> str:
    """Return an address of PostgreSQL or SQLite that has no password in it.

    Raises:
        ValueError: it has, or is no such address; the address is not part of the message.
    """
    if uri.startswith(_SQLITE) and len(uri) > len(_SQLITE):
        return uri
    if not uri.startswith(_POSTGRES):
        raise ValueError("no address of a database: postgresql://HOST/DATABASE or sqlite:///FILE")
    base, _, parameters = uri.partition("://")[2].partition("?")
    authority, _, path = base.partition("/")
    user, _, hosts = authority.rpartition("@")
    names = [parameter.partition("=")[0] for parameter in parameters.split("&")]
    # A password that was not escaped may hold a slash or a question mark, so that its end is found behind them.
    if ":" in user or "@" in path + parameters or any(map(_SECRET.search, map(unquote, names))):
        raise ValueError(f"{REFUSED}: {_PASSWORDS}")
    if not all(map(_HOST.fullmatch, hosts.split(","))):
        raise ValueError("host and port are not understood: postgresql://HOST:PORT/DATABASE")
    return uri


def sqlite_path(uri: str) -> str | None:
    """The file that an address of SQLite names; None: it is of PostgreSQL."""
    return uri.removeprefix(_SQLITE) if uri.startswith(_SQLITE) else None
