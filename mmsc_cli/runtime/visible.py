"""Text of unknown origin as people read it: what the eye would miss, or be deceived by, is shown as an escape."""

from __future__ import annotations

import re

# C0 and C1 controls, the marks that reorder text, ends of lines and paragraphs, halves of surrogate pairs: what no line
# of a table may hold.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
# Letters that a joiner within a word may stand between, as Persian and Hindi need it, and what emoji are joined of.
_JOINED = (
    "\u0600-\u109f\u1780-\u18af\u1a20-\u1aaf\u1b00-\u1cff\u2190-\u2bff\ua800-\uabff\ufb50-\ufdff\ufe0f\ufe70-\ufefe"
    "\U00010a00-\U00011fff\U0001f000-\U0001faff"
)
# Signs that are also emoji, which a selector behind them tells.
_SIGNS = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# Marks without width (blanks, joiners, tags, selectors: what Unicode calls default ignorable) and of direction: two
# texts that look the same may differ in them. One joiner or selector where a script or an emoji needs it stays.
# The page of `serve` has the same ones in JavaScript.
HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    f"|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])"
    f"|(?<![#*0-9{_SIGNS}])[\ufe0e\ufe0f]|(?<=[#*0-9])[\ufe0e\ufe0f](?!\u20e3)"
)


def shown(text: str) -> str:
    """Return a line with escapes for what has no width or turns text round, and blanks for other controls."""
    return UNSAFE.sub(" ", HIDDEN.sub(as_escapes, text))


def visible(text: str) -> str:
    """Return a text of several lines in which all but line ends and tabs that the eye would miss is escaped."""
    lines = re.split(r"([\n\t])", text)
    return "".join(line if line in "\n\t" else _escaped(line) for line in lines)


def _escaped(line: str) -> str:
    """Return a line in which control characters and characters without width are escaped."""
    return HIDDEN.sub(as_escapes, UNSAFE.sub(as_escapes, line))


def as_escapes(match: re.Match[str]) -> str:
    """Return what was found as escapes of JSON and Python."""
    return "".join(f"\\u{ord(mark):04x}" if mark <= "\uffff" else f"\\U{ord(mark):08x}" for mark in match[0])
