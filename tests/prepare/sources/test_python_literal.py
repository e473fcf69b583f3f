from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsc_cli.prepare.sources.python_literal import read_dict_literal

TEXT = st.text(alphabet=st.sampled_from("ab é'\"\\/{}[]:,0\t\n\x00\x7f\u2028😀 "), max_size=12)
LEAVES = TEXT | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
QUOTING = ["'", '"', "\\", "\\'", '\\"', "\\x41", "\\u00e9", "\\ud83d", "\\N{DASH}", "\\0", "u'", "b'", "'''"]
OTHER = [
    "a",
    "é",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "1",
    "1.5",
    "-",
    "e9",
    "None",
    "True",
    "#",
    "0x1",
    "1_0",
    "(",
    ")",
]
PIECES = st.sampled_from([*QUOTING, *OTHER, "1_0"])


def _as_python(text: str) -> tuple[Any, ...]:
    try:
        return "value", ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ("no literal",)


def _as_we(text: str) -> tuple[Any, ...]:
    try:
        return "value", read_dict_literal(text.encode())
    except ValueError:
        return ("no literal",)


@given(value=VALUES)
@settings(max_examples=300, deadline=None)
def test_what_python_writes_is_read_back(value: Any) -> None:
    assert repr(_as_we(repr(value))) == repr(_as_python(repr(value)))


@pytest.mark.filterwarnings("ignore:invalid")
@given(pieces=st.lists(PIECES, max_size=14))
@settings(max_examples=600, deadline=None)
def test_any_line_is_read_as_python_reads_it_or_refused(pieces: list[str]) -> None:
    text = "{'a': " + "".join(pieces) + "}"
    assert repr(_as_we(text)) == repr(_as_python(text))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize(
    "text",
    [
        "{'a': '6\" pan'}",
        "{'a': \"it's\", 'b': 'x'}",
        r"{'a': 'it\'s 6\" \\ \n \t'}",
        r"{'a': '\x41\u00e9'}",
        r"{'a': '\ud83d\ude00'}",
        r"{'a': 'x\/y'}",
        "{'a': 1e400}",
        "{'a': u'x', 'b': None, 'c': True, 'd': (1, 2)}",
        "{'a': 'b' 'c'}",
        "{1: [], 'a': {}}",
    ],
)
def test_what_json_writes_otherwise_keeps_its_meaning(text: str) -> None:
    assert repr(read_dict_literal(text.encode())) == repr(ast.literal_eval(text))


def test_integers_beyond_64_bits_become_floats() -> None:
    assert read_dict_literal(b"{'price': 123456789012345678901234567890}") == {"price": 1.2345678901234568e29}


@pytest.mark.parametrize(
    "line", [b"", b"{", b"{'a': }", b"{'a': open('x')}", b"\xff", b"[" * 100_000, b"'\\N{NO SUCH}'"]
)
def test_what_is_no_literal_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the text is Python's own)
        read_dict_literal(line)
