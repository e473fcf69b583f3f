"""Answers in a table of PostgreSQL: readers find the old or the new, and whatever fails, yesterday's stay."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from mmsc_cli.diff.answer_table import SCHEMA
from mmsc_cli.errors import InputError, UnreachableError
from mmsc_cli.infer.answers import COLUMNS
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.places import publish as module
from mmsc_cli.places.address import parse_table
from mmsc_cli.places.publish import publish
from tests.fixtures.postgres import PASSWORD, USER, Postgres

if TYPE_CHECKING:
    from tests.conftest import Mmsc

INDEX = ("query", "relation", "rank")


def _night(number: int, items: int = 20) -> Iterator[pa.RecordBatch]:
    """The answers of a night, whose number is in each row."""
    for start in range(0, items, 10):
        yield pa.RecordBatch.from_pylist(
            [
                {
                    "query": f"q{n}",
                    "relation": "substitute",
                    "rank": 1,
                    "item": f"night {number}",
                    "score": float(number),
                }
                for n in range(start, start + 10)
            ],
            SCHEMA,
        )


def _publish(postgres: Postgres, batches: Iterator[pa.RecordBatch], table: str = "answers") -> int:
    return publish(parse_table(postgres.table(table)), "the table", SCHEMA, batches, INDEX)


def _items(postgres: Postgres, table: str = "answers") -> list[str]:
    return [item for (item,) in postgres.run(f"SELECT DISTINCT item FROM {table} ORDER BY 1")]


def _relations(postgres: Postgres) -> set[str]:
    """All tables, views and indexes of the shop."""
    return {
        name
        for (name,) in postgres.run("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    }


def test_all_answers_are_in_a_table_with_an_index(
    mmsc: Mmsc, hand_made: Recommender, tmp_path: Path, postgres: Postgres
) -> None:
    told = mmsc("infer", "-w", tmp_path, "--all", "-k", 3, "--format", "tsv").out.splitlines()

    ran = mmsc("infer", "-w", tmp_path, "--all", "-k", 3, "--to", postgres.table("answers"))

    assert (ran.code, ran.out) == (0, "")
    assert "answers: 72 rows in the table answers of " in ran.err
    assert PASSWORD not in ran.err
    rows = postgres.run("SELECT query, relation, rank, item, round(score::numeric, 4), title FROM answers")
    assert sorted("\t".join(map(str, row)) for row in rows) == sorted(told[1:])
    ((index,),) = postgres.run("SELECT indexdef FROM pg_indexes WHERE tablename = 'answers'")
    assert index.endswith("(query, relation, rank)")
    again = mmsc("infer", "-w", tmp_path, "--all", "-k", 2, "--to", postgres.table("public.answers"), "--explain")
    assert again.code == 0, again.err
    assert postgres.run("SELECT count(*), max(rank) FROM answers") == [(48, 2)]
    assert _relations(postgres) == {"answers", "answers_query_idx"}


def test_what_the_shop_gave_the_table_goes_on(postgres: Postgres) -> None:
    _publish(postgres, _night(1))
    postgres.run(
        "DROP ROLE IF EXISTS web",
        "DROP ROLE IF EXISTS owners",
        "CREATE ROLE web",
        "CREATE ROLE owners",
        "GRANT ALL ON SCHEMA public TO owners",
        "ALTER TABLE answers OWNER TO owners",
        "GRANT SELECT ON answers TO web WITH GRANT OPTION",
        "GRANT SELECT (query, item) ON answers TO PUBLIC",
        "COMMENT ON TABLE answers IS 'of the shop''s night'",
        "COMMENT ON COLUMN answers.score IS 'higher is better'",
        "ALTER TABLE answers ADD CONSTRAINT once PRIMARY KEY (query, relation, rank)",
        'CREATE INDEX "by title" ON answers (lower(title)) WHERE rank < 5',
        "CREATE VIEW best WITH (security_barrier) AS SELECT query, item FROM answers WHERE rank = 1",
        "GRANT SELECT ON best TO web",
        "CREATE VIEW counted AS SELECT item, count(*) AS n FROM best GROUP BY item",
    )
    about = (
        "SELECT relacl::text, pg_get_userbyid(relowner)::text, obj_description(c.oid), col_description(c.oid, 5), "
        "array_to_string(reloptions, ','), (SELECT string_agg(attname || attacl::text, ',') FROM pg_attribute "
        "WHERE attrelid = c.oid AND attacl IS NOT NULL) FROM pg_class c WHERE relname IN ('answers', 'best') "
        "ORDER BY relname"
    )
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'answers' ORDER BY 1"
    before = postgres.run(about), postgres.run(indexes), _relations(postgres)

    _publish(postgres, _night(2))

    assert (postgres.run(about), postgres.run(indexes), _relations(postgres)) == before
    assert postgres.run("SELECT * FROM counted") == [("night 2", 20)], "views read the new table"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "CREATE MATERIALIZED VIEW kept AS SELECT * FROM answers",
            "materialized view public.kept depends on public.answers",
        ),
        ("CREATE POLICY mine ON answers USING (true)", "has row-level security"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
            "CREATE TRIGGER t BEFORE INSERT ON answers FOR EACH ROW EXECUTE FUNCTION f()",
            "has triggers",
        ),
        ("CREATE TABLE part () INHERITS (answers)", "is partitioned, or a part of another table"),
        ("ALTER TABLE answers RENAME TO real; CREATE VIEW answers AS SELECT * FROM real", "is no table"),
        ("CREATE PUBLICATION p FOR TABLE answers", "is part of a publication"),
    ],
)
def test_what_would_break_is_refused_before_anything_is_computed(postgres: Postgres, statement: str, said: str) -> None:
    _publish(postgres, _night(1))
    postgres.run(f"DO $do$ BEGIN {statement}; END $do$")

    def none() -> Iterator[pa.RecordBatch]:
        raise AssertionError("answers were computed")
        yield

    with pytest.raises(InputError, match=said):
        _publish(postgres, none())
    assert _items(postgres) == ["night 1"]
    postgres.run("DROP PUBLICATION IF EXISTS p")


def test_readers_find_the_old_rows_or_the_new(postgres: Postgres) -> None:
    import adbc_driver_postgresql.dbapi as dbapi

    _publish(postgres, _night(0))
    seen: list[tuple[Any, ...]] = []
    done = threading.Event()

    def read() -> None:
        with dbapi.connect(postgres.uri, autocommit=True) as connection, connection.cursor() as cursor:
            while not done.is_set():
                cursor.execute("SELECT count(*), min(item), max(item) FROM answers")
                seen.extend(cursor.fetchall())

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 9):
        _publish(postgres, _night(number))
    done.set()
    for reader in readers:
        reader.join(30)

    assert {row[0] for row in seen} == {20}
    assert all(first == last for _, first, last in seen)
    assert len({first for _, first, _ in seen}) > 1


def test_a_table_that_somebody_holds_stays_as_it_is(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    import adbc_driver_postgresql.dbapi as dbapi

    monkeypatch.setattr(module, "LOCK_SECONDS", 1)
    monkeypatch.setattr(module, "LOCK_TRIES", 1)
    _publish(postgres, _night(1))
    with dbapi.connect(postgres.uri) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT * FROM answers LIMIT 1")
        cursor.fetchall()
        with pytest.raises(UnreachableError, match="the table is locked by another session, and stays as it was"):
            _publish(postgres, _night(2))
    assert _items(postgres) == ["night 1"]
    _publish(postgres, _night(3))
    assert _items(postgres) == ["night 3"]


def test_two_nights_at_once_are_one_and_a_clear_line(postgres: Postgres) -> None:
    def night() -> Iterator[pa.RecordBatch]:
        with pytest.raises(UnreachableError, match="another mmsc is replacing this table"):
            _publish(postgres, _night(2))
        yield from _night(1)

    _publish(postgres, night())
    assert _items(postgres) == ["night 1"]


def test_what_fails_on_the_way_is_raised_and_yesterdays_answers_stay(postgres: Postgres) -> None:
    _publish(postgres, _night(1))

    def failing() -> Iterator[pa.RecordBatch]:
        yield from _night(2)
        raise InputError("the index is damaged", hint="train again")

    with pytest.raises(InputError, match="the index is damaged"):
        _publish(postgres, failing())

    def killed() -> Iterator[pa.RecordBatch]:
        yield from _night(2)
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'"
        )
        yield from _night(3)

    with pytest.raises(UnreachableError):
        _publish(postgres, killed())
    with pytest.raises(InputError, match="there are no answers, so that the table stays as it was"):
        _publish(postgres, iter(()))
    assert _items(postgres) == ["night 1"]
    assert _relations(postgres) == {"answers", "answers_query_idx"}


def test_a_process_that_is_killed_leaves_yesterdays_answers(
    hand_made: Recommender, tmp_path: Path, postgres: Postgres
) -> None:
    _publish(postgres, _night(1))
    code = (
        "import sys, time\n"
        "from mmsc_cli.places.address import parse_table\n"
        "from mmsc_cli.places.publish import publish\n"
        "from tests.places.test_publish import INDEX, SCHEMA, _night\n"
        "def night():\n"
        "    yield from _night(2)\n"
        "    print('half', flush=True)\n"
        "    time.sleep(60)\n"
        "publish(parse_table(sys.argv[1]), 'x', SCHEMA, night(), INDEX)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, postgres.table("answers")], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as night:
        assert night.stdout is not None
        assert night.stdout.readline() == b"half\n"
        night.kill()
    assert _items(postgres) == ["night 1"]
    for _ in range(100):
        if _relations(postgres) == {"answers", "answers_query_idx"}:
            break
        time.sleep(0.1)
    assert _relations(postgres) == {"answers", "answers_query_idx"}
    _publish(postgres, _night(3))


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("postgresql://shop@127.0.0.1:1/postgres/answers", 4, "Connection refused"),
        (
            "postgresql://shop:" + PASSWORD + "@localhost/postgres/answers",
            2,
            "with a password or a key in it is refused",
        ),
        ("postgresql://shop@/postgres/other.answers?host={folder}", 2, 'schema "other" does not exist'),
        ("postgresql://guest@/postgres/answers?host={folder}", 2, "password authentication failed"),
        ("sqlite:///answers.db", 2, "not of SQLite"),
        ("mysql://localhost/answers.tsv", 2, "no such kind of address"),
    ],
)
def test_a_place_that_refuses_is_one_line(
    mmsc: Mmsc,
    hand_made: Recommender,
    tmp_path: Path,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("MMSC_DEBUG", "1")
    address = to.format(folder=postgres.folder)

    ran = mmsc("infer", "-w", tmp_path, "--all", "--to", address, "--log-format", "json")

    assert (ran.code, ran.out) == (code, "")
    assert said in json.loads(ran.err.splitlines()[-1])["message"]
    assert PASSWORD not in ran.err


def test_a_user_without_the_right_is_told_so(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(postgres, _night(1))
    postgres.run("DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    postgres.run("GRANT USAGE, CREATE ON SCHEMA public TO guest")
    as_guest = parse_table(postgres.table("answers").replace(f"//{USER}@", "//guest@"))

    with pytest.raises(InputError, match=r"public\.answers belongs to shop, and guest may not replace it"):
        publish(as_guest, "the table", SCHEMA, _night(2), INDEX)
    assert _items(postgres) == ["night 1"]
    postgres.run("DROP OWNED BY guest", "DROP ROLE guest")


def test_a_table_and_a_file_are_compared(
    mmsc: Mmsc, hand_made: Recommender, tmp_path: Path, postgres: Postgres
) -> None:
    new = tmp_path / "new.parquet"
    assert mmsc("infer", "-w", tmp_path, "--all", "-k", 3, "--to", postgres.table("answers")).code == 0
    assert mmsc("infer", "-w", tmp_path, "--all", "-k", 3, "--to", new).code == 0

    same = json.loads(mmsc("diff", postgres.table("answers"), new, "--json").out)

    assert same["items"]["added"] == same["items"]["gone"] == 0
    assert [same["churn"][relation]["top1"] for relation in ("substitute", "complement")] == [0, 0]
    assert same["old"].startswith("postgresql://***@")
    postgres.run("UPDATE answers SET item = 'other' WHERE rank = 1 AND relation = 'substitute'")
    gate = mmsc("diff", postgres.table("answers"), new, "--fail-under", "churn.substitute.top1<=0.1")
    assert gate.code == 1
    assert mmsc("diff", postgres.table("nowhere"), new).code == 2
    postgres.run("ALTER TABLE answers RENAME COLUMN item TO other")
    refused = mmsc("diff", postgres.table("answers"), new)
    assert refused.code == 2
    assert 'column "item" does not exist' in refused.err


def test_the_columns_are_those_of_a_file(
    mmsc: Mmsc, hand_made: Recommender, tmp_path: Path, postgres: Postgres
) -> None:
    assert mmsc("infer", "-w", tmp_path, "--all", "--to", postgres.table("answers")).code == 0

    names = postgres.run("SELECT attname::text FROM pg_attribute WHERE attrelid = 'answers'::regclass AND attnum > 0")

    assert [name for (name,) in names] == list(COLUMNS)


def test_who_looks_at_the_time_before_is_waited_for(postgres: Postgres) -> None:
    import adbc_driver_postgresql.dbapi as dbapi

    _publish(postgres, _night(1))
    with dbapi.connect(postgres.uri) as reader, reader.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")  # of another table; from here on it sees the database as it is now
        cursor.fetchall()
        night = threading.Thread(target=_publish, args=(postgres, _night(2)))
        night.start()
        for _ in range(3):
            time.sleep(0.3)
            cursor.execute("SELECT count(*), min(item) FROM answers")
            assert cursor.fetchall() == [(20, "night 1")]
    night.join(30)
    assert _items(postgres) == ["night 2"]


def test_the_next_night_removes_what_a_killed_one_left(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: module.Publication) -> None:
        raise SystemExit

    _publish(postgres, _night(1))
    with monkeypatch.context() as patched:
        patched.setattr(module.Publication, "put_in_place", killed)
        with pytest.raises(SystemExit):
            _publish(postgres, _night(2))
    assert _items(postgres) == ["night 1"]
    assert len(_relations(postgres)) > 2
    _publish(postgres, _night(3))
    assert _items(postgres) == ["night 3"]
    assert _relations(postgres) == {"answers", "answers_query_idx"}
