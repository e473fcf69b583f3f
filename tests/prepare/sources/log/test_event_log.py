from __future__ import annotations

import gzip
import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.inputs import log_base, log_files
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log.event_log import describe_unreadable, open_log, reopen_with_plain_line_ends
from mmsc_cli.prepare.sources.log.event_sql import PURCHASE, VIEW, time_fate

HEAD = "session,item,type,time\n"
Rows = list[tuple[Any, ...]]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Rows]:
    """The events of a file: session, item, kind, seconds, fate."""

    def read(path: Path | list[Path], **given: Any) -> Rows:
        settings = EventsSource.model_validate({"kind": "events", "events": "x", **given})
        paths = path if isinstance(path, list) else [path]
        with Engine(tmp_path) as engine:
            log = open_log(engine, paths, settings, tmp_path)
            fate = f"coalesce(fate, {time_fate(settings, None)})"
            select = f"SELECT session, item, kind, seconds, {fate} AS fate"
            try:
                return engine.run(f"{select} FROM ({log.events}) ORDER BY ALL")
            except duckdb.Error as error:
                if plain := reopen_with_plain_line_ends(engine, log, settings, tmp_path):
                    return engine.run(f"{select} FROM ({plain.events}) ORDER BY ALL")
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
        ("1e300", None),
        ("-" + "9" * 23, None),
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


def test_shards_are_read_by_their_own_headers(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    shards = [
        _csv(tmp_path, "session,item,type,time\n1,A,view,1\n", "log-1.csv"),
        _csv(tmp_path, "type;item;session;time;device\nview;B;2;2;phone\n", "log-2.csv"),
        _csv(tmp_path, ' Item ,"SESSION",Type,Time\nC,3,view,3\n', "log-3.csv"),
        _csv(tmp_path, "4,D,view,4\n5,E,view,5\n", "log-4.csv"),
        _csv(tmp_path, '{"item": "F", "session": 6, "type": "view", "time": 6}\n', "log-5.jsonl"),
    ]
    assert [row[:2] for row in rows(shards)] == [("1", "A"), ("2", "B"), ("3", "C"), ("4", "D"), ("5", "E"), ("6", "F")]


def test_a_shard_that_lacks_a_column_is_named(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    shards = [
        _csv(tmp_path, "session,item,type,time\n1,A,view,1\n", "log-1.csv"),
        _csv(tmp_path, "session,product,type,time\n1,A,view,1\n", "log-2.csv"),
    ]
    with pytest.raises(InputError, match=r"log-2\.csv: no column 'item' among") as caught:
        rows(shards)
    assert 'item = "product"' in str(caught.value.hint)


def test_all_missing_columns_are_named_at_once(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    with pytest.raises(InputError, match="no column 'session', 'item'") as caught:
        rows(_csv(tmp_path, "user_session,product_id,event_type\n1,A,view\n"))
    assert 'session = "user_session", item = "product_id", type = "event_type"' in str(caught.value.hint)


@pytest.mark.parametrize("numbers", [[123, 124], [123.0, 124.0]])
def test_ids_with_zeros_and_without_are_never_mixed(
    tmp_path: Path, rows: Callable[..., Rows], numbers: list[float]
) -> None:
    frame = pd.DataFrame({"session": ["1", "1"], "item": numbers, "type": "view"})
    frame.to_parquet(tmp_path / "log-1.parquet")
    shards = [tmp_path / "log-1.parquet", _csv(tmp_path, "session,item,type\n2,00123,view\n", "log-2.csv")]
    with pytest.raises(InputError, match=r"log-2\.csv: ids such as 00123 are text here"):
        rows(shards)
    shards[1] = _csv(tmp_path, "session,item,type\n2,123,view\n", "log-2.csv")
    assert [row[1] for row in rows(shards)] == ["123", "124", "123"]


def test_text_of_parquet_is_utf8_whatever_it_is_called(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    columns = {"session": [b"1"], "item": ["Töpfchen".encode()], "type": [b"view"]}
    pq.write_table(
        pa.table(columns, schema=pa.schema([(name, pa.binary()) for name in columns])), tmp_path / "l.parquet"
    )
    assert rows(tmp_path / "l.parquet")[0][:3] == ("1", "Töpfchen", VIEW)


@pytest.mark.parametrize(
    "text",
    [
        "session,item,type\r\n1,A,view\n1,B,view\r\n",
        "session,item,type\r1,A,view\r1,B,view\r",
        "session,item,type,\n1,A,view,\n1,B,view,\n",
        "session,item,type\n1,A\t,view\n1,\u00a0B , view \n",
        ",session,item,type\n0,1,A,view\n1,1,B,view\n",
        "\ufeffsession,item,type\n1,A,view\n1,B,view\n",
        'session,item,type,query\n1,A,view,"12\\" pan, flat"\n1,B,view,x\n',
        "session,item,type\n1,A,view\n\n1,B,view\n\n",
    ],
    ids=["mixed", "cr", "trailing", "blanks", "index", "bom", "backslash", "empty lines"],
)
def test_lines_and_fields_of_many_programs(tmp_path: Path, rows: Callable[..., Rows], text: str) -> None:
    assert [row[:2] for row in rows(_csv(tmp_path, text))] == [("1", "A"), ("1", "B")]


def test_what_a_file_is_its_first_bytes_say(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    text = "session,item,type\n1,A,view\n"
    (tmp_path / "log.csv").write_bytes(gzip.compress(text.encode()))
    assert rows(tmp_path / "log.csv")[0][1] == "A"
    (tmp_path / "log2.csv.gz").write_text(text)
    assert rows(tmp_path / "log2.csv.gz")[0][1] == "A"
    with pa.CompressedOutputStream(str(tmp_path / "log.csv.zst"), "zstd") as file:
        file.write(text.encode())
    assert rows(tmp_path / "log.csv.zst")[0][1] == "A"
    (tmp_path / "log3.csv.gz").write_bytes(gzip.compress(gzip.compress(text.encode())))
    with pytest.raises(InputError, match="packed as gzip within another packing"):
        rows(tmp_path / "log3.csv.gz")
    (tmp_path / "log.zip").write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="packed as zip"):
        rows(tmp_path / "log.zip")


def test_null_words_are_no_ids(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    found = rows(_csv(tmp_path, "session,item,type\n1,NULL,view\nnan,A,view\n1,\\N,view\n1,A,view\n"))
    assert Counter(row[4] for row in found) == {"events_without_id": 3, None: 1}


def test_times_that_nobody_asks_for_lose_no_event(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    path = _csv(tmp_path, f"{HEAD}1,A,view,soon\n1,B,view,\n")
    assert [row[4] for row in rows(path)] == [None, None]
    assert [row[4] for row in rows(path, window_minutes=5)] == ["events_without_time"] * 2


def test_a_path_that_exists_is_that_file(tmp_path: Path) -> None:
    for name in ("events[1].csv", "events1.csv"):
        _csv(tmp_path, HEAD, name)
    assert [path.name for path in log_files(tmp_path, "events[1].csv")] == ["events[1].csv"]


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    for name in ("2024-05-02.csv", "2024-05-01.csv.gz", "_SUCCESS", ".part.csv", "notes.md"):
        _csv(tmp_path, HEAD, name)
    assert [path.name for path in log_files(tmp_path.parent, tmp_path.name)] == ["2024-05-01.csv.gz", "2024-05-02.csv"]


def test_folders_are_columns_only_where_the_log_lacks_them(tmp_path: Path) -> None:
    for name in ("type=view", "type=purchase"):
        (tmp_path / "item=Z" / name).mkdir(parents=True)
        _csv(tmp_path / "item=Z" / name, "session,item\n1,A\n1,B\n")
    settings = EventsSource.model_validate({"kind": "events", "events": "x"})
    base = tmp_path / "item=Z"
    (tmp_path / "work").mkdir()
    with Engine(tmp_path / "work") as engine:
        paths = log_files(base, "**/*.csv")
        log = open_log(engine, paths, settings, tmp_path / "work", log_base(base, "**/*.csv"))
        found = engine.run(f"SELECT item, kind FROM ({log.events}) ORDER BY ALL")
    assert found == [("A", VIEW), ("A", PURCHASE), ("B", VIEW), ("B", PURCHASE)]


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    path.write_text("session,item,type\n1,A,view\n")
    assert rows(path)[0][1] == "A"


def test_a_pipe_is_read(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("session,item,type\n1,A,view\n"))
    writer.start()
    assert rows(pipe)[0][1] == "A"
    writer.join()


def test_an_empty_file_among_others_is_a_day_without_events(tmp_path: Path, rows: Callable[..., Rows]) -> None:
    shards = [_csv(tmp_path, "", "day-1.csv"), _csv(tmp_path, "session,item,type\n1,A,view\n", "day-2.csv")]
    assert [row[1] for row in rows(shards)] == ["A"]


def test_files_of_other_columns_are_read_by_their_own(rows: Callable[..., Rows], tmp_path: Path) -> None:
    visits = _csv(tmp_path, "visit,article,type\n17,A,x\n,B,x\n", "visits.csv")
    orders = _csv(tmp_path, "order_no,article\n17,A\n", "orders-1.csv")
    columns = [{"session": name, "item": "article"} for name in ("visit", "order_no")]
    logs = [{"files": "visits.csv", "columns": columns[0], "rows": "view"}]
    found = rows([visits, orders], columns=columns[1], logs=logs)
    assert [event[:3] for event in found] == [("17", "A", PURCHASE), ("visit 17", "A", VIEW), (None, "B", VIEW)]
    both = [*logs, {"files": ["orders-*.csv"], "columns": columns[1]}]
    assert rows([visits, orders], logs=both)[0][:3] == ("order_no 17", "A", PURCHASE)
    with pytest.raises(InputError, match=r"no file of the log is views\.csv"):
        rows([visits, orders], columns=columns[1], logs=[{"files": "views.csv", "columns": columns[0]}])
    with pytest.raises(ValueError, match="give one of them"):
        rows(visits, logs=[{"files": "visits.csv", "columns": {"type": "type"}, "rows": "view"}])
    with pytest.raises(InputError, match="no column 'visit_no'") as error:
        rows(visits, logs=[{"files": "visits.csv", "columns": {"session": "visit_no", "item": "article"}}])
    assert "[source.logs.columns]" in str(error.value.hint)


def test_where_all_files_are_read_at_once_the_unreadable_one_is_named(
    tmp_path: Path, rows: Callable[..., Rows]
) -> None:
    good = _csv(tmp_path, f"{HEAD}1,A,view,1\n", "a.csv")
    line = '{"session": 1, "item": "A", "type": "view", "time": 1}\n'
    for name, bad in (("b.csv", f"{HEAD}1,A,view\n"), ("b.jsonl", line + '{"session')):
        path = _csv(tmp_path, bad, name)
        with pytest.raises(InputError, match="not readable") as caught:
            rows([good, path])
        assert caught.value.message.startswith(f"{path}: not readable")
