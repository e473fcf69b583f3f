"""Read times as logs write them, in SQL: seconds since 1970, ISO 8601, days or months first, names of months.

A date such as 1/2/2024 is either of two days. The column decides: one 13/2/2024 or 2/13/2024 in it is enough. Where it
does not, its dates are unreadable until the recipe says `day_first`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from mmsc_cli.prepare.duckdb import Engine, literal

# Numbers are seconds, milli-, micro- or nanoseconds since 1970, told apart by size: 1e11 seconds are the year 5138.
_EPOCH = """
    CASE WHEN abs({0}) < 1e11 THEN {0} WHEN abs({0}) < 1e14 THEN {0} / 1e3 WHEN abs({0}) < 1e17 THEN {0} / 1e6
    ELSE {0} / 1e9 END
"""
# The days 1970 to 2099 as spreadsheets count them, from 1899-12-30 on.
_SPREADSHEET_DAYS = 25_569, 73_050
_ISO = r"[12]\d{3}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?( ?[+-]\d{2}(:?\d{2})?|Z| \w+/\w+)?)?"
_COMPACT = r"(19|20)\d{6}([T ]?\d{4}(\d{2})?Z?)?"
_CLOCK = (
    r"(?:(?:,?\s+|t|:|\||,)(?:um |at |- )?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r"\s*(?:([ap])\.?m\.?)?(?:uhr)?)?"
)
_ZONE = r"\s*([a-z]{1,4})?\s*([+-]\d{1,2}(?::?\d{2})?)?(?:\s*\([a-z ]*\))?"
_OF = r"(?:st|nd|rd|th|\.)?(?:\s+|-|/|\.)(?:de |of )?"
_TO_YEAR = r"(?:\.?(?:\s+|-|/|,\s*)|\.)(?:de |del )?"
_WEEKDAY = r"(?:[a-z]{2,10}\.?,?\s+)?"
# The forms of a date and what their groups are: year, month (a number or a word), day.
_FORMS = {
    rf"(\d{{4}})[./-](\d{{1,2}})[./-](\d{{1,2}}){_CLOCK}{_ZONE}": ("y", "m", "d"),
    rf"{_WEEKDAY}(\d{{1,2}}){_OF}([a-z]{{3,10}}){_TO_YEAR}(\d{{4}}|\d{{2}}){_CLOCK}{_ZONE}": ("d", "m", "y"),
    rf"{_WEEKDAY}([a-z]{{3,10}})\.?[\s-](\d{{1,2}})(?:st|nd|rd|th)?(?:,\s*|\s+|-)(\d{{4}}){_CLOCK}{_ZONE}": (
        "m",
        "d",
        "y",
    ),
    rf"(\d{{4}})[-/ ]([a-z]{{3,10}})[-/ ](\d{{1,2}}){_CLOCK}{_ZONE}": ("y", "m", "d"),
}
_CLOCK_GROUPS = ("h", "i", "s", "f", "half", "zone", "shift")
_UNIX_DATE = r"[a-z]{3}\s+([a-z]{3})\s+(\d{1,2})\s+(\d{1,2}):(\d{2}):(\d{2})\s+(?:([a-z]{3,4})\s+)?(\d{4})"
_COMPACT_GROUPS = r"(\d{4})(\d{2})(\d{2})(?:[tT ]?(\d{2})(\d{2})(\d{2})?[zZ]?)?"
_NUMBERS = r"(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})"
# How the names of a month begin in English, German, French, Spanish, Italian, Portuguese, Dutch and the Nordic
# languages, without accents.
_MONTHS = (
    *("jan ene gen", "feb fev", "mar mrz mae maa mrt", "apr avr abr", "may mai mag mei maj", "jun juin giu"),
    *("jul juil lug", "aug aou ago", "sep set", "oct okt ott out", "nov", "dec dez dic des"),
)
_MONTH_OF = {name: month for month, names in enumerate(_MONTHS, start=1) for name in names.split()}
_HOURS_OF = {
    **dict.fromkeys(("", "z", "utc", "gmt", "wet"), 0),
    **{"cet": 1, "mez": 1, "west": 1, "cest": 2, "mesz": 2, "eet": 2, "eest": 3},
    **{"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7},
}
_MOST_SAMPLED = 2_000


@dataclass(frozen=True)
class TimeForm:
    """How the times of a column are written, as far as single values do not tell.

    Attributes:
        day_first: whether 1/2/2024 is the first of February; None: nothing tells.
        spreadsheet_days: numbers are days as spreadsheets count them.
        short_years: whether 1/2/24 is of the year 2024, and not of 2001.
        doubt: what a person should know.
    """

    day_first: bool | None = None
    spreadsheet_days: bool = False
    short_years: bool = True
    doubt: str | None = None


def is_time(text: str) -> bool:
    """Whether a text is a time in one of the forms that are read."""
    if re.fullmatch(rf"{_ISO}|{_COMPACT}|\d{{9,19}}(\.\d+)?", text.strip()):
        return True
    plain = _plain(text)
    return any(re.fullmatch(form, plain) for form in (*_FORMS, f"{_NUMBERS}{_CLOCK}{_ZONE}", _UNIX_DATE))


def is_day(text: str) -> bool:
    """The same for times that begin with a day, which no other numbers look like."""
    return not text.strip().replace(".", "").isdecimal() and is_time(text)


def _plain(text: str) -> str:
    return text.strip(" []").lower().translate(str.maketrans("äöüéèûáíó", "aoueeuaio"))


def decide_form(engine: Engine, columns: Sequence[tuple[str, str, str]], day_first: bool | None) -> TimeForm:
    """Look at the times of a log, and decide how they are written.

    Args:
        engine: reads them.
        columns: per file the table function that reads it, and the text and the type of the column in SQL.
        day_first: what the recipe says.
    """
    telling = (
        f"regexp_full_match(t, '{_NUMBERS}([^0-9].*)?') OR coalesce(try_cast(t AS DOUBLE) {_within_days()}, false)"
    )
    try:
        # Most logs write times that need no decision, and are not read twice.
        if not any(
            engine.run(f"SELECT 1 FROM ({_sample(column, _MOST_SAMPLED)}) WHERE {telling} LIMIT 1")
            for column in columns
            if column[2] == "VARCHAR" or column[2] in ("DOUBLE", "FLOAT")
        ):
            return TimeForm(day_first)
        whole = " UNION ALL ".join(_sample(column) for column in columns)
        return _decide(engine, whole, day_first)
    except duckdb.Error:  # whoever reads the log to its end says what is wrong with it
        return TimeForm(day_first)


def _sample(column: tuple[str, str, str], rows: int | None = None) -> str:
    scan, text, _ = column
    return f"SELECT t FROM (SELECT {text} AS t FROM {scan} {f'LIMIT {rows}' if rows else ''}) WHERE t <> ''"


def _within_days() -> str:
    return "BETWEEN {} AND {}".format(*_SPREADSHEET_DAYS)


def _decide(engine: Engine, texts: str, day_first: bool | None) -> TimeForm:
    ((texts_are_days, days, months, dots, numbers, firsts, lasts, short, example, other),) = engine.run(f"""
        SELECT count(*) > 0 AND count(n) = count(*) AND bool_and(n {_within_days()}) AND bool_or(n <> floor(n)),
            count(*) FILTER (first > 12), count(*) FILTER (second > 12), count(*) FILTER (mark = '.'),
            count(first), count(DISTINCT first) FILTER (short), count(DISTINCT last) FILTER (short),
            count(*) FILTER (short), any_value(t) FILTER (first > 12), any_value(t) FILTER (first <= 12)
        FROM (
            SELECT t, try_cast(t AS DOUBLE) AS n, g.mark AS mark, try_cast(g.a AS INTEGER) AS first,
                try_cast(g.b AS INTEGER) AS second, g.y AS last, length(g.y) = 2 AS short
            FROM (SELECT t, regexp_extract(t, '^{_NUMBERS}', ['a', 'mark', 'b', 'y']) AS g FROM ({texts}))
        )
    """)
    if texts_are_days:
        return TimeForm(day_first, spreadsheet_days=True)
    if not numbers:
        return TimeForm(day_first)
    # Of 24/10/05 the year stands first if its last number is the one that changes.
    short_years = lasts <= firsts or not short
    if day_first is None and bool(days) != bool(months):
        day_first = bool(days)
    elif day_first is None and not days and dots == numbers:
        day_first = True  # nobody writes a month before a dot
    line = "write day_first = true or false under [source]"
    doubt = None
    if day_first is None and days:
        doubt = f"dates are written day first ({example!r}) and month first ({other!r}); {line}"
    elif day_first is None:
        doubt = f"dates such as {other!r} may be written day first or month first: {line}"
    elif not short_years:
        doubt = f"dates such as {(example or other)!r} may begin with the year: write years with four digits"
    return TimeForm(day_first, short_years=short_years, doubt=doubt)


def seconds_sql(text: str, column: str, kind: str, form: TimeForm) -> str:
    """SQL for seconds since 1970, null for what is no time.

    Args:
        text: SQL for the column as text without blanks at its ends.
        column: SQL for the column.
        kind: its type.
        form: how its times are written.
    """
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"epoch({column})::DOUBLE"
    number = f"try_cast({text} AS DOUBLE)" if kind == "VARCHAR" else f"{column}::DOUBLE"
    if form.spreadsheet_days:
        return f"({number} - {_SPREADSHEET_DAYS[0]}) * 86400"
    if kind != "VARCHAR":
        return _EPOCH.format(number)
    compact = _of_groups(text, _COMPACT_GROUPS, ("y", "m", "d", "h", "i", "s"))
    # Without its blank, an offset is understood: `2024-10-01 10:00:00 +0200`.
    iso = f"regexp_replace({text}, ' ?([+-][0-9]{{2}}):?([0-9]{{2}})$', '\\1:\\2')"
    return f"""
        CASE WHEN regexp_full_match({text}, '{_ISO}') THEN epoch(try_cast({iso} AS TIMESTAMPTZ))
        WHEN regexp_full_match({text}, '{_COMPACT}') THEN {compact}
        ELSE coalesce({_EPOCH.format(number)}, {_written(text, form)}) END
    """


def _written(text: str, form: TimeForm) -> str:
    """SQL for times whose words and numbers stand in one of the other forms."""
    plain = f"lower(strip_accents(trim({text}, '[] ')))"
    forms = [_of_groups(plain, pattern, (*groups, *_CLOCK_GROUPS)) for pattern, groups in _FORMS.items()]
    forms.append(_of_groups(plain, _UNIX_DATE, ("m", "d", "h", "i", "s", "zone", "y")))
    if form.day_first is not None:
        first, second = ("d", "m") if form.day_first else ("m", "d")
        year = r"(\d{4}|\d{2})" if form.short_years else r"(\d{4})"
        # Of 10-12-01, nothing tells which number is the year.
        for mark, years in (("[./]", year), ("-", r"(\d{4})")):
            numbers = rf"(\d{{1,2}}){mark}(\d{{1,2}}){mark}{years}{_CLOCK}{_ZONE}"
            forms.append(_of_groups(plain, numbers, (first, second, "y", *_CLOCK_GROUPS)))
    return f"coalesce({', '.join(forms)})"


def _of_groups(text: str, pattern: str, groups: Sequence[str]) -> str:
    """SQL for the time that the groups of a pattern spell; null where the pattern does not fit the whole text."""
    names = ", ".join(map(literal, groups))

    def part(name: str, otherwise: str) -> str:
        return f"coalesce(nullif(g.{name}, ''), {otherwise})" if name in groups else otherwise

    hour = part("h", "'0'")
    if "half" in groups:
        twelve = f"(try_cast({hour} AS INTEGER) % 12 + CASE g.half WHEN 'p' THEN 12 ELSE 0 END)::VARCHAR"
        hour = f"CASE WHEN g.half <> '' THEN {twelve} ELSE {hour} END"
    spelled = f"""
        CASE WHEN length(g.y) = 2 THEN '20' ELSE '' END || g.y || '-' || coalesce({_month()}, 'no month')
        || '-' || g.d || ' ' || lpad({hour}, 2, '0') || ':' || {part("i", "'00'")} || ':' || {part("s", "'00'")}
        || '.' || {part("f", "'0'")}
    """
    shift = "0"
    if "shift" in groups:
        hours = "try_cast(regexp_extract(g.shift, '^([+-][0-9]{1,2})', 1) AS INTEGER)"
        minutes = "coalesce(try_cast(regexp_extract(g.shift, '^[+-][0-9]{2}:?([0-9]{2})$', 1) AS INTEGER), 0)"
        sign = "CASE WHEN g.shift LIKE '-%' THEN -1 ELSE 1 END"
        shift = f"CASE WHEN g.shift <> '' THEN {hours} * 3600 + {sign} * {minutes} * 60 ELSE {_zone()} END"
    elif "zone" in groups:
        shift = _zone()
    moment = f"epoch(try_cast({spelled} AS TIMESTAMP)) - ({shift})"
    return f"list_transform([regexp_extract({text}, {literal(f'^{pattern}$')}, [{names}])], lambda g: {moment})[1]"


def _month() -> str:
    longest_first = sorted(_MONTH_OF.items(), key=lambda month: -len(month[0]))
    prefixes = "".join(f" WHEN g.m LIKE '{name}%' THEN '{month}'" for name, month in longest_first)
    return f"CASE WHEN try_cast(g.m AS INTEGER) IS NOT NULL THEN g.m {prefixes} END"


def _zone() -> str:
    hours = "".join(f" WHEN '{name}' THEN {hour * 3600}" for name, hour in _HOURS_OF.items())
    return f"CASE g.zone {hours} END"
