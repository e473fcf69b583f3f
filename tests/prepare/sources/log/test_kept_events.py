"""A log that grows night by night is counted as if all of it had been read at once."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.sources.log import kept_events
from mmsc_cli.prepare.stage import KEPT_EVENTS, prepare
from mmsc_cli.recipe.recipe import Recipe
from mmsc_cli.workspace.workspace import Workspace

DAY = 86_400
START = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp())
HEAD = "session,item,type,time\n"
# Two pairs that are always there, so that no night is without any.
ALWAYS = "".join(
    f"{session},{item},{kind},{START + 79 * DAY}\n"
    for session, items in (("x", "PQ"), ("y", "PQ"), ("z", "R"))
    for item in items
    for kind in ("view", "purchase")
)
TABLES = ("items.parquet", "pairs.parquet", "outside.parquet")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2", "s3", "s4", ""]),
        st.sampled_from(["A", "B", "C", "D", " A ", "E", "null"]),
        st.sampled_from(["view", "view", "purchase", "cart"]),
        st.one_of(st.integers(START, START + 99 * DAY).map(str), st.sampled_from(["", "soon", "2026-08-03 10:00"])),
    ),
    max_size=30,
)
SOURCES: list[dict[str, Any]] = [
    {},
    {"min_support": 1, "session_items": 2},
    {"window_minutes": 24 * 60.0, "min_support": {"view": 2}},
    {"since": "90d", "min_support": 1},
    {"since": "2d", "until": "2026-10-20", "score": "llr"},
    {"items": "items.csv", "min_support": 1},
]


def _recipe(**source: Any) -> Recipe:
    columns = {"title": "title"} if "items" in source else {}
    whole = {"kind": "events", "events": "log/*.csv", "columns": columns, **source}
    return Recipe.model_validate({"name": "shop", "source": whole})


def _write(folder: Path, name: str, rows: Sequence[tuple[str, ...]] | str) -> Path:
    (folder / "log").mkdir(exist_ok=True)
    path = folder / "log" / name
    path.write_text(HEAD + (rows if isinstance(rows, str) else "".join(",".join(row) + "\n" for row in rows)))
    return path


def _result(workspace: Workspace) -> dict[str, Any]:
    tables = {
        name: (workspace.root / name).read_bytes() for name in ("items.parquet", "pairs.parquet", "outside.parquet")
    }
    counts = dict(workspace.manifest().stages["prepare"].counts)
    # What a log lost since the night before is told that night only.
    counts["warnings"] = [text for text in counts["warnings"] if "at the last prepare" not in text]
    return tables | {"counts": counts}


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_any_cutting_and_any_order_of_files_count_as_the_whole(data: st.DataObject) -> None:
    events = data.draw(EVENTS)
    files = data.draw(st.integers(1, 4))
    cutting = [data.draw(st.integers(0, files - 1)) for _ in events]
    source = data.draw(st.sampled_from(SOURCES))
    gone = data.draw(st.booleans())
    parts = [[event for event, part in zip(events, cutting, strict=True) if part == number] for number in range(files)]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "items.csv").write_text(
            "item_id,title,group\nA,lamp,g\nB,lamp,g\nC,shade,\nP,bulb,\nQ,cord,\nR,reel,\n"
        )
        recipe, night = _recipe(**source), Workspace(folder / "night")
        _write(folder, "always.csv", ALWAYS)
        if gone:
            more = _write(folder, "gone.csv", [("s1", item, "view", str(START)) for item in "AC"])
        for number in data.draw(st.permutations(range(files))):
            _write(folder, f"{number}.csv", parts[number])
            prepare(night, recipe, recipe_directory=folder)
        if gone:
            more.unlink()
            prepare(night, recipe, recipe_directory=folder)
        fresh = Workspace(folder / "fresh")
        prepare(fresh, recipe, recipe_directory=folder)
        assert _result(night) == _result(fresh)
        # The log in one piece.
        for path in (folder / "log").iterdir():
            path.unlink()
        _write(folder, "whole.csv", ALWAYS + "".join(",".join(event) + "\n" for event in events))
        whole = Workspace(folder / "whole")
        prepare(whole, recipe, recipe_directory=folder)
        expected = _result(whole)
        assert {name: value for name, value in _result(night).items() if name != "counts"} == {
            name: value for name, value in expected.items() if name != "counts"
        }
        assert _numbers(_result(night)["counts"]) == _numbers(expected["counts"])


def _numbers(counts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counts.items() if name not in ("columns", "warnings")}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files of the log that are read."""
    names: list[str] = []
    take = kept_events.KeptEvents.take

    def note(self: Any, engine: Any, shard: Any, select: str) -> None:
        run = engine.run

        def running(statement: str, **given: Any) -> Any:
            if statement.lstrip().startswith("CREATE OR REPLACE TABLE parsed"):
                names.append(shard.path.name)
            return run(statement, **given)

        engine.run = running
        take(self, engine, shard, select)
        engine.run = run

    monkeypatch.setattr(kept_events.KeptEvents, "take", note)
    return names


def _night(folder: Path, **source: Any) -> Workspace:
    workspace = Workspace(folder / "space")
    prepare(workspace, _recipe(**source), recipe_directory=folder)
    return workspace


def test_a_new_day_costs_that_day(tmp_path: Path, reads: list[str]) -> None:
    _write(tmp_path, "1.csv", ALWAYS)
    _night(tmp_path)
    _write(tmp_path, "2.csv", [("s", "P", "view", str(START)), ("s", "R", "view", str(START))])
    _night(tmp_path)
    assert reads == ["1.csv", "2.csv"]


def test_a_file_that_changed_is_read_again_and_one_that_moved_is_not(tmp_path: Path, reads: list[str]) -> None:
    first = _write(tmp_path, "1.csv", ALWAYS)
    second = _write(tmp_path, "2.csv", [("s", "P", "view", str(START))])
    _night(tmp_path)
    first.rename(first.with_name("3.csv"))
    before = second.stat()
    _write(tmp_path, "2.csv", [("s", "Q", "view", str(START))])
    os.utime(second, ns=(before.st_atime_ns, before.st_mtime_ns))
    _night(tmp_path)
    assert reads == ["1.csv", "2.csv", "2.csv"]


def test_settings_that_change_the_reading_throw_away_what_is_kept(
    tmp_path: Path, reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mmsc_cli")
    _write(tmp_path, "1.csv", ALWAYS)
    _night(tmp_path)
    _night(tmp_path, since="90d", session_items=3, min_support=2)
    assert reads == ["1.csv"], "neither the period nor the counting changes what a file holds"
    _night(tmp_path, types={"view": ["view", "purchase"], "purchase": ["order"]})
    assert reads == ["1.csv", "1.csv"]
    assert "log: the settings or the columns changed: read again 1 file" in caplog.text
    assert len(list((tmp_path / "space" / KEPT_EVENTS).iterdir())) == 3, "what is no use is removed"


def test_a_file_that_is_there_twice_counts_twice(tmp_path: Path) -> None:
    _write(tmp_path, "1.csv", ALWAYS)
    _write(tmp_path, "2.csv", ALWAYS)
    assert _night(tmp_path).manifest().stages["prepare"].counts["events"] == 20


def test_what_is_kept_and_damaged_is_read_again(
    tmp_path: Path, reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path, "1.csv", ALWAYS)
    whole = _result(_night(tmp_path))
    for name in ("events.parquet", "tally.parquet", "json"):
        (kept,) = (tmp_path / "space" / KEPT_EVENTS).glob(f"*.{name}")
        content = kept.read_bytes()
        kept.write_bytes(content[: len(content) // 2])
        assert _result(_night(tmp_path)) == whole
    assert reads == ["1.csv"] * 4
    assert ".events.parquet is damaged: its file is read again" in caplog.text


STRANGE = {
    "events": [
        "SELECT * EXCLUDE (times)",
        "SELECT * REPLACE ('x' || session AS session)",
        "SELECT * REPLACE ('\\xFF'::BLOB AS item)",
        "SELECT * REPLACE (NULL::VARCHAR AS item)",
        "SELECT * REPLACE (7::UTINYINT AS kind)",
        "SELECT * REPLACE (-times AS times)",
        "SELECT * REPLACE ((2**62)::BIGINT AS times)",
        "SELECT * REPLACE ('nan'::DOUBLE AS seconds)",
        "SELECT * REPLACE (1e300::DOUBLE AS seconds)",
    ],
    "tally": [
        "SELECT 1 AS x",
        "SELECT * REPLACE (3 AS fate)",
        "SELECT * REPLACE ('gone' AS fate)",
        "SELECT * REPLACE (-events AS events)",
    ],
}


@pytest.mark.parametrize(("kind", "select"), [(kind, select) for kind in STRANGE for select in STRANGE[kind]])
def test_what_a_stranger_kept_and_no_log_can_be_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, select: str
) -> None:
    _write(tmp_path, "1.csv", ALWAYS)
    whole = _result(_night(tmp_path))
    folder = tmp_path / "space" / KEPT_EVENTS
    (table,), (about,) = folder.glob(f"*.{kind}.parquet"), folder.glob("*.json")
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE kept AS {select} FROM '{table}'")
        connection.execute(f"COPY kept TO '{table}' (FORMAT parquet)")
    about.write_text(json.dumps(json.loads(about.read_text()) | {kind: sha256(table.read_bytes()).hexdigest()}))

    assert _result(_night(tmp_path)) == whole
    assert f"{table} is not of a log: its file is read again" in caplog.text


def test_a_period_in_days_moves_with_the_newest_event(tmp_path: Path) -> None:
    def seen() -> set[str]:
        workspace = _night(tmp_path, since="10d", min_support=1)
        return set(pq.read_table(workspace.path("items.parquet"))["item_id"].to_pylist())

    def day(number: int) -> list[tuple[str, ...]]:
        return [(f"s{number}", f"{letter}{number}", "view", str(START + number * DAY)) for letter in "AB"]

    _write(tmp_path, "1.csv", day(1))
    _write(tmp_path, "2.csv", day(11))
    assert seen() == {"A1", "B1", "A11", "B11"}
    _write(tmp_path, "3.csv", day(12))
    assert seen() == {"A11", "B11", "A12", "B12"}
    (tmp_path / "log" / "3.csv").unlink()
    assert seen() == {"A1", "B1", "A11", "B11"}, "what fell out is not lost"


def test_parquet_is_kept_as_well(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "log").mkdir()
    table = pa.table({"session": ["x", "x", "y", "y"], "item": [1, 2, 1, 2], "type": ["view"] * 4})
    pq.write_table(table, tmp_path / "log" / "1.parquet")
    first = _result(_night(tmp_path, events="log/*.parquet"))
    assert _result(_night(tmp_path, events="log/*.parquet")) == first
    assert reads == ["1.parquet"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_of_several_files_only_the_one_that_cannot_be_read_is_named(tmp_path: Path, line_end: str) -> None:
    _write(tmp_path, "1.csv", ALWAYS)
    _write(tmp_path, "2.csv", f"s,P,view,{START}{line_end}s,R,view\n")
    _write(tmp_path, "3.csv", ALWAYS)
    with pytest.raises(InputError, match=r"^\S*2\.csv: not readable: CSV Error on Line: 3 Expected"):
        _night(tmp_path)
