"""Files that hold no text are refused in one line, whatever reader they are given to."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsc_cli.errors import InputError
from mmsc_cli.files.no_text import refuse_no_text
from mmsc_cli.files.table_file import read_table_file
from mmsc_cli.prepare.guess.head import read_head
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log.event_pairs import read_events


def _image(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path, "PNG")


def _database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE items (id)")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(9_000))


def _packed_noise(path: Path) -> None:
    path.write_bytes(gzip.compress(np.random.default_rng(1).bytes(9_000)))


@pytest.mark.parametrize(
    ("write", "name"),
    [(_image, "a PNG image"), (_database, "an SQLite database"), (_noise, "binary"), (_packed_noise, "binary")],
)
def test_every_reader_says_in_one_line_what_a_file_is(tmp_path: Path, write: Callable[[Path], None], name: str) -> None:
    path, folder = tmp_path / "items.csv", tmp_path / "delivery"
    write(path)
    folder.mkdir()
    log = EventsSource(kind="events", events="items.csv")
    for read in (read_head, read_table_file, lambda file: read_events([file], [], log, Delivery(folder))):
        with pytest.raises(InputError, match=f"no table of text: it is .*{name}") as caught:
            read(path)
        assert caught.value.message.isascii()
        assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "text", ["ORC,größe\n1,2\n".encode(), "größe;é\n".encode("latin-1"), b"a,b\n1,\0\n" + b"1,2\n" * 9]
)
def test_texts_are_none_of_them(tmp_path: Path, text: bytes) -> None:
    refuse_no_text(tmp_path, text)
