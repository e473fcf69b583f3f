"""Tell files that hold no text, which no reader of text can say anything useful about."""

from __future__ import annotations

from pathlib import Path

from mmsc_cli.errors import InputError

_MARKS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of before 2007",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04\x95": "a Python pickle",
    b"SQLite format 3\0": "an SQLite database",
    b"ARROW1\0": "an Arrow or Feather table",
    b"Obj\x01": "Avro records",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 4096
# Texts hold a stray control character at most.
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1a\x1b")
_FEW = 0.05


def refuse_no_text(path: Path, start: bytes) -> None:
    """Refuse a file whose first bytes are those of no text. UTF-16 passes, as readers name it.

    Raises:
        InputError: it is an image, a database, or the like.
    """
    start = start[:_LOOKED_AT]
    what = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if what is None and not start.startswith(_UTF_16):
        what = "binary data" if sum(byte in _CONTROLS for byte in start) > _FEW * len(start) else None
    if what is not None:
        raise InputError(
            f"{path}: no table of text: it is {what}", hint="save it as CSV, JSON lines or Parquet, in UTF-8"
        )
