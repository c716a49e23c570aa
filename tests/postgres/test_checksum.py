"""The checksum over a database's rows: two databases have the same one only where every value is the same."""

from __future__ import annotations

import itertools

import pytest

from tasks.localenv.postgres import checksum, databases
from tasks.localenv.postgres.checksum import Contents
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.support.projects import run_sql

VALUES = {
    "boolean": ["true", "false"],
    "smallint": ["0", "1", "-1", "-2"],
    "integer": ["0", "1", "-1", "-2", "2147483647"],
    "bigint": ["0", "1", "-1", "4294967296", "-4294967297", "4294967297", "8589934592"],
    "numeric": ["0", "1", "-1", "1.0", "1.00", "'NaN'", "'Infinity'", "'-Infinity'"],
    "double precision": ["'0'", "'-0'", "'1e-300'", "'NaN'", "'Infinity'"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"],
    "text": ["''", "'a'", "'A'", "'a '", "'NULL'", "'ä'"],
    "citext": ["''", "'a'", "'A'"],
    "varchar(20)": ["''", "'a'", "'a '"],
    "timestamp": ["'1970-01-01'", "'1969-12-31 23:59:59'", "'1970-01-01 00:00:01'", "'infinity'", "'-infinity'"],
    "timestamptz": ["'2000-01-01Z'", "'2000-01-01 00:00:00.000001Z'", "'2000-01-01 BC'", "'infinity'", "'-infinity'"],
    "interval": ["'1 month'", "'30 days'", "'720 hours'"],
    "json": ["'{}'", "'{ }'", "'null'"],
    "bytea": ["''", "'\\x00'"],
    "int[]": ["'{}'", "'{1}'", "'[2:2]={1}'", "'{NULL}'"],
}


@pytest.fixture
def empty(database: Settings) -> Settings:
    with databases.maintenance(database.postgres) as conn:
        databases.create(conn, database.postgres.database)
    run_sql(database, "create extension citext")
    return database


def measured(settings: Settings, statements: str) -> Contents:
    """Return the checksum after these statements, which are rolled back."""
    with connect(settings.postgres) as conn:
        conn.execute(statements.encode())
        held = checksum.measure(conn)
        conn.rollback()
        return held


@pytest.mark.parametrize("kind", VALUES)
def test_no_two_values_of_a_type_have_one_checksum(empty: Settings, kind: str) -> None:
    run_sql(empty, f"create table t (id int, a {kind})")
    held = [measured(empty, f"insert into t values (1, {value})") for value in [*VALUES[kind], "NULL"]]
    assert len({each.sha256 for each in held}) == len(held)
    assert {(each.tables, each.rows) for each in held} == {(1, 1)}


def test_which_row_and_column_a_value_stands_in_counts_and_the_order_of_rows_does_not(empty: Settings) -> None:
    run_sql(empty, "create table t (a text, b text, c int, d int, e jsonb, f numeric)")
    rows = ["('x', 'y', 1, 2, '1', 1)", "('z', 'w', 3, 4, '2', 2)"]
    held = measured(empty, f"insert into t values {', '.join(rows)}")
    assert measured(empty, f"insert into t values {', '.join(reversed(rows))}") == held
    swapped = [
        f"insert into t values {', '.join(rows)}; update t set {one} = {other}, {other} = {one}"
        for one, other in itertools.combinations("abcd", 2)
        if (one in "ab") == (other in "ab")
    ]
    between = [
        f"insert into t values {', '.join(rows)};"
        f" update t set {column} = (select {column} from t as other where other.ctid <> t.ctid)"
        for column in "abcdef"
    ]
    others = [measured(empty, statements).sha256 for statements in (*swapped, *between)]
    assert len({held.sha256, *others}) == 1 + len(others)


def test_values_that_are_null_are_not_taken_for_each_other(empty: Settings) -> None:
    columns = [f"c{number} {'text' if number % 3 else 'date'}" for number in range(40)]
    run_sql(empty, f"create table wide ({', '.join(columns)})")
    held = [
        measured(empty, f"insert into wide (c{number}) values ({value})").sha256
        for number in range(40)
        for value in ("'2000-01-01'", "''" if number % 3 else "'2000-01-02'")
    ]
    assert len(set(held)) == 80


def test_tables_of_any_width_are_measured(empty: Settings) -> None:
    run_sql(empty, "create table none (); insert into none default values")
    run_sql(empty, f"create table widest ({', '.join(f'c{number} bigint' for number in range(1600))})")
    run_sql(empty, "insert into widest (c0, c1599) values (1, 2), (1, 3)")
    held = measured(empty, "")
    assert (held.tables, held.rows) == (2, 3)
    assert measured(empty, "update widest set c1599 = 4 where c1599 = 3") != held
    assert measured(empty, "insert into none default values") != held


def test_no_function_of_the_database_runs(empty: Settings) -> None:
    run_sql(
        empty,
        "create function public.hashtextextended(text, bigint) returns bigint language plpgsql"
        " as 'begin raise exception ''ran''; end';"
        "create type mood as enum ('a', 'b'); create domain short as text check (value <> 'x');"
        "create function public.as_text(mood) returns text language plpgsql as 'begin raise exception ''ran''; end';"
        "create cast (mood as text) with function public.as_text(mood) as implicit;"
        "create table t (a mood, b short, c text); insert into t values ('a', 'b', 'c')",
    )
    held = measured(empty, "set search_path = public, pg_catalog")
    assert (held.tables, held.rows) == (1, 1)
    assert measured(empty, "update t set a = 'b'") != held
