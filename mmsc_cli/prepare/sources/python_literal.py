"""Python dict literals, the format of the 2014 files, read at the speed of JSON.

`ast.literal_eval` builds a syntax tree for every record. Here the quotes and escapes of a line are rewritten to JSON's
and a JSON parser does the rest. Whatever has no counterpart in JSON is left to `ast.literal_eval`, so that both agree.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

import orjson

_STRING = re.compile(rb"""'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+\"""", re.DOTALL)
_ESCAPE_OR_QUOTE = re.compile(rb'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))|"', re.DOTALL)
# A syntax tree takes hundreds of times the memory of its text.
_LONGEST_TREE = 1 << 20
_SAME_IN_JSON = b'\\"nrtbf'


class _NoJsonError(Exception):
    """The line holds something that JSON writes in no way, or means something else by."""


def read_dict_literal(line: bytes) -> Any:
    """The value of a Python literal, as `ast.literal_eval` reads it; but integers beyond 64 bits become floats.

    Raises:
        ValueError: the line is no literal (as do all errors of `ast.literal_eval`).
    """
    try:
        return orjson.loads(_as_json(line))
    except (_NoJsonError, orjson.JSONDecodeError):
        pass
    if len(line) > _LONGEST_TREE:
        raise ValueError(f"a Python literal of more than {_LONGEST_TREE >> 20} MiB")
    try:
        with warnings.catch_warnings():
            # Python warns of unknown escapes as if the user had written them, and quotes the line.
            warnings.simplefilter("ignore")
            return ast.literal_eval(line.decode("utf-8"))
    except (TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _as_json(line: bytes) -> bytes:
    """Rewrite single-quoted strings as double-quoted ones, whatever they hold.

    Between two marks (a double quote or a backslash) every string is single-quoted and plain, so that a count of the
    quotes tells whether a mark lies inside a string; only the strings with a mark are looked at one by one.
    """
    pieces: list[bytes] = []
    position = 0
    # bytes.find is several times as fast here as a pattern for either mark.
    marks = {mark: line.find(mark) for mark in (b'"', b"\\")}
    while (start := min((at for at in marks.values() if at >= 0), default=-1)) >= 0:
        if line.count(b"'", position, start) % 2:
            start = line.rindex(b"'", position, start)
        string = _STRING.match(line, start)
        if string is None:
            raise _NoJsonError
        pieces += line[position:start].replace(b"'", b'"'), _string_as_json(string[0])
        position = string.end()
        marks = {mark: line.find(mark, position) if 0 <= at < position else at for mark, at in marks.items()}
    pieces.append(line[position:].replace(b"'", b'"'))
    return b"".join(pieces)


def _string_as_json(string: bytes) -> bytes:
    if b"\\" not in string and string.startswith(b'"'):
        return string
    body = string[1:-1]
    return b'"' + _ESCAPE_OR_QUOTE.sub(_escape_as_json, body) + b'"'


def _escape_as_json(found: re.Match[bytes]) -> bytes:
    byte, unit, letter = found.groups()
    if byte is not None:
        return b"\\u00" + byte
    if unit is not None:
        # Python keeps the halves of a surrogate pair apart, JSON joins them.
        if 0xD800 <= int(unit, 16) <= 0xDFFF:
            raise _NoJsonError
        return found[0]
    if letter is None:
        return b'\\"'
    if letter == b"'":
        return b"'"
    if letter not in _SAME_IN_JSON:
        raise _NoJsonError
    return found[0]
