"""A checksum over the rows of all tables in a database, which tells whether two databases hold the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .connection import server_errors

if TYPE_CHECKING:
    import psycopg

TABLES_PER_QUERY = 50
# Every value has one form as text, whatever the settings of the database or the user.
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
    """How many tables and rows there are, and a SHA-256 over names, columns and rows; the rows' order is irrelevant."""

    tables: int
    rows: int
    sha256: str


def measure(conn: psycopg.Connection[Any]) -> Contents:
    """Read every row of every table in a database. Changes the session's settings."""
    digest, rows = hashlib.sha256(), 0
    with server_errors(f"database {conn.info.dbname}"):
        conn.execute(_SESSION)
        tables = conn.execute(_TABLES).fetchall()
        for start in range(0, len(tables), TABLES_PER_QUERY):
            some = tables[start : start + TABLES_PER_QUERY]
            for (*named, columns), (count, total) in zip(some, _sums(conn, some), strict=True):
                rows += count
                digest.update(repr((named, columns, count, total)).encode())
        for sequence in conn.execute(_SEQUENCES).fetchall():
            digest.update(repr(sequence).encode())
    return Contents(len(tables), rows, digest.hexdigest())


def _sums(conn: psycopg.Connection[Any], tables: list[Any]) -> list[tuple[int, str]]:
    """Return the row count of each table and the sum of its rows' hashes, which does not depend on their order.

    ROW(…) is a plain record, a type whose cast to text nobody can redefine: no function of the database runs here.
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
