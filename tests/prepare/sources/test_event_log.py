from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.event_log import PURCHASE, VIEW, describe_unreadable, log_files, open_log

HEAD = "session,item,type,time\n"
Rows = list[tuple[Any, ...]]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Rows]:
    """The normalised events of a file: session, item, kind, seconds, fate."""

    def read(path: Path | list[Path], **given: Any) -> Rows:
        settings = EventsSource.model_validate({"kind": "events", "events": "x", **given})
        paths = path if isinstance(path, list) else [path]
        with Engine(tmp_path) as engine:
            open_log(engine, paths, settings, tmp_path)
            try:
                return engine.run("SELECT session, item, kind, seconds, fate FROM normalised ORDER BY ALL")
            except duckdb.Error as error:
                raise describe_unreadable(error, paths) from error

    return read


def _csv(tmp_path: Path, text: str, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separated_values_are_read_whatever_the_separator(
    tmp_path: Path, rows: Callable[..., Rows], name: str, separator: str
) -> None:
    text = (HEAD + '1,"A;,|\tx",view,10\n2,B,purchase,20\n').replace(",", separator).replace(f"A;{separator}", "A;,")
    assert rows(_csv(tmp_path, text, name))[1] == ("2", "B", PURCHASE, 20.0, None)


def test_parquet_keeps_what_its_types_say(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    frame = pd.DataFrame(
        {
            "session": [1.0, None, 3.0],
            "item": pd.array([2**60 + 1, 7, None], dtype="Int64"),
            "type": ["view"] * 3,
            "time": pd.to_datetime(["2024-01-01T00:00:00Z"] * 3),
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    assert ("1", str(2**60 + 1), VIEW, 1_704_067_200.0, None) in rows(tmp_path / "log.parquet")
    assert [row[4] for row in rows(tmp_path / "log.parquet")].count("events_without_id") == 2


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1704103200", 1_704_103_200.0),
        ("1704103200123", 1_704_103_200.123),
        ("1704103200123456", 1_704_103_200.123456),
        ("2024-01-01T10:00:00Z", 1_704_103_200.0),
        ("2024-01-01 10:00:00", 1_704_103_200.0),
        ("2024-01-01T12:00:00+02:00", 1_704_103_200.0),
        ("2024-01-01", 1_704_067_200.0),
        ("soon", None),
        ("", None),
        ("nan", None),
    ],
)
def test_times_are_read_in_the_forms_that_logs_have(
    tmp_path: Path, rows: Callable[..., Rows], written: str, seconds: float | None
) -> None:
    ((_, _, _, found, fate),) = rows(_csv(tmp_path, f"{HEAD}1,A,view,{written}\n"), since=date(1970, 1, 1))
    if seconds is None:
        assert fate == "events_without_time"
    else:
        assert found == pytest.approx(seconds, abs=1e-5)
        assert fate is None


def test_every_event_that_is_no_use_has_a_fate(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    text = HEAD + "1,A,view,2024-05-01\n,A,view,2024-05-01\n1, ,view,2024-05-01\n1,A,cart,2024-05-01\n1,A,,2024-05-01\n"
    text += "1,A,view,never\n1,A,view,2024-04-30\n1,A,view,2024-06-01\n"
    found = rows(_csv(tmp_path, text), since=date(2024, 5, 1), until=datetime(2024, 6, 1))
    assert Counter(row[4] for row in found) == {
        None: 1,
        "events_without_id": 2,
        "events_of_other_type": 2,
        "events_without_time": 1,
        "events_outside_period": 2,
    }


def test_your_own_names_are_mapped(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    path = _csv(tmp_path, "visitor id,sku,action,at\n1,A,click,5\n1,B,detail,6\n1,C,order's,7\n")
    columns = {"session": "visitor id", "item": "sku", "type": "action", "time": "at"}
    found = rows(path, columns=columns, types={"view": ["click", "detail"], "purchase": ["order's"]})
    assert [row[2] for row in found] == [VIEW, VIEW, PURCHASE]


def test_without_times_a_log_is_fine_until_time_is_asked_for(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    path = _csv(tmp_path, "session,item,type\n1,A,view\n")
    assert rows(path)[0][4] is None
    for asked in ({"window_minutes": 5}, {"since": date(2024, 1, 1)}, {"columns": {"time": "at"}}):
        with pytest.raises(InputError, match=r"no column '(time|at)' among \['session', 'item', 'type'\]"):
            rows(path, **asked)


def test_the_files_of_a_pattern_are_one_log(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    for number in (2, 1):
        _csv(tmp_path, f"{HEAD}{number},A,view,1\n", f"log-{number}.csv")
    paths = log_files(tmp_path, "log-*.csv")
    assert [path.name for path in paths] == ["log-1.csv", "log-2.csv"]
    assert [row[0] for row in rows(paths)] == ["1", "2"]
    assert log_files(tmp_path, "none-*.csv") == [tmp_path / "none-*.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"session,item,type,time\n1,A,view,1\n1,caf\xe9,view,1\n", "line 3, column item: byte 0xe9 is not UTF-8"),
        (b"session,item,type,time\n1,A,view,1\n1,B,view\n", "Line: 3 Expected Number of Columns: 4 Found: 3"),
        (b"session,item,type,time\n1,A,view,1,5\n", "Line: 2 Expected Number of Columns: 4 Found: 5"),
        (b'session,item,type,time\n1,"A,view,1\n', "Line: 2 Value with unterminated quote"),
        (b"session,item,item,time\n", "not a header of distinct names"),
        (b"", "not a header of distinct names"),
        (b"session,item,kind,time\n1,A,view,1\n", "no column 'type' among"),
    ],
)
def test_what_cannot_be_read_is_named_by_line(
    tmp_path: Path, rows: Callable[..., Rows], content: bytes, message: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        rows(path)
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["log.parquet", "log.csv.gz"])
def test_what_the_ending_does_not_say_is_refused(tmp_path: Path, rows: Callable[..., Rows], name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8bno such thing")
    with pytest.raises(InputError, match="not readable"):
        rows(path)


def test_a_missing_file_is_named(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    with pytest.raises(InputError, match=r"no file at .*gone\.csv"):
        rows(tmp_path / "gone.csv")
