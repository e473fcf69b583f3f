"""Publish answers as a table of PostgreSQL: a new table takes the old one's name in one transaction.

A reader finds the old rows or the new ones, never none and never both. What the shop has given the old table goes on:
its owner, grants, indexes, constraints, comments, and the views that read it. What cannot go on is refused before
anything is computed. Whatever fails, and whenever the process is killed, the old table stays as it was.

The new table is filled in a transaction of its own, before: a reader that waits for the renaming may look at the rows
as of the moment when it began to wait, and rows that came with the renaming would not be there for it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import pyarrow as pa

from mmsc_cli.errors import InputError, MmscError, UnreachableError
from mmsc_cli.places.address import TableAddress
from mmsc_cli.places.database import connect, quoted, understood

_LOG = logging.getLogger(__name__)
# Readers that come while the old table is waited for wait too: so it is waited for shortly, but often.
LOCK_SECONDS = 2
LOCK_TRIES = 10
# So long transactions are waited for that look at the database as it was before the new rows. Nobody waits for us then.
SNAPSHOT_SECONDS = 300
_POLL_SECONDS = 0.05
_SETTINGS = ("SET statement_timeout TO 0", "SET idle_in_transaction_session_timeout TO 0")
_LONGEST_NAME = 63  # bytes of a name in PostgreSQL
_SCHEMA = """
SELECT coalesce(
    (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = to_regclass(quote_ident($1))),
    current_schema())::text
"""
_ALONE = "SELECT pg_try_advisory_lock(hashtextextended($1, 20))"
_TRANSACTION = "SELECT txid_current()"
# Who may see nothing of a transaction: who that is, and since when it looks at the database as it does.
_EARLIER = """
SELECT pid::bigint, coalesce(xact_start::text, '') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker'
    AND backend_xmin IS NOT NULL AND age(backend_xmin) >= age(($1::bigint % 4294967296)::text::xid)
"""
_OLD = """
SELECT c.oid::bigint, c.relkind::text, c.relispartition, pg_get_userbyid(c.relowner)::text,
    pg_has_role(c.relowner, 'USAGE'), current_user::text,
    c.relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid),
    EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal),
    EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = c.oid),
    EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
"""
# What depends on the old table and is no view: materialized views, foreign keys of other tables, functions.
_DEPENDENT = """
SELECT DISTINCT coalesce(
    (SELECT 'materialized view ' || c.oid::regclass FROM pg_class c WHERE c.oid = r.ev_class AND c.relkind = 'm'),
    pg_describe_object(d.classid, d.objid, d.objsubid))
FROM pg_depend d LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype = 'n'
    AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.ev_class AND c.relkind = 'v')
ORDER BY 1
"""
_VIEWS = """
SELECT DISTINCT format('CREATE OR REPLACE VIEW %I.%I %s AS %s', n.nspname, c.relname,
    'WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid))
FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND c.relkind = 'v'
"""
_CONSTRAINTS = """
SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = $1::oid AND contype IN ('p', 'u', 'c', 'x', 'f') ORDER BY contype = 'f', conname
"""
_INDEXES = """
SELECT c.relname::text, pg_get_indexdef(c.oid), format('INDEX %I ON %I.%I USING', c.relname, n.nspname, t.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE i.indrelid = $1::oid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND conrelid = i.indrelid)
ORDER BY 1
"""
_HAS_INDEX = """
SELECT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = $1::regclass AND a.attname = $2)
"""
# What the new table was given by default goes first: somebody may have taken it back from the old one.
_GRANTS = """
SELECT format('REVOKE ALL ON %1$s FROM %2$s', $2::text, who) FROM (
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
    FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $2::regclass AND a.grantee <> c.relowner) AS given
UNION ALL
SELECT format('GRANT %s%s ON %s TO %s%s', privilege, columns, $2::text, who, option) FROM (
    SELECT a.privilege_type AS privilege, '' AS columns, a.grantee, a.is_grantable, c.relowner
    FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $1::oid
    UNION ALL
    SELECT a.privilege_type, format(' (%I)', o.attname), a.grantee, a.is_grantable, c.relowner
    FROM pg_class c JOIN pg_attribute o ON o.attrelid = c.oid, aclexplode(o.attacl) a
    WHERE c.oid = $1::oid AND EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = $2::regclass AND attname = o.attname AND NOT attisdropped)
) AS had, LATERAL (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS who,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS option) AS told
WHERE grantee <> relowner
"""
_COMMENTS = """
SELECT CASE d.objsubid WHEN 0 THEN format('COMMENT ON TABLE %s IS %L', $2::text, d.description)
    ELSE format('COMMENT ON COLUMN %s.%I IS %L', $2::text, a.attname, d.description) END
FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = $1::oid AND (d.objsubid = 0 OR EXISTS (
    SELECT FROM pg_attribute n WHERE n.attrelid = $2::regclass AND n.attname = a.attname AND NOT n.attisdropped))
"""
_LOCK = """
DO $lock$ BEGIN
    PERFORM set_config('lock_timeout', '{seconds}s', true);
    FOR attempt IN 1..{tries} LOOP
        BEGIN
            LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;
            PERFORM set_config('lock_timeout', '0', true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN PERFORM pg_sleep(least(attempt, {seconds}));
        END;
    END LOOP;
    RAISE lock_not_available;
END $lock$
"""
_LOCKED = "55P03"


class _OldTable(NamedTuple):
    """A row of _OLD."""

    oid: int
    kind: str
    is_partition: bool
    owner: str
    may_be_renamed: bool
    user: str
    has_policies: bool
    has_triggers: bool
    is_published: bool
    inherits: bool


class Publication:
    """A table that is to be replaced."""

    def __init__(self, connection: Any, cursor: Any, address: TableAddress, where: str) -> None:
        """Find the old table, and refuse what cannot be replaced.

        Raises:
            InputError: it is no plain table, belongs to somebody else, or something depends on it that would break.
            UnreachableError: another process is replacing it.
        """
        self._connection, self._cursor, self._where = connection, cursor, where
        self._names: list[str] = []  # what gives indexes and constraints their names
        for setting in _SETTINGS:
            cursor.execute(setting)
        schema = address.schema or self._ask(_SCHEMA, address.table)[0][0]
        if schema is None:
            raise InputError(f"{where}: no schema to make a table in", hint="name one: .../DATABASE/SCHEMA.TABLE")
        self._schema, self._table = str(schema), address.table
        cursor.execute("SET search_path TO pg_catalog")  # names that PostgreSQL writes have their schema then
        # Always the same, so that the next run finds what a killed one left.
        self._new_name = f"mmsc_new_{blake2b(self._old_name.encode(), digest_size=8).hexdigest()}"
        if not self._ask(_ALONE, self._old_name)[0][0]:
            raise UnreachableError(f"{where}: another mmsc is replacing this table", hint="wait for it to end")
        self._old = self._find_old()
        if self._old is not None:
            self._refuse(self._old)
        self.drop_new()

    @property
    def _old_name(self) -> str:
        return f"{quoted(self._schema)}.{quoted(self._table)}"

    @property
    def _new(self) -> str:
        return f"{quoted(self._schema)}.{quoted(self._new_name)}"

    def drop_new(self) -> None:
        """Remove the new table, if it is there."""
        self._cursor.execute(f"DROP TABLE IF EXISTS {self._new}")
        self._connection.commit()

    def fill(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], index: Sequence[str]) -> int:
        """Make the new table, batch by batch, with what the old one has; return the number of its rows.

        Args:
            schema: the columns.
            batches: the rows.
            index: columns of an index, unless there is one that begins with the first.
        """
        rows = 0
        failed: list[BaseException] = []

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            try:
                for batch in batches:
                    rows += batch.num_rows
                    yield batch
            except BaseException as error:  # the driver would make a text of it
                failed.append(error)
                raise

        reader = pa.RecordBatchReader.from_batches(schema, counted())
        try:
            self._cursor.adbc_ingest(self._new_name, reader, mode="create", db_schema_name=self._schema)
        except Exception:
            if failed:
                raise failed[0] from None
            raise
        if not rows:
            raise InputError(f"there are no answers, so that {self._where} stays as it was", hint="look at the filters")
        old = self._old
        if old is not None:
            if old.owner != old.user:
                self._cursor.execute(f"ALTER TABLE {self._new} OWNER TO {quoted(old.owner)}")
            for statement in self._told(_GRANTS, old.oid, self._new) + self._told(_COMMENTS, old.oid, self._new):
                self._cursor.execute(statement)
            self._names = self._copy_indexes(old)
        if not self._ask(_HAS_INDEX, self._new, index[0])[0][0]:
            self._make_index(index)
        self._cursor.execute(f"ANALYZE {self._new}")
        self._wait_for_earlier(self._commit())
        return rows

    def put_in_place(self) -> None:
        """Let the new table take the name of the old one, in one transaction.

        Raises:
            UnreachableError: somebody holds the old table for longer than it is waited for.
        """
        old = self._old
        gone = f"mmsc_old_{secrets.token_hex(8)}"
        views: list[str] = []
        if old is not None:
            self._lock()
            if (now := self._find_old()) is None or now.oid != old.oid:
                raise UnreachableError(
                    f"{self._where}: somebody replaced the table meanwhile", hint="run the same command again"
                )
            views = self._told(_VIEWS, old.oid)
            self._cursor.execute(f"ALTER TABLE {self._old_name} RENAME TO {gone}")
        self._cursor.execute(f"ALTER TABLE {self._new} RENAME TO {quoted(self._table)}")
        for view in views:  # they name the table, and so find the new one
            self._cursor.execute(view)
        if old is not None:
            self._cursor.execute(f"DROP TABLE {quoted(self._schema)}.{gone}")
        for statement in self._names:
            self._cursor.execute(statement)
        self._connection.commit()

    def _commit(self) -> int:
        """Commit, and return the number of the transaction."""
        ((number,),) = self._ask(_TRANSACTION)
        self._connection.commit()
        return int(number)

    def _wait_for_earlier(self, transaction: int) -> None:
        """Wait for those who would not see the rows of a transaction."""
        earlier = set(self._ask(_EARLIER, transaction))
        until = time.monotonic() + SNAPSHOT_SECONDS
        while earlier and time.monotonic() < until:
            self._connection.commit()  # PostgreSQL tells one transaction the same all the time
            time.sleep(_POLL_SECONDS)
            earlier &= set(self._ask(_EARLIER, transaction))
        self._connection.commit()
        if earlier:
            _LOG.info("%s: a transaction is open for long; if it reads the table, it may find it empty", self._where)

    def _lock(self) -> None:
        from adbc_driver_manager import Error  # noqa: PLC0415  an extra

        try:
            self._cursor.execute(_LOCK.format(seconds=LOCK_SECONDS, tries=LOCK_TRIES, table=self._old_name))
        except Error as error:
            if error.sqlstate != _LOCKED:
                raise
            raise UnreachableError(
                f"{self._where}: the table is locked by another session, and stays as it was",
                hint="end that session (pg_stat_activity lists them), and run the command again",
            ) from error

    def _find_old(self) -> _OldTable | None:
        rows = self._ask(_OLD, self._schema, self._table)
        return _OldTable(*rows[0]) if rows else None

    def _refuse(self, old: _OldTable) -> None:
        """Refuse a table that cannot be replaced, or that somebody would miss."""
        faults = {
            "is no table": old.kind not in "rp",
            "is partitioned, or a part of another table": old.kind == "p" or old.is_partition or old.inherits,
            f"belongs to {old.owner}, and {old.user} may not replace it": not old.may_be_renamed,
            "has row-level security, which a new table would not have": old.has_policies,
            "has triggers, which a new table would not have": old.has_triggers,
            "is part of a publication, which would lose it": old.is_published,
        }
        for fault, is_so in faults.items():
            if is_so:
                raise InputError(
                    f"{self._where}: {self._schema}.{self._table} {fault}", hint="give the answers a table of their own"
                )
        if dependents := self._told(_DEPENDENT, old.oid):
            raise InputError(
                f"{self._where}: {', '.join(dependents)} depends on {self._schema}.{self._table}, "
                "and would keep the old answers",
                hint="let a view read the table, and the rest read the view; or give the answers a table of their own",
            )

    def _copy_indexes(self, old: _OldTable) -> list[str]:
        """Give the new table the constraints and indexes of the old; return what gives them their names at the end."""
        rename = []
        for name, definition in self._ask(_CONSTRAINTS, old.oid):
            own = f"mmsc_{secrets.token_hex(6)}"
            self._cursor.execute(f"ALTER TABLE {self._new} ADD CONSTRAINT {own} {definition}")
            rename.append(f"ALTER TABLE {self._old_name} RENAME CONSTRAINT {own} TO {quoted(name)}")
        for name, definition, beginning in self._ask(_INDEXES, old.oid):
            own = f"mmsc_{secrets.token_hex(6)}"
            self._cursor.execute(definition.replace(beginning, f"INDEX {own} ON {self._new} USING", 1))
            rename.append(f"ALTER INDEX {quoted(self._schema)}.{own} RENAME TO {quoted(name)}")
        return rename

    def _make_index(self, columns: Sequence[str]) -> None:
        ending = f"_{columns[0]}_idx"
        stem = self._table.encode()[: _LONGEST_NAME - len(ending)].decode(errors="ignore")
        name = quoted(f"{stem}{ending}")
        if self._ask("SELECT to_regclass($1) IS NOT NULL", f"{quoted(self._schema)}.{name}")[0][0]:
            name = ""  # somebody else's: PostgreSQL finds another
        self._cursor.execute(f"CREATE INDEX {name} ON {self._new} ({', '.join(map(quoted, columns))})")

    def _ask(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def _told(self, statement: str, *parameters: Any) -> list[str]:
        """The texts that a statement returns."""
        return [row[0] for row in self._ask(statement, *parameters)]


def publish(
    address: TableAddress, where: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], index: Sequence[str]
) -> int:
    """Replace a table by a new one with these rows, in one transaction.

    Args:
        address: the table, which need not be there.
        where: what errors call it.
        schema: the columns.
        batches: the rows; what they raise is raised.
        index: columns that an index is made of, unless the old table has one that begins with the first.

    Returns:
        The number of rows.

    Raises:
        InputError: see `Publication`; or there are no rows. The old table stays as it was.
        UnreachableError: the database is away or goes, or the table is locked. The old table stays as it was.
    """
    with connect(address.uri, where) as connection, connection.cursor() as cursor:
        publication = Publication(connection, cursor, address, where)
        rows = publication.fill(schema, batches, index)
        try:
            with understood(where):
                publication.put_in_place()
        except MmscError:
            with suppress(MmscError), understood(where):  # else the next run does it
                connection.rollback()
                publication.drop_new()
            raise
    return rows


def read_published(address: TableAddress, where: str, columns: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Read columns of a published table, and those of `optional` that it has.

    Raises:
        InputError: there is no such table, or it lacks a column.
        UnreachableError: the database is away, or goes.
    """
    name = quoted(address.table)
    if address.schema is not None:
        name = f"{quoted(address.schema)}.{name}"
    with connect(address.uri, where) as connection, connection.cursor() as cursor, understood(where):
        there = cursor.adbc_execute_schema(f"SELECT * FROM {name}").names
        chosen = [*columns, *(column for column in optional if column in there)]
        cursor.execute(f"SELECT {', '.join(map(quoted, chosen))} FROM {name}")
        return cursor.fetch_arrow_table()
