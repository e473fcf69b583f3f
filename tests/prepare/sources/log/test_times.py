"""Times as logs write them, read by SQL as `seconds_sql` gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.sources.log.times import TimeForm, decide_form, is_time, seconds_sql

Read = Callable[..., tuple[list[datetime | None], TimeForm]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The moments that a column of texts or numbers stands for, and how it is taken to be written."""

    def read(values: Sequence[str | float], day_first: bool | None = None) -> tuple[list[datetime | None], TimeForm]:
        with Engine(tmp_path) as engine:
            engine.run("SET TimeZone = 'UTC'")
            engine.add_table("log", pa.table({"n": list(range(len(values))), "t": list(values)}))
            kind = "VARCHAR" if isinstance(values[0], str) else "DOUBLE"
            form = decide_form(engine, [("log", "t::VARCHAR", kind)], day_first)
            rows = engine.run(f"SELECT {seconds_sql('t::VARCHAR', 't', kind, form)} FROM log ORDER BY n")
            return [None if s is None else datetime.fromtimestamp(s, UTC) for (s,) in rows], form

    return read


@pytest.mark.parametrize(
    "written",
    [
        "2010-12-01 08:26",
        "2010-12-01T08:26:00Z",
        "2010-12-01T08:26:00.000+00:00",
        "2010-12-01 09:26:00 +0100",
        "2010-12-01 09:26:00 CET",
        "2010-12-01 08:26 AM",
        "2010/12/01 8:26",
        "2010.12.01 08:26:00",
        "201012010826",
        "20101201082600",
        "20101201T082600Z",
        "1291191960",
        "1291191960000",
        "01/Dec/2010:08:26:00 +0000",
        "[01/Dec/2010:03:26:00 -0500]",
        "Wed, 01 Dec 2010 08:26:00 GMT",
        "Wed, 01 Dec 2010 00:26:00 PST",
        "Wed Dec 01 08:26:00 2010",
        "Wed Dec  1 08:26:00 UTC 2010",
        "Wed Dec 01 2010 09:26:00 GMT+0100 (CET)",
        "Dec 1, 2010 8:26 am",
        "December 1st, 2010 at 8:26",
        "1. Dezember 2010 08:26 Uhr",
        "1. Dez. 2010, 08:26",
        "01-Dec-2010 08:26:00",
        "01-Dec-10 08:26:00",
        "1 décembre 2010 08:26",
        "1 de diciembre de 2010 08:26",
        "2010-Dec-01 08:26",
    ],
)
def test_a_time_is_read_in_every_common_form(read: Read, written: str) -> None:
    assert read([written])[0] == [datetime(2010, 12, 1, 8, 26, tzinfo=UTC)]
    assert is_time(written)


@pytest.mark.parametrize(
    ("written", "month"),
    [
        *(("3. März 2024", 3), ("3 mars 2024", 3), ("3 Mrz 2024", 3), ("3 mai 2024", 5), ("3 maart 2024", 3)),
        *(("3 juin 2024", 6), ("3 juillet 2024", 7), ("3 août 2024", 8), ("3. Okt 2024", 10), ("3 gennaio 2024", 1)),
        *(("3. Jänner 2024", 1), ("mar. 3 sept. 2024", 9), ("3 outubro 2024", 10)),
    ],
)
def test_months_have_names_in_several_languages(read: Read, written: str, month: int) -> None:
    assert read([written])[0] == [datetime(2024, month, 3, tzinfo=UTC)]


@pytest.mark.parametrize(
    "written", ["soon", "", "10:00:00", "2024-13-01", "31 Feb 2024", "12 Foo 2024", "2024-10-01 10:00 XYZ", "7-8"]
)
def test_what_is_no_time_is_read_as_none(read: Read, written: str) -> None:
    moments, _ = read([written])
    assert moments == [None]


@pytest.mark.parametrize("mark", ["/", "-", "."])
def test_one_date_that_can_only_be_read_one_way_decides_for_its_column(read: Read, mark: str) -> None:
    days = [text.replace("/", mark) for text in ("1/2/2024 8:26", "13/2/2024 20:05:01")]
    assert read(days)[0] == [datetime(2024, 2, 1, 8, 26, tzinfo=UTC), datetime(2024, 2, 13, 20, 5, 1, tzinfo=UTC)]
    months = [text.replace("/", mark) for text in ("1/2/2024 8:26 PM", "2/13/2024 12:05 AM")]
    assert read(months)[0] == [datetime(2024, 1, 2, 20, 26, tzinfo=UTC), datetime(2024, 2, 13, 0, 5, tzinfo=UTC)]


def test_a_deciding_date_counts_wherever_it_stands(read: Read) -> None:
    moments, form = read(["1/2/2024"] * 5_000 + ["2/13/2024"])
    assert form.day_first is False
    assert moments[0] == datetime(2024, 1, 2, tzinfo=UTC)


def test_dates_with_dots_begin_with_the_day(read: Read) -> None:
    assert read(["01.02.2024 10:00", "02.02.24"])[0] == [
        datetime(2024, 2, 1, 10, tzinfo=UTC),
        datetime(2024, 2, 2, tzinfo=UTC),
    ]


@pytest.mark.parametrize("dates", [["1/2/2024", "3/4/2024"], ["13/2/2024", "2/13/2024"], ["01-02-2024"]])
def test_dates_that_nothing_decides_are_not_guessed(read: Read, dates: list[str]) -> None:
    moments, form = read(dates)
    assert moments == [None] * len(dates)
    assert form.doubt is not None
    assert "day_first" in form.doubt
    assert dates[0] in form.doubt


def test_the_recipe_decides_on_dates_that_do_not(read: Read) -> None:
    assert read(["1/2/2024"], True)[0] == [datetime(2024, 2, 1, tzinfo=UTC)]
    assert read(["1/2/2024"], False)[0] == [datetime(2024, 1, 2, tzinfo=UTC)]


def test_short_years_that_stand_first_are_not_taken_for_days(read: Read) -> None:
    moments, form = read([f"24/10/{day:02}" for day in range(1, 20)])
    assert moments[0] is None
    assert form.doubt is not None
    assert read(["10-12-01"])[0] == [None]


def test_days_of_a_spreadsheet_are_days(read: Read) -> None:
    noon = datetime(2024, 10, 1, 12, tzinfo=UTC)
    for values in (["45566.5", "45567.25"], [45566.5, 45567.25]):
        assert read(values)[0] == [noon, noon + timedelta(hours=18)]
    assert read(["30000", "40000"])[0][0] == datetime.fromtimestamp(30_000, UTC)
