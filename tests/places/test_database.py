"""Sources in databases: a query's rows are prepared as a file of them would be."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.places import database
from mmsc_cli.places.database import save_query
from mmsc_cli.workspace.workspace import Workspace
from tests.fixtures.postgres import PASSWORD, USER, Postgres

if TYPE_CHECKING:
    from tests.conftest import Mmsc

ITEMS = [(f"{n:03}", f"Lamp {n}", 10 + n / 4, "Home > Lamps") for n in range(30)]
EVENTS = [
    (f"s{n}", f"{item:03}", kind, f"2026-05-01 10:{n:02}:00")
    for n in range(60)
    for item, kind in ((n % 15, "view"), (n % 15 + 15, "view"), (n % 15, "purchase"), ((n + 1) % 15, "purchase"))
]
RECIPE = """
name = "shop"
[source]
kind = "events"
window_minutes = 60
keep = ["colour"]
{files}
[source.columns]
item_id = "sku"
session = "visit"
item = "sku"
time = "at"
"""
SQL = """
[source.sql]
uri = "{uri}"
[source.sql.query]
items = "SELECT sku, title, price, path AS category, 'red' AS colour FROM products ORDER BY sku  -- of the shop"
events = "SELECT visit, sku, type, at FROM events;"
"""


def _prepared(workspace: Path) -> list[str]:
    files = Workspace(workspace).manifest().stages["prepare"].files
    return [files[name].sha256 for name in ("items.parquet", "pairs.parquet")]


@pytest.fixture
def from_files(mmsc: Mmsc, tmp_path: Path) -> list[str]:
    """What is prepared of the same rows in files."""
    items = "".join(f"{sku},{title},{price},{path},red\n" for sku, title, price, path in ITEMS)
    (tmp_path / "items.csv").write_text("sku,title,price,category,colour\n" + items)
    (tmp_path / "log.csv").write_text("visit,sku,type,at\n" + "".join(",".join(row) + "\n" for row in EVENTS))
    recipe = tmp_path / "files.toml"
    recipe.write_text(RECIPE.format(files='items = "items.csv"\nevents = "log.csv"'))
    ran = mmsc("prepare", recipe, "-w", tmp_path / "files")
    assert ran.code == 0, ran.err
    return _prepared(tmp_path / "files")


@pytest.fixture
def in_postgres(postgres: Postgres) -> Postgres:
    """The rows in tables, with types that shops have."""
    products = ", ".join(f"('{sku}', '{title}', {price}, '{path}')" for sku, title, price, path in ITEMS)
    events = ", ".join(f"('{visit}', '{sku}', '{kind}', '{at}+00')" for visit, sku, kind, at in EVENTS)
    postgres.run(
        "DROP TYPE IF EXISTS kind",
        "CREATE TYPE kind AS ENUM ('view', 'purchase')",
        "CREATE TABLE products (sku char(5), title text, price numeric(10, 2), path varchar(50))",
        "CREATE TABLE events (visit text, sku text, type kind, at timestamptz)",
        f"INSERT INTO products VALUES {products}",
        f"INSERT INTO events VALUES {events}",
    )
    return postgres


def test_rows_of_postgres_are_prepared_as_files_are(
    mmsc: Mmsc, in_postgres: Postgres, from_files: list[str], tmp_path: Path
) -> None:
    recipe = tmp_path / "sql.toml"
    recipe.write_text(RECIPE.format(files="") + SQL.format(uri=in_postgres.uri))

    ran = mmsc("prepare", recipe, "-w", tmp_path / "sql")

    assert ran.code == 0, ran.err
    assert _prepared(tmp_path / "sql") == from_files
    assert [path.name for path in (tmp_path / "sql").rglob("events.parquet")] == [], "no copy of the shop's rows stays"
    assert "up to date" in mmsc("prepare", recipe, "-w", tmp_path / "sql").err
    in_postgres.run("UPDATE products SET title = 'Lamp, dark' WHERE sku = '003'")
    assert "up to date" not in mmsc("prepare", recipe, "-w", tmp_path / "sql").err
    assert PASSWORD.encode() not in b"".join(
        path.read_bytes() for path in (tmp_path / "sql").rglob("*") if path.is_file()
    )


def test_rows_of_sqlite_are_prepared_as_files_are(mmsc: Mmsc, from_files: list[str], tmp_path: Path) -> None:
    pytest.importorskip("adbc_driver_sqlite", reason="the extra sql is absent")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        # A column of SQLite may hold a text after a thousand numbers.
        shop.execute("CREATE TABLE products (sku, title, price, path)")
        shop.execute("CREATE TABLE events (visit, sku, type, at)")
        shop.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", ITEMS)
        shop.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", EVENTS)
        shop.commit()
    recipe = tmp_path / "sql.toml"
    recipe.write_text(RECIPE.format(files="") + SQL.format(uri="sqlite:///shop.db"))

    ran = mmsc("prepare", recipe, "-w", tmp_path / "sql")

    assert ran.code == 0, ran.err
    assert _prepared(tmp_path / "sql") == from_files


def test_pairs_come_from_one_query_beside_a_file_of_items(mmsc: Mmsc, postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"A{n},Lamp {n}\n" for n in range(20)))
    postgres.run(
        "CREATE TABLE p AS SELECT 'A' || n AS a, 'A' || n + 1 AS b, 2.5::real AS co_view FROM generate_series(0, 18) n"
    )
    recipe = tmp_path / "shop.toml"
    recipe.write_text(
        'name = "shop"\n[source]\nkind = "table"\nitems = "items.csv"\n'
        f'[source.sql]\nuri = "{postgres.uri}"\nquery = "TABLE p"\n'
    )

    assert json.loads(mmsc("prepare", recipe, "-w", tmp_path / "ws", "--json").out)["counts"]["co_view_pairs"] == 19


def test_every_type_of_postgres_arrives_as_psql_shows_it(postgres: Postgres, tmp_path: Path) -> None:
    postgres.run(
        "CREATE TABLE t AS SELECT 12.50::numeric AS price, ARRAY['x', 'y'] AS path, ARRAY[1.5]::numeric[] AS sizes, "
        "'0b6cbf6c-9e45-4d29-9b57-0e7d3a5b8a11'::uuid AS id, '{\"a\": 1}'::jsonb AS more, 'c'::char(3) AS code, "
        "'1.2.3.4'::inet AS host, interval '1 day' AS age, 2::bigint AS n, true AS new, date '2026-05-01' AS day, "
        "timestamptz '2026-05-01 12:00+02' AS at, NULL::text AS none"
    )
    save_query(postgres.uri, "SELECT * FROM t", tmp_path / "t.parquet", "t", tmp_path)

    (row,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert {name: str(value) for name, value in row.items()} == {
        "price": "12.50",
        "path": "['x', 'y']",
        "sizes": "['1.5']",
        "id": "0b6cbf6c-9e45-4d29-9b57-0e7d3a5b8a11",
        "more": '{"a": 1}',
        "code": "c",
        "host": "1.2.3.4/32",
        "age": "1 day",
        "n": "2",
        "new": "True",
        "day": "2026-05-01",
        "at": "2026-05-01 10:00:00+00:00",
        "none": "None",
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nope FROM products", 'column "nope" does not exist'),
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 1 / (price - price) FROM products", "division by zero"),
        ("SELECT * FROM products WHERE false", "the query has no rows"),
        ("DELETE FROM products", "syntax error"),
        ("SELECT 1; DROP TABLE products", "syntax error|multiple commands"),
        ("SELECT setval('s', 9)", "read-only transaction"),
    ],
)
def test_a_query_that_fails_is_one_line_and_changes_nothing(
    in_postgres: Postgres, tmp_path: Path, query: str, said: str
) -> None:
    in_postgres.run("CREATE SEQUENCE s")

    with pytest.raises(InputError, match=said) as caught:
        save_query(in_postgres.uri, query, tmp_path / "t.parquet", "source.sql: the query of items", tmp_path)

    assert len(caught.value.message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert in_postgres.run("SELECT count(*) FROM products") == [(30,)]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"uri": "postgresql://shop@127.0.0.1:1/postgres"}, 4, "Connection refused"),
        ({"uri": "postgresql://shop@/nodb?host={folder}"}, 2, 'database "nodb" does not exist'),
        ({"password": "wrong-password-0815"}, 2, "password authentication failed"),
        ({"password": ""}, 2, "no password supplied"),
        ({"uri": "postgresql://shop:" + PASSWORD + "@/postgres?host={folder}"}, 2, "with a password or a key in it"),
        (
            {"uri": "postgresql://shop@/postgres?host={folder}&password=" + PASSWORD},
            2,
            "with a password or a key in it",
        ),
        ({"uri": "postgresql://shop:half/" + PASSWORD + "@localhost/postgres"}, 2, "with a password or a key in it"),
        ({"columns": "visit"}, 2, "no column 'sku'"),
        ({"uri": "sqlite:///none.db"}, 2, "no file at"),
    ],
)
def test_a_database_that_refuses_is_one_line_and_yesterdays_workspace_stays(
    mmsc: Mmsc,
    in_postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    code: int,
    said: str,
) -> None:
    recipe = tmp_path / "sql.toml"
    recipe.write_text(RECIPE.format(files="") + SQL.format(uri=in_postgres.uri))
    assert mmsc("prepare", recipe, "-w", tmp_path / "ws").code == 0
    before = (tmp_path / "ws" / "manifest.json").read_bytes()
    uri = change.get("uri", in_postgres.uri).format(folder=in_postgres.folder)
    text = RECIPE.format(files="") + SQL.format(uri=uri)
    recipe.write_text(text.replace("visit, sku, type, at", change.get("columns", "visit, sku, type, at")))
    monkeypatch.setenv("PGPASSWORD", change.get("password", PASSWORD))
    monkeypatch.setenv("MMSC_DEBUG", "1")

    ran = mmsc("prepare", recipe, "-w", tmp_path / "ws", "--log-format", "json")

    assert ran.code == code, ran.err
    last = json.loads(ran.err.splitlines()[-1])
    assert said in last["message"]
    assert len(last["message"]) < 300
    for secret in (PASSWORD, "wrong-password-0815"):
        assert secret not in ran.err
    assert (tmp_path / "ws" / "manifest.json").read_bytes() == before


def test_a_table_that_somebody_changes_is_waited_for_shortly(
    in_postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import adbc_driver_postgresql.dbapi as dbapi

    monkeypatch.setattr(database, "LOCK_SECONDS", 1)
    with dbapi.connect(in_postgres.uri) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE products")
        with pytest.raises(UnreachableError, match="lock timeout"):
            save_query(in_postgres.uri, "TABLE products", tmp_path / "t.parquet", "t", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_is_lost_in_the_middle_is_one_line(in_postgres: Postgres, tmp_path: Path, mmsc: Mmsc) -> None:
    recipe = tmp_path / "sql.toml"
    query = (
        "SELECT visit, sku, type, at FROM events UNION ALL SELECT 'x', pg_terminate_backend(pg_backend_pid())::text, "
        "'view', now()"
    )
    text = RECIPE.format(files="") + SQL.format(uri=in_postgres.uri)
    recipe.write_text(text.replace("SELECT visit, sku, type, at FROM events;", query))

    ran = mmsc("prepare", recipe, "-w", tmp_path / "ws")

    assert ran.code == 4, ran.err
    assert "source.sql: the query of events: terminating connection due to administrator command\n" in ran.err
    assert not (tmp_path / "ws" / "manifest.json").exists()


def test_without_the_extra_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(database, "find_spec", lambda name: None)

    with pytest.raises(InputError, match="need the extra sql") as caught:
        save_query(f"postgresql://{USER}@host/db", "SELECT 1", tmp_path / "t.parquet", "source.sql", tmp_path)

    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint
    assert "[sql]" in caught.value.hint


def test_memory_follows_a_batch(postgres: Postgres, tmp_path: Path) -> None:
    import pyarrow as pa

    query = "SELECT 's' || n AS session, repeat('x', 200) || n AS item FROM generate_series(1, 400000) n"  # 90 MB
    before = pa.total_allocated_bytes()
    sizes: list[int] = []

    class Watching:
        def advance(self, steps: int = 1) -> None:
            sizes.append(pa.total_allocated_bytes() - before)

    class Progress:
        def task(self, *_: object) -> object:
            from contextlib import nullcontext

            return nullcontext(Watching())

    save_query(postgres.uri, query, tmp_path / "t.parquet", "t", tmp_path, Progress())  # type: ignore[arg-type]

    assert len(sizes) > 3, "more than one batch"
    assert max(sizes) < 40_000_000
    assert pq.read_metadata(tmp_path / "t.parquet").num_rows == 400_000
