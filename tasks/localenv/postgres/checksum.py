"""A checksum over the rows of all tables in a database, which tells whether two databases hold the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .connection import server_errors

if TYPE_CHECKING:
    import psycopg

AT_ONCE = 50
"""Tables in one query."""
# Values are written as text in one way only, whatever the database or the user would like.
_SESSION = """
SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET row_security = off;
"""
_TABLES = """
SELECT nspname, relname,
       (SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum), '')
          FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relkind = 'r' AND relpersistence <> 't' AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
 ORDER BY nspname COLLATE "C", relname COLLATE "C"
"""
_SEQUENCES = """
SELECT schemaname, sequencename, last_value::text FROM pg_sequences
 ORDER BY schemaname COLLATE "C", sequencename COLLATE "C"
"""


@dataclass(frozen=True)
class Contents:
    """Tables, rows, and a SHA-256 over the names, columns and rows of all tables, in whatever order the rows are."""

    tables: int
    rows: int
    sha256: str


def measure(conn: psycopg.Connection[Any]) -> Contents:
    """Read every row of every table in a database. Leaves the session's settings changed."""
    digest, rows = hashlib.sha256(), 0
    with server_errors(f"database {conn.info.dbname}"):
        conn.execute(_SESSION)
        tables = conn.execute(_TABLES).fetchall()
        for start in range(0, len(tables), AT_ONCE):
            some = tables[start : start + AT_ONCE]
            for (*named, columns), (count, total) in zip(some, _sums(conn, some), strict=True):
                rows += count
                digest.update(repr((named, columns, count, total)).encode())
        for sequence in conn.execute(_SEQUENCES).fetchall():
            digest.update(repr(sequence).encode())
    return Contents(len(tables), rows, digest.hexdigest())


def _sums(conn: psycopg.Connection[Any], tables: list[Any]) -> list[tuple[int, str]]:
    """Count the rows of tables and add up their hashes, so that the order of the rows does not matter.

    ROW(…) is a record, of no type that somebody may have given a cast to text: no function of the database runs here.
    """
    from psycopg import sql

    one = sql.SQL(
        "SELECT {number}::int AS number, count(*),"
        ' coalesce(sum(hashtextextended(ROW(row_.*)::text COLLATE "C", 0)), 0)::text FROM ONLY {table} AS row_'
    )
    parts = [
        one.format(number=sql.Literal(number), table=sql.Identifier(schema, name))
        for number, (schema, name, _) in enumerate(tables)
    ]
    found = conn.execute(sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" ORDER BY number")).fetchall()
    return [(int(count), str(total)) for _, count, total in found]
