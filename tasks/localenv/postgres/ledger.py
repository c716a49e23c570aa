"""What was applied to a database, written down in that database: schema `localenv`, apart from the app's own.

`marker` says which project a database belongs to, `applied` which files it was made from. Both go with the
database: into a copy, into a dump, away with a drop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..settings import guard
from .connection import DatabaseMissing, connect, server_errors
from .scripts import Entry

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from ..settings.addresses import PostgresAddress

_TABLES = """
CREATE SCHEMA IF NOT EXISTS localenv;
COMMENT ON SCHEMA localenv IS 'what the project''s own tool applied to this database';
CREATE TABLE IF NOT EXISTS localenv.marker (
    project_id text PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS localenv.applied (
    step text NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    inputs text NOT NULL,
    objects int NOT NULL,
    tool_version text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (step, path)
);
ALTER TABLE localenv.applied ADD COLUMN IF NOT EXISTS filled text[] NOT NULL DEFAULT '{}';
"""
_IS_LEDGER = """
SELECT count(*) = 2 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = 'localenv' AND c.relname IN ('applied', 'marker') AND c.relkind = 'r'
"""
# Tables, views and routines; what extensions bring along is not the app's content.
_OBJECTS = """
SELECT count(*)::int FROM (
    SELECT oid, 'pg_class'::regclass AS kind, relnamespace AS schema FROM pg_catalog.pg_class
     WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT oid, 'pg_proc'::regclass, pronamespace FROM pg_catalog.pg_proc
) AS object
  JOIN pg_catalog.pg_namespace AS n ON n.oid = object.schema
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'localenv')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = object.kind AND d.objid = object.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class Applied(Entry):
    """A file that was applied, how many objects the database had then, and how long ago that was.

    `filled` are the tables that it put rows into, `emptied` those of them that are there and have none now.
    """

    objects: int
    age_s: float
    filled: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()

    @property
    def has_nothing_left(self) -> bool:
        """Tell whether it put rows into tables, and all of these are empty now."""
        return bool(self.filled) and self.filled == self.emptied


@dataclass(frozen=True)
class Observed:
    """What a database looks like: its marker, its ledger, and how many tables, views and routines the app has in it."""

    exists: bool
    project_id: str | None = None
    applied: tuple[Applied, ...] = ()
    objects: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing of the app's in it: it never had a table, or has lost them all."""
        return not self.objects and not (self.applied and all(row.objects == 0 for row in self.applied))

    @property
    def lost(self) -> int:
        """Count the tables, views and routines that the schema made and that are not there any more."""
        made = max((row.objects for row in self.applied if row.step == "schema"), default=0)
        return max(0, made - self.objects)

    def find(self, entry: Entry) -> Applied | None:
        """Find what was applied from the same file, changed or not."""
        return next((row for row in self.applied if (row.step, row.path) == (entry.step, entry.path)), None)

    def has(self, entry: Entry) -> bool:
        """Tell whether exactly this was applied."""
        found = self.find(entry)
        return found is not None and (found.sha256, found.inputs) == (entry.sha256, entry.inputs)

    def awaits(self, entry: Entry) -> bool:
        """Return whether a file is not applied as it is now, or nothing is left in the tables that it filled."""
        found = self.find(entry)
        return found is None or found.has_nothing_left or not self.has(entry)

    @property
    def summary(self) -> str:
        """Return what the app has in it, in words."""
        return f"{self.objects} table{'s' if self.objects != 1 else ''} or routines"

    def for_guard(self, name: str) -> guard.Observed:
        """Return what the guard has to know of this database, which is called `name`."""
        return guard.Observed(name, self.project_id, "" if self.is_empty else self.summary)


def owner(settings: Settings) -> str:
    """Return the owner that a marker names. Production belongs to no checkout."""
    return settings.project_id if settings.is_local else settings.target


def observe(address: PostgresAddress, *, database: str | None = None) -> Observed:
    """Look at a database, without changing it. One that does not exist is an answer, not an error."""
    try:
        conn = connect(address, database=database, autocommit=True)
    except DatabaseMissing:
        return Observed(exists=False)
    with conn:
        return read(conn)


def read(conn: psycopg.Connection[Any]) -> Observed:
    """Read marker and ledger over an open connection."""
    with server_errors("ledger"), _unshadowed(conn):
        found = conn.execute(f"SELECT ({_IS_LEDGER}), ({_OBJECTS})").fetchone()
        has_ledger, objects = found or (False, 0)
        if not has_ledger:
            return Observed(exists=True, objects=objects)
        rows = conn.execute(
            "SELECT step, path, sha256, inputs, objects, extract(epoch FROM clock_timestamp() - applied_at)::float8,"
            " to_jsonb(a) -> 'filled' FROM localenv.applied AS a ORDER BY applied_at"
        ).fetchall()
        emptied = _empty_tables(conn, {table for *_, filled in rows for table in filled or ()})
        marker = conn.execute("SELECT project_id FROM localenv.marker ORDER BY made_at DESC LIMIT 1").fetchone()
    return Observed(True, marker[0] if marker else None, tuple(_applied(row, emptied) for row in rows), objects)


def _applied(row: Sequence[Any], emptied: set[str]) -> Applied:
    step, path, sha256, inputs, objects, age_s, filled = row
    tables = tuple(filled or ())
    return Applied(step, path, sha256, inputs, objects, age_s, tables, tuple(t for t in tables if t in emptied))


def _empty_tables(conn: psycopg.Connection[Any], tables: set[str]) -> set[str]:
    """Return which of these tables, written as SQL has them, are there and have no row."""
    there = conn.execute(
        "SELECT name, oid::regclass::text FROM unnest(%s::text[]) AS name JOIN pg_class ON oid = to_regclass(name)"
        " WHERE relkind IN ('r', 'p')",
        (sorted(tables),),
    ).fetchall()
    if not there:
        return set()
    # to_regclass has parsed and quoted them.
    asked = " UNION ALL ".join(
        f"SELECT {n} WHERE NOT EXISTS (SELECT FROM {table})" for n, (_, table) in enumerate(there)
    )
    return {there[n][0] for (n,) in conn.execute(asked.encode())}


def filled_tables(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the tables that the open transaction has put rows into, as SQL writes them, with how many."""
    rows = conn.execute(
        "SELECT format('%I.%I', schemaname, relname), n_tup_ins FROM pg_catalog.pg_stat_xact_user_tables"
        " WHERE n_tup_ins > 0 AND schemaname <> 'localenv' AND schemaname NOT LIKE 'pg\\_%'"
    ).fetchall()
    return {str(name): int(count) for name, count in rows}


@contextmanager
def _unshadowed(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Look names up in pg_catalog alone: a function or operator of the app's must not come before the server's own."""
    row = conn.execute(
        "SELECT pg_catalog.current_setting('search_path'), pg_catalog.set_config('search_path', '', false)"
    ).fetchone()
    yield
    conn.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (row[0] if row else "",))


def remake(conn: psycopg.Connection[Any], project_id: str, *, is_ours: bool) -> None:
    """Make marker and ledger anew with the rows that they have: what a file brings as such may be anything.

    With `is_ours` a database without a ledger stays without, and the marker keeps its time.
    """
    conn.execute("SET LOCAL search_path = ''; SET LOCAL row_security = off")
    found = conn.execute(
        "SELECT to_regnamespace('localenv') IS NULL, to_regclass('localenv.applied') IS NULL"
    ).fetchone()
    has_none, is_empty = found or (True, True)
    if has_none and is_ours:
        return
    rows = (
        []
        if is_empty
        else conn.execute(
            "SELECT step::text, left(path::text, 1000), left(sha256::text, 64), left(inputs::text, 64), objects::int,"
            " left(tool_version::text, 100), applied_at::timestamptz, left((to_jsonb(a) -> 'filled')::text, 100000)"
            " FROM localenv.applied AS a ORDER BY applied_at LIMIT 1000"
        ).fetchall()
    )
    made = (
        None
        if is_empty or not is_ours
        else conn.execute(
            "SELECT made_at::timestamptz FROM localenv.marker WHERE project_id::text = %s", (project_id,)
        ).fetchone()
    )
    conn.execute("DROP SCHEMA IF EXISTS localenv CASCADE")
    prepare(conn, project_id)
    if made:
        conn.execute("UPDATE localenv.marker SET made_at = %s", made)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO localenv.applied VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [(*row, _names(filled)) for *row, filled in rows],
        )


def _names(text: str | None) -> list[str]:
    """Read what should be a list of names, as JSON; of anything else nothing is left."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def prepare(conn: psycopg.Connection[Any], project_id: str) -> None:
    """Make the ledger where there is none, and mark the database as this project's."""
    conn.execute(_TABLES)
    conn.execute("DELETE FROM localenv.marker WHERE project_id <> %s", (project_id,))
    conn.execute("INSERT INTO localenv.marker (project_id) VALUES (%s) ON CONFLICT DO NOTHING", (project_id,))


def adopt(address: PostgresAddress, database: str, former: str, project_id: str) -> None:
    """Mark a database that was `former`'s as this project's. What is anybody else's, or nobody's, stays as it is."""
    if observe(address, database=database).project_id == former:
        with server_errors(f"database {database}"), connect(address, database=database) as conn:
            prepare(conn, project_id)


def record(conn: psycopg.Connection[Any], entry: Entry, filled: Iterable[str] = ()) -> None:
    """Write down, in the transaction of the file itself, that it was applied, and which tables it put rows into."""
    conn.execute(
        "INSERT INTO localenv.applied (step, path, sha256, inputs, objects, tool_version, filled)"
        f" VALUES (%s, %s, %s, %s, ({_OBJECTS.replace('%', '%%')}), %s, %s)"
        " ON CONFLICT (step, path) DO UPDATE SET sha256 = excluded.sha256, inputs = excluded.inputs,"
        " objects = excluded.objects, tool_version = excluded.tool_version, filled = excluded.filled,"
        " applied_at = clock_timestamp()",
        (entry.step, entry.path, entry.sha256, entry.inputs, VERSION, sorted(filled)),
    )


def clear(conn: psycopg.Connection[Any]) -> None:
    """Forget what was applied, in the transaction that removes it."""
    conn.execute("DELETE FROM localenv.applied")
