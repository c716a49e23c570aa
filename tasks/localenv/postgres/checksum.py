"""A checksum over the rows of all tables in a database, which tells whether two databases hold the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..machine.progress import progress
from .connection import server_errors

if TYPE_CHECKING:
    import psycopg

TABLES_PER_QUERY = 50
# Every value has one form as text, whatever the settings of the database or the user.
_SESSION = """
SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET row_security = off; SET jit = off;
"""
_TABLES = """
SELECT nspname, relname,
       (SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum), '')
          FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped),
       (SELECT json_agg(json_build_array(attname, format_type(atttypid, -1), attnotnull) ORDER BY attnum)
          FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relkind = 'r' AND relpersistence <> 't' AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
 ORDER BY nspname COLLATE "C", relname COLLATE "C"
"""
_SEQUENCES = """
SELECT schemaname, sequencename, last_value::text FROM pg_sequences
 ORDER BY schemaname COLLATE "C", sequencename COLLATE "C"
"""
_OF_TEXT = """hashtextextended(coalesce({text}, '') COLLATE "C", {{seed}})"""
_HASHES = {
    "boolean": "hashint4extended(coalesce({column}, false)::int4, {seed})",
    "smallint": "hashint4extended(coalesce({column}, 0::int2)::int4, {seed})",
    "integer": "hashint4extended(coalesce({column}, 0), {seed})",
    # hashint8extended folds 64 bits into 32, so the upper half is hashed too; hash_numeric_extended ignores the sign.
    "bigint": "hashint8extended(coalesce({column}, 0), hashint4extended((coalesce({column}, 0) >> 32)::int4, {seed}))",
    "uuid": "uuid_hash_extended(coalesce({column}, '00000000-0000-0000-0000-000000000000'), {seed})",
    "text": _OF_TEXT.format(text="{column}"),
    "character varying": _OF_TEXT.format(text="{column}::text"),
    "timestamp without time zone": _OF_TEXT.format(text="textin(timestamp_out({column}))"),
    "timestamp with time zone": _OF_TEXT.format(text="textin(timestamptz_out({column}))"),
}
"""How to hash every bit of a value, by the SQL name of its type; values of other types are hashed as text, together."""
_AS_TEXT = """hashtextextended(ROW({columns})::text COLLATE "C", {seed})"""
MOST_HASHED = 31
"""Columns hashed one by one, in a mask of 31 bits; those after them are hashed as text."""


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
        with progress(f"reading database {conn.info.dbname}", len(tables), "tables") as read:
            for start in range(0, len(tables), TABLES_PER_QUERY):
                some = tables[start : start + TABLES_PER_QUERY]
                for (*named, columns, _), (count, total) in zip(some, _sums(conn, some), strict=True):
                    rows += count
                    digest.update(repr((named, columns, count, total)).encode())
                read.add(len(some))
        for sequence in conn.execute(_SEQUENCES).fetchall():
            digest.update(repr(sequence).encode())
    return Contents(len(tables), rows, digest.hexdigest())


def _sums(conn: psycopg.Connection[Any], tables: list[Any]) -> list[tuple[int, str]]:
    """Return the row count of each table and the sum of its rows' hashes, which does not depend on their order."""
    from psycopg import sql

    one = sql.SQL("SELECT {number}::int AS number, count(*), coalesce(sum({row}), 0)::text FROM ONLY {table} AS row_")
    parts = [
        one.format(number=sql.Literal(number), row=_row_hash(columns or []), table=sql.Identifier(schema, name))
        for number, (schema, name, _, columns) in enumerate(tables)
    ]
    found = conn.execute(sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" ORDER BY number")).fetchall()
    return [(int(count), str(total)) for _, count, total in found]


def _row_hash(columns: list[tuple[str, str, bool]]) -> Any:
    """Return the expression that hashes a row: each value with the hash of those before it as its seed.

    A mask of those that are NULL comes first, since they are hashed as an empty value. `columns`: name, type, NOT NULL.
    Only functions of the server run: nobody can redefine these, nor the cast to text of ROW(...), a plain record.
    """
    from psycopg import sql

    hashed = [each for each in columns if each[1] in _HASHES][:MOST_HASHED]
    others = [sql.Identifier("row_", each[0]) for each in columns if each not in hashed]
    nullable = [sql.Identifier("row_", name) for name, _, never_null in hashed if not never_null]
    bits = [sql.SQL("(({} IS NULL)::int4 << {})").format(column, bit) for bit, column in enumerate(nullable)]
    row: Any = sql.SQL("hashint4extended({}, 0)").format(sql.SQL(" | ").join(bits)) if bits else sql.SQL("0")
    for name, kind, _ in hashed:
        row = sql.SQL(_HASHES[kind]).format(column=sql.Identifier("row_", name), seed=row)
    if others or not columns:
        row = sql.SQL(_AS_TEXT).format(columns=sql.SQL(", ").join(others), seed=row)
    return row
