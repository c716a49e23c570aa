"""What was applied to a database, recorded in that database: schema `localenv`, apart from the app's own.

`marker` holds the project that owns the database, `applied` the files that it was made from. Both are part of the
database: copied, dumped and dropped with it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..settings import guard
from . import migrations
from .connection import DatabaseMissing, connect, server_errors
from .scripts import Entry, Script

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
# Tables, views and routines of the app, without those that belong to extensions.
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

    `filled` are the tables that it inserted rows into, `emptied` those of them that still exist but have no rows now,
    `missing` those that do not exist.
    """

    objects: int
    age_s: float
    filled: tuple[str, ...] = ()
    emptied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def has_nothing_left(self) -> bool:
        """Return whether it inserted rows, and all the tables that it filled are empty now."""
        return bool(self.filled) and self.filled == self.emptied


@dataclass(frozen=True)
class Observed:
    """The state of a database: its marker, its ledger, and the number of the app's tables, views and routines.

    `versions` are the migrations that are applied, by whichever tool; `applied` has those of them that this one ran.
    """

    exists: bool
    project_id: str | None = None
    applied: tuple[Applied, ...] = ()
    objects: int = 0
    versions: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether the app has nothing in it. An applied schema that creates no objects counts as content."""
        return not self.objects and not (self.applied and all(row.objects == 0 for row in self.applied))

    @property
    def lost(self) -> int:
        """Return how many tables, views and routines are missing of those that schema and migrations made.

        After a migration by another tool nobody knows how many there should be: then none.
        """
        made = [row for row in self.applied if row.step != "seed"]
        return max(0, made[-1].objects - self.objects) if made and self._knows_its_migrations else 0

    @property
    def missing(self) -> list[str]:
        """Return the tables that seeds filled and that do not exist, unless the shape was changed after that.

        Their number may be right all the same: another tool has renamed one, or made others.
        """
        after = itertools.takewhile(lambda row: row.step == "seed", reversed(self.applied))
        return sorted({table for row in after for table in row.missing}) if self._knows_its_migrations else []

    @property
    def _knows_its_migrations(self) -> bool:
        """Return whether each migration that is applied was run here."""
        return set(self.versions) <= {row.key[1] for row in self.applied if row.step == "migration"}

    def find(self, entry: Entry) -> Applied | None:
        """Return what was applied from the same file, changed or not."""
        return next((row for row in self.applied if row.key == entry.key), None)

    def has(self, entry: Entry) -> bool:
        """Return whether the file was applied exactly as it is now; of what another tool has run, whether it was."""
        found = self.find(entry)
        if entry.step == "migration":
            return entry.key[1] in self.versions and (found is None or found.sha256 == entry.sha256)
        return found is not None and (found.sha256, found.inputs) == (entry.sha256, entry.inputs)

    def pending(self, scripts: Iterable[Script]) -> list[Script]:
        """Return the migrations that are not applied, in the order in which they run."""
        return [script for script in scripts if script.blocks and script.version not in self.versions]

    def has_nothing_left(self, entry: Entry) -> bool:
        """Return whether the file was applied, and none of the rows that it inserted are left."""
        found = self.find(entry)
        return found is not None and found.has_nothing_left

    def awaits(self, entry: Entry) -> bool:
        """Return whether the file is still to be applied: as it is now it never was, or none of its rows are left."""
        found = self.find(entry)
        return found is None or found.has_nothing_left or not self.has(entry)

    @property
    def summary(self) -> str:
        """Return how much the app has in it, in words."""
        plural = "s" if self.objects != 1 else ""
        return f"{self.objects} table{plural} or routine{plural}"

    def for_guard(self, name: str) -> guard.Observed:
        """Return what the guard needs to know about this database, whose name is `name`."""
        return guard.Observed(name, self.project_id, "" if self.is_empty else self.summary)


def owner(settings: Settings) -> str:
    """Return the owner to write into a marker. Production belongs to no checkout."""
    return settings.project_id if settings.is_local else settings.target


def observe(address: PostgresAddress, *, database: str | None = None) -> Observed:
    """Observe a database, without changing it. One that does not exist is an answer, not an error."""
    try:
        conn = connect(address, database=database, autocommit=True)
    except DatabaseMissing:
        return Observed(exists=False)
    with conn:
        return read(conn)


def read(conn: psycopg.Connection[Any]) -> Observed:
    """Read the marker and ledger over an open connection."""
    with server_errors("ledger"), _system_names_only(conn) as schema:
        versions = migrations.read_versions(conn, schema)
        found = conn.execute(f"SELECT ({_IS_LEDGER}), ({_OBJECTS})").fetchone()
        has_ledger, objects = found or (False, 0)
        if not has_ledger:
            return Observed(exists=True, objects=objects, versions=versions)
        rows = conn.execute(
            "SELECT step, path, sha256, inputs, objects, extract(epoch FROM clock_timestamp() - applied_at)::float8,"
            " to_jsonb(a) -> 'filled' FROM localenv.applied AS a ORDER BY applied_at"
        ).fetchall()
        empty, there = _empty_tables(conn, {table for *_, filled in rows for table in filled or ()})
        marker = conn.execute("SELECT project_id FROM localenv.marker ORDER BY made_at DESC LIMIT 1").fetchone()
    applied = [_applied(row, empty, there) for row in rows]
    # What another tool rolled back is not applied any more.
    applied = [row for row in applied if row.step != "migration" or row.key[1] in versions]
    return Observed(True, marker[0] if marker else None, tuple(applied), objects, versions)


def _applied(row: Sequence[Any], empty: set[str], there: set[str]) -> Applied:
    step, path, sha256, inputs, objects, age_s, filled = row
    tables = tuple(filled or ())
    emptied, missing = (t for t in tables if t in empty), (t for t in tables if t not in there)
    return Applied(step, path, sha256, inputs, objects, age_s, tables, tuple(emptied), tuple(missing))


def _empty_tables(conn: psycopg.Connection[Any], tables: set[str]) -> tuple[set[str], set[str]]:
    """Return which of these tables, written as SQL names, have no rows, and which exist."""
    there = conn.execute(
        "SELECT name, oid::regclass::text FROM unnest(%s::text[]) AS name JOIN pg_class ON oid = to_regclass(name)"
        " WHERE relkind IN ('r', 'p')",
        (sorted(tables),),
    ).fetchall()
    if not there:
        return set(), set()
    # Safe: these names are quoted by the server (regclass::text).
    asked = " UNION ALL ".join(
        f"SELECT {n} WHERE NOT EXISTS (SELECT FROM {table})" for n, (_, table) in enumerate(there)
    )
    return {there[n][0] for (n,) in conn.execute(asked.encode())}, {name for name, _ in there}


def filled_tables(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the tables, as SQL names, into which the open transaction has inserted rows, and how many."""
    rows = conn.execute(
        "SELECT format('%I.%I', schemaname, relname), n_tup_ins FROM pg_catalog.pg_stat_xact_user_tables"
        " WHERE n_tup_ins > 0 AND schemaname <> 'localenv' AND schemaname NOT LIKE 'pg\\_%'"
    ).fetchall()
    return {str(name): int(count) for name, count in rows}


@contextmanager
def _system_names_only(conn: psycopg.Connection[Any]) -> Iterator[str]:
    """Resolve names in pg_catalog alone, so that none of the app's functions or operators shadows the server's.

    Yields the schema in which the app's names are looked up first.
    """
    row = conn.execute(
        "SELECT coalesce(pg_catalog.current_schema(), 'public'), pg_catalog.current_setting('search_path'),"
        " pg_catalog.set_config('search_path', '', false)"
    ).fetchone()
    schema, path, _ = row or ("public", "", "")
    yield schema
    conn.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (path,))


def rebuild(conn: psycopg.Connection[Any], project_id: str, *, is_ours: bool) -> None:
    """Recreate marker and ledger with their rows: in a restored file these tables may be anything.

    With `is_ours`, a database without a ledger stays without one, and the marker keeps its time.
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
    """Return the names in what should be a JSON list of them, and nothing of anything else."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def prepare(conn: psycopg.Connection[Any], project_id: str) -> None:
    """Create the ledger if there is none, and mark the database as this project's."""
    conn.execute(_TABLES)
    conn.execute("DELETE FROM localenv.marker WHERE project_id <> %s", (project_id,))
    conn.execute("INSERT INTO localenv.marker (project_id) VALUES (%s) ON CONFLICT DO NOTHING", (project_id,))


def adopt(address: PostgresAddress, database: str, former: str, project_id: str) -> None:
    """Mark a database of project `former` as this project's. Leaves any other database as it is."""
    if observe(address, database=database).project_id == former:
        with server_errors(f"database {database}"), connect(address, database=database) as conn:
            prepare(conn, project_id)


def record(conn: psycopg.Connection[Any], entry: Entry, filled: Iterable[str] = ()) -> None:
    """Record, in the file's own transaction, that it was applied and which tables it filled."""
    conn.execute(
        "INSERT INTO localenv.applied (step, path, sha256, inputs, objects, tool_version, filled)"
        f" VALUES (%s, %s, %s, %s, ({_OBJECTS.replace('%', '%%')}), %s, %s)"
        " ON CONFLICT (step, path) DO UPDATE SET sha256 = excluded.sha256, inputs = excluded.inputs,"
        " objects = excluded.objects, tool_version = excluded.tool_version, filled = excluded.filled,"
        " applied_at = clock_timestamp()",
        (entry.step, entry.path, entry.sha256, entry.inputs, VERSION, sorted(filled)),
    )


def forget(conn: psycopg.Connection[Any], entry: Entry) -> None:
    """Remove the record of an applied file, in the transaction that undoes it."""
    conn.execute("DELETE FROM localenv.applied WHERE step = %s AND path = %s", (entry.step, entry.path))


def clear(conn: psycopg.Connection[Any]) -> None:
    """Clear the record of applied files, in the transaction that removes their contents."""
    conn.execute("DELETE FROM localenv.applied")
