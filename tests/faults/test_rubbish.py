"""Rubbish into everything that reads input of unknown origin: no crash, no hang, nothing lost without a word.

The readers are those of `python -m benchmarks.faults fuzz`, which is guided by coverage and takes longer;
whatever either of them found stands in FOUND.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.faults.rubbish.tables import as_parquet
from benchmarks.faults.rubbish.target import Target
from benchmarks.faults.rubbish.targets import BARE
from benchmarks.faults.rubbish.workspaces import described, judged_by, stored

TARGETS = {target.name: target for target in BARE}
# Inputs per target: where each takes many milliseconds, fewer.
EXAMPLES = dict.fromkeys(TARGETS, 40) | {"images": 150, "recipes": 150, "--set": 150, "events (csv)": 8}
EXAMPLES |= dict.fromkeys(("events (parquet)", "events (jsonl)", "events (ga4)"), 8)

_EVENTS: dict[str, Any] = {"session": ["s", "s"], "item": ["A", "B"], "type": ["view"] * 2, "time": [1, 2]}
_TABLE = b'name = "x"\n[source]\nkind = "table"\npairs = "p.csv"\n'
_LOG = b'name = "x"\n[source]\nkind = "events"\n'


def _reply(logprob: Any, tokens: Any = 1) -> bytes:
    top = [{"token": "A", "logprob": logprob}]
    choice = {"message": {"content": "A"}, "logprobs": {"content": [{"top_logprobs": top}]}}
    return b"200\n" + json.dumps({"choices": [choice], "usage": {"total_tokens": tokens}}).encode()


def _scans(count: int) -> bytes:
    """A progressive JPEG that goes over its pixels again and again."""
    buffer = io.BytesIO()
    Image.new("L", (2_500, 2_500)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * count + whole[-2:]


def _damaged(size: int) -> bytes:
    """A gzip file of so many bytes when unpacked, that packs well, and whose check sum is wrong."""
    line = b'{"asin": "%07d", "also_buy": ["0000000"]}\n'
    packed = bytearray(gzip.compress(b"".join(line % number for number in range(size // len(line))), mtime=0))
    packed[-6] ^= 1
    return bytes(packed)


_EQUAL = {"scale": [1, 1], "coefficients": [[0.1, 0.2]] * 3, "intercepts": [0, 0, 0]}
FOUND: dict[str, tuple[str, bytes]] = {
    "a damaged file that packs well": ("amazon metadata", _damaged(3_900_000)),
    "a bracket in the name of a setting": ("recipes", b'name = "x"\n"a[b" = 1\n[source]\nkind = "demo"\n'),
    "the same on the command line": ("--set", b"a[b=1"),
    "nested too deeply": ("recipes", b"a = " + b"[" * 5_000),
    "the same as a value": ("--set", b"a=" + b"[" * 5_000),
    "a NUL byte in a path": ("recipes", _TABLE + b'items = "a\\u0000"\n'),
    "no pattern of file names": ("recipes", _LOG + b'events = "**a"\n'),
    "a log-probability beyond every float": ("answers of a language model", _reply(-(10**400))),
    "more tokens than a float holds": ("answers of a language model", _reply(-0.1, 10**400)),
    "tokens that were given back": ("answers of a language model", _reply(-0.1, -5)),
    "an answer nested too deeply": ("answers of a language model", b"200\n" + b"[" * 100_000),
    "a waiting time that is no number": ("answers of a language model", b"429 \xb2\n{}"),
    "bytes in a column of texts": (
        "items (parquet)",
        as_parquet({"item_id": ["A", "B"], "title": ["x" * 40, None]}).replace(b"x" * 40, b"\xff" * 40),
    ),
    "two columns of one name": (
        "items (parquet)",
        as_parquet(pa.table([pa.array(["A"]), pa.array(["B"])], names=["item_id", "item_id"])),
    ),
    "a line end in a header": ("events (csv)", b"session,item\r\r,type,time\ns,A,view,1\n"),
    "a field that is too long for a header": (
        "events (csv)",
        b"session,item,type,time," + b"x" * 200_000 + b"\ns,A,view,1,\n",
    ),
    "the same beside what is not UTF-8": ("items (csv)", b"item_id,title\nA," + b"x" * 200_000 + b"\xff\n"),
    "a gzip file without the ending": ("events (csv)", gzip.compress(b"session,item,type,time\ns,A,view,1\n", mtime=0)),
    "ids that are no number": ("events (parquet)", as_parquet(_EVENTS | {"item": [float("nan"), 1e300]})),
    "times that are none": ("events (parquet)", as_parquet(_EVENTS | {"time": [[1], [2]]})),
    "types that are none": ("events (parquet)", as_parquet(_EVENTS | {"type": [b"\xff", b"view"]})),
    "an image whose decoder raises what it likes": ("images", b'P6\n9 12\n"255\n'),
    "a feed in an encoding that there is not": ("items (xml)", b'<?xml version="1.0" encoding="STF-8"?><a/>'),
    "a judge whose name is no text": ("judgements", judged_by(b"\x82")),
    "judgements of a year that Python has not": ("judgements", judged_by(b"x", 1 << 40)),
    "a column of judgements whose name is no text": ("judgements", judged_by(b"x").replace(b"source", b"s\x94urce")),
    "graphs that end within a number": ("graphs (faiss)", b"\0IxMp\2\0\0\0\1" + b"\0" * 20),
    "a scale of nothing": ("index.json", described(calibration=_EQUAL | {"scale": [0, 1]})),
    "a scale of next to nothing": ("index.json", described(calibration=_EQUAL | {"scale": [5e-324, 1]})),
    "coefficients that no machine number holds": (
        "index.json",
        described(calibration=_EQUAL | {"coefficients": [[10**20, 0.2]] * 3}),
    ),
    "coefficients beyond every exponent": (
        "index.json",
        described(calibration=_EQUAL | {"coefficients": [[1e308, 1e308]] * 3}),
    ),
    "pairs that are no numbers": ("index.json", described(pairs=["substitute"])),
    "prices without end": ("index.safetensors", stored(price=np.array([1, np.inf, np.inf, 2], np.float32))),
    "gates of too few networks": ("index.safetensors", stored(gate=np.ones((4, 1, 1), np.float16))),
    "an image that goes over its pixels thousands of times": ("images", _scans(3_000)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_sound_input_is_kept(name: str) -> None:
    """The seeds themselves: a target that refuses everything would never fail."""
    kept = [TARGETS[name].check(content).kept for content in TARGETS[name].seeds()]
    assert any(kept)


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_once(found: str) -> None:
    name, content = FOUND[found]
    TARGETS[name].timed(content)


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sound input with some stretches replaced, left out, repeated or put in; or bytes out of nowhere."""
    content = draw(st.sampled_from([*seeds, b""]))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(start + 40, len(content))))
        change = draw(st.sampled_from(("replace", "repeat", "cut", "byte")))
        match change:
            case "replace":
                content = content[:start] + draw(st.binary(max_size=20)) + content[stop:]
            case "repeat":
                content = content[:stop] + content[start:stop] * draw(st.integers(1, 20)) + content[stop:]
            case "cut":
                content = content[:start]
            case "byte":
                content = content[:start] + draw(st.sampled_from(_TELLING)) + content[start + 1 :]
    return content


# Bytes that mean something in one of the formats.
_TELLING = [bytes([byte]) for byte in b"\0\t\n\r\"',;:{}[]<>\\=-.0\x1f\x7f\x80\xff"]


def rubbish(target: Target, examples: int) -> Callable[[], None]:
    """A search for inputs that a target cannot stand, the same in every run."""

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,  # `timed` looks at the processor's time instead
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(mutated(list(target.seeds())))
    def search(content: bytes) -> None:
        target.timed(content)

    return search


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_kept_skipped_with_a_reason_or_refused(name: str) -> None:
    rubbish(TARGETS[name], EXAMPLES[name])()
