"""Memory follows a block: no file takes more than 512 MiB above what `mmsc` needs anyway, whatever it becomes."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
MOST_MIB = 512
MIB = 1 << 20
# Reads a file as `prepare` does, after everything has been imported; prints what it took above that, in MiB.
SCRIPT = """
import os, sys
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
from pathlib import Path
from tempfile import TemporaryDirectory
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from mmsc_cli.errors import MmscError
from mmsc_cli.diff.answer_table import read_answers
from mmsc_cli.infer.shop.rule_sources import read_rules
from mmsc_cli.label.gold import read_gold
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.guess.head import read_head
from mmsc_cli.prepare.sources.amazon import read_amazon
from mmsc_cli.prepare.sources.item_table import read_item_table
import pyarrow.parquet, pandas, orjson
path = Path(sys.argv[2])
with TemporaryDirectory() as folder:
    delivery = Delivery(Path(folder))
    readers = {
        "items": lambda: read_item_table(path, {}, delivery),
        "amazon": lambda: read_amazon([path], delivery, cores=1),
        "gold": lambda: read_gold(path, ["A", "B"]),
        "head": lambda: read_head(path),
        "rules": lambda: read_rules(path),
        "answers": lambda: read_answers(str(path), 10),
    }
    base = getrusage(RUSAGE_SELF).ru_maxrss
    try:
        readers[sys.argv[1]]()
        print("read", delivery.counts["records"], end=" ")
    except MmscError as error:
        print("refused", 0, end=" ")
        print(error.message, file=sys.stderr)
    print((getrusage(RUSAGE_SELF).ru_maxrss - base) // 1024)
"""


def _measured(reader: str, path: Path) -> tuple[str, int]:
    """Whether the file was read or refused, and how many MiB that took."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(path.parent)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, reader, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30)),
    )
    assert ran.returncode == 0, ran.stderr
    outcome, _, taken = ran.stdout.split()
    return outcome, int(taken)


def _gzip(path: Path, pieces: list[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


def _dictionary_bomb(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * MIB]))
    table = pa.table({"item_id": pa.array([str(number) for number in range(20_000)]), "title": texts})
    pq.write_table(table, path, compression="zstd")


def _huge_page(path: Path) -> None:
    table = pa.table({"item_id": [str(number) for number in range(900)], "title": ["y" * MIB] * 900})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, data_page_size=1 << 31)


def _million_lists(path: Path) -> None:
    paths = pa.array([["x"] * 1_000_000] * 40)
    pq.write_table(pa.table({"item_id": [str(number) for number in range(40)], "category": paths}), path)


def _csv(path: Path) -> None:
    notes = b"some words of a column that nobody asked for, " * 50
    with path.open("wb") as file:
        file.write(b"item_id,title,notes\n")
        for number in range(110_000):
            file.write(b'A%d,thing %d,"%s"\n' % (number, number, notes))


def _shopify(path: Path) -> None:
    """Every second row is the first of its product, whose description the other inherits."""
    with path.open("wb") as file:
        file.write(b"Handle,Title,Body (HTML),Variant SKU,Variant Price,Status\n")
        for number in range(60_000):
            first = b"Mug,%d %s" % (number, b"some words of a description " * 300) if number % 2 == 0 else b","
            file.write(b"h%d,%s,S%d,1.50,active\n" % (number // 2, first, number))


def _one_line(path: Path) -> None:
    path.write_bytes(b"item_id,title\nA," + b"x" * (256 * MIB))


def _open_quote(path: Path) -> None:
    path.write_bytes(b'item_id,title\nA,"' + b"x\n" * (128 * MIB))


def _columns(path: Path) -> None:
    path.write_bytes(b"item_id" + b",c" * (4 * MIB - 9) + b"\n")


def _empty_lists(path: Path) -> None:
    _gzip(path, [b'{"item_id": "A", "title": ['] + [b"[]," * MIB] * 40 + [b"[]]}\n"])


def _many_names(path: Path) -> None:
    lines = [b'{"item_id": "A%d", "c%d": 1}\n' % (number, number) for number in range(200_000)]
    path.write_bytes(b"".join(lines))


def _json_bomb(path: Path) -> None:
    _gzip(path, [b'{"item_id": "A", "title": "'] + [b" " * MIB] * 500 + [b'"}\n'])


def _array(path: Path) -> None:
    record = b'{"item_id": "A", "title": "%s"},' % (b"t" * 1_000)
    path.write_bytes(b"[" + record * 100_000 + b'{"item_id": "B"}]')


def _feed(path: Path) -> None:
    product = b"<item><item_id>A</item_id><title>t</title><notes>%s</notes></item>" % (b"t" * 5_000)
    path.write_bytes(b"<rss><channel>" + product * 30_000 + b"<a/>" * 2_000_000 + b"</channel></rss>")


def _feed_of_one(path: Path) -> None:
    path.write_bytes(b"<rss><channel><item>" + b"<a/>" * (16 * MIB) + b"</item></channel></rss>")


def _literals(path: Path) -> None:
    """Nothing that JSON could say, so that Python's own parser is asked."""
    path.write_bytes(b"".join(b"{'asin': 'A%d', 'title': (%s)}\n" % (n, b"()," * 1_000_000) for n in range(8)))


def _gold(path: Path) -> None:
    path.write_bytes(b"a,b,label\n" + b"A,B,substitute\nA,C,neither\n" * 1_000_000)


def _rules(path: Path) -> None:
    path.write_bytes(b"rule,item,query\n" + b"".join(b"block,A%d,B%d\n" % (n, n) for n in range(3_000_000)))


def _open_rule(path: Path) -> None:
    path.write_bytes(b'rule,item\nblock,"' + b"x\n" * (128 * MIB))


def _answers(path: Path) -> None:
    rows = 20_000
    titles = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * MIB]))
    columns = {"query": ["A"] * rows, "relation": ["substitute"] * rows, "rank": list(range(1, rows + 1))}
    table = pa.table(columns | {"item": ["B"] * rows, "score": [1.0] * rows, "title": titles})
    pq.write_table(table, path, compression="zstd")


FILES: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "a dictionary of one text": ("items", "items.parquet", _dictionary_bomb),
    "a page of 900 MiB": ("items", "items.parquet", _huge_page),
    "lists of a million": ("items", "items.parquet", _million_lists),
    "a catalogue of 250 MiB": ("items", "items.csv", _csv),
    "variants of Shopify": ("items", "items.csv", _shopify),
    "a line of 256 MiB": ("items", "items.csv", _one_line),
    "a quote that never ends": ("items", "items.csv", _open_quote),
    "four million columns": ("items", "items.csv", _columns),
    "a record of empty lists": ("items", "items.jsonl.gz", _empty_lists),
    "200,000 names of columns": ("items", "items.jsonl", _many_names),
    "a packed line of blanks": ("items", "items.jsonl.gz", _json_bomb),
    "a list of 100 MiB": ("items", "items.json", _array),
    "a long feed": ("items", "items.xml", _feed),
    "a feed of one product": ("items", "items.xml", _feed_of_one),
    "metadata of empty lists": ("amazon", "meta.json.gz", _empty_lists),
    "metadata of blanks": ("amazon", "meta.json.gz", _json_bomb),
    "Python literals": ("amazon", "meta.json", _literals),
    "human labels": ("gold", "gold.csv", _gold),
    "three million rules": ("rules", "rules.csv", _rules),
    "a rule that never ends": ("rules", "rules.csv", _open_rule),
    "a night of one title": ("answers", "night.parquet", _answers),
    "the head of a list": ("head", "items.json", _array),
    "the head of a page of 900 MiB": ("head", "items.parquet", _huge_page),
}
# Files that nobody made to harm.
SOUND = {
    "a catalogue of 250 MiB",
    "variants of Shopify",
    "a list of 100 MiB",
    "a long feed",
    "human labels",
    "the head of a list",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much a process took at most")
@pytest.mark.parametrize("kind", FILES)
def test_no_file_takes_more_than_half_a_gibibyte(tmp_path: Path, kind: str) -> None:
    reader, name, write = FILES[kind]
    write(tmp_path / name)
    outcome, taken = _measured(reader, tmp_path / name)

    assert outcome == "read" or kind not in SOUND
    assert taken <= MOST_MIB, f"{taken} MiB"
