"""Errors of SQL files that name the mistake: the line of a comma, a row without a value, what is not PostgreSQL's."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.runner import run_file
from tasks.localenv.postgres.sqlfile import SqlError, SqlFile
from tasks.localenv.settings import Settings
from tests.support import brokensql

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(database: Settings) -> Any:
    with connect(database.postgres, database="postgres", autocommit=True) as server:
        server.execute(f'create database "{database.postgres.database}"')
    with connect(database.postgres) as connection:
        yield connection
        connection.rollback()


def failure(conn: Connection, text: str) -> SqlError | None:
    try:
        run_file(conn, SqlFile("a.sql", text.encode()))
    except SqlError as error:
        return error
    finally:
        conn.rollback()
    return None


def told(error: SqlError) -> set[int]:
    return {int(line) for line in re.findall(r"\bline (\d+)", error.hint)}


def test_a_wrong_comma_or_semicolon_is_named_with_its_line(conn: Connection) -> None:
    later, right, missed, wrong = 0, 0, [], []
    for broken in brokensql.commas():
        error = failure(conn, broken.text)
        if error is None or "syntax error" not in error.message:
            continue
        if int(error.message.split(":")[1]) != broken.line:
            later += 1
            right += told(error) == {broken.line}
            if not told(error):
                missed.append((broken.how, broken.line, error.message))
        if told(error) - {broken.line}:
            wrong.append((broken.how, broken.line, error.message, error.hint))
    assert wrong == []
    assert later > 60 and right / later > 0.9, missed


def test_a_file_that_is_broken_in_another_way_gets_no_wrong_line(conn: Connection) -> None:
    failures, wrong = 0, []
    for broken in brokensql.otherwise():
        if error := failure(conn, broken.text):
            failures += 1
            if (
                "psql command" in error.message
                or "or add what is missing" in error.hint
                or "finds nothing" in error.hint
            ):
                continue  # true, whatever was meant
            if told(error) - {broken.line} or re.search("single quotes|MySQL|shell|IF EXISTS", error.hint):
                wrong.append((broken.how, broken.line, error.message, error.hint))
    assert failures > 100 and wrong == []


def test_what_a_hint_says_about_lines_out_of_place_helps(conn: Connection) -> None:
    advised, wrong = 0, []
    for broken in brokensql.lines():
        error = failure(conn, broken.text)
        if error and (followed := follow(broken.text, error)):
            advised += 1
            again = failure(conn, followed)
            if again and "syntax error" in again.message and line_of(again) <= line_of(error):
                wrong.append((broken.how, error.message, error.hint, again.message))
    assert advised > 20 and wrong == []


def line_of(error: SqlError) -> int:
    return int(error.message.split(":")[1])


SIGNS = {"add a comma": "\\1,", "add a semicolon": "\\1;", "remove the": "\\1"}
SWAPPED = {"comma": ",", "semicolon": ";"}


def follow(text: str, error: SqlError) -> str:
    """Do what a hint says about the sign at the end of a line; "" for another hint."""
    swap = re.match(r"end line (\d+) with a (\w+), not a (\w+)", error.hint)
    said = swap or re.match(r"(?:add a|remove the) (?:comma|semicolon) .*?line (\d+)", error.hint)
    if not said:
        return ""
    by = f"\\1{SWAPPED[swap[2]]}" if swap else next(SIGNS[word] for word in SIGNS if error.hint.startswith(word))
    removed = "[,;]" if swap or by == "\\1" else ""
    lines = text.split("\n")
    index = int(said[1]) - 1
    lines[index] = re.sub(rf"^((?:[^-]|-(?!-))*?){removed}(?=\s*(?:--.*)?$)", by, lines[index])
    return "\n".join(lines)


LOOKED_UP = """create table u (id int not null, handle text);
create table a (id int not null, u int not null, m text);
insert into u values (1, 'anna');
insert into a (id, u, m) values
  (1, (select id from u where u.handle = 'anna' limit 1), 'hello'),
  (2, (SELECT id FROM u WHERE u.handle = 'andrewbrown' LIMIT 1), 'it''s me'),
  (3, (SELECT id FROM u WHERE u.handle = 'bert' LIMIT 1), 'not me');
"""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (LOOKED_UP, "look at line 6: for u it looks for u.handle = 'andrewbrown', and finds nothing"),
        (
            "create temp table t (a int, b int not null);\ninsert into t (a, b) values\n(1, 1),\n(2, NULL);",
            "give b a value in line 4",
        ),
        (
            "create temp table t (a int, b int not null);\ninsert into t (a) values (1);",
            "add b to the columns in line 2",
        ),
        (
            "create temp table t (a int not null);\ninsert into t (a)\nselect\n(select 1 where 'x' = 'y');",
            "look at line 4: for a it looks for 'x' = 'y', and finds nothing",
        ),
        (
            "create temp table t (a int not null);\ninsert into t (a) select null::int from pg_class;",
            "give a a value in line 2",
        ),
        (
            "create temp table t (a int not null, b text);\ninsert into t values\n(1, 'one'),\n(null, 'two');",
            "give a a value in line 4",
        ),
        (
            "create temp table t (a int not null, b text);\ninsert into t values\n((select 1 where 'x' = 'y'), 'one');",
            "look at line 3: for a it looks for 'x' = 'y', and finds nothing",
        ),
        ("create temp table t (a int not null, b int, c int);\ninsert into t values (null, null, 1);", ""),
        ("select 1;\n# note\nselect 2;", "write -- instead of #"),
        ("select 1; # note\nselect 2;", "write -- instead of #"),
        ("select 1;\n// note\nselect 2;", "write -- instead of //"),
        ("<<<<<<< HEAD\nselect 1;\n=======\nselect 2;\n>>>>>>> b", "resolve the merge conflict"),
        ("select 1;\n=======\nselect 2;\n", "resolve the merge conflict"),
        ("select\u00a01;", "remove the invisible character U+00A0 here (no-break space)"),
        ("select 1;\n\ufeffselect 1;", "remove the invisible character U+FEFF"),
        ("create table t (a\u200b int\u200b);", "remove the invisible character U+200B"),
        ("select \u2018a\u2019;", "write ' or \" instead of \u2018"),
        ("psql cruddur < schema.sql\n", "remove the line: it looks like a shell command"),
        ("$ createdb cruddur\n", "remove the line: it looks like a shell command"),
        ("psql <<EOF\nselect 1;\nEOF\n", "remove the line: it looks like a shell command"),
        ("select 1;\nEOF\n", "remove the line: it looks like a shell's"),
        ("create table `t` (a int);", "remove the backticks"),
        ("create table t (a int AUTO_INCREMENT);", "write GENERATED BY DEFAULT AS IDENTITY instead"),
        ("create table t (a int UNSIGNED);", "remove it: UNSIGNED"),
        ("create table t (a int)\nENGINE=InnoDB;", "remove it: ENGINE="),
        ("create table t (a DATETIME);", "write timestamp instead: DATETIME is MySQL's"),
        ("SHOW TABLES;", "remove it: SHOW TABLES is MySQL's"),
        ("USE cruddur;", "remove the line: USE is MySQL's"),
        (
            'create temp table t (a text);\ninsert into t (a) values ("Andrew Brown");',
            "write the text in single quotes",
        ),
        ('create temp table t (a text);\ninsert into t (a) values ("anna");', "write the text in single quotes"),
        ("create temp table t (a text);\ninsert into t (a) values ('it's me');", "look at the quotes"),
        (
            "create temp table t ();\nalter table t owner to rds_superuser;",
            "remove the line, or dump with `pg_dump --no-owner",
        ),
        ("create schema s;\ngrant usage on schema s to rds_iam;", "remove the line, or dump with `pg_dump --no-owner"),
        ("create schema s;\nalter schema s owner to neon_superuser;", "remove the line, or dump"),
        ("create schema s authorization azure_pg_admin;", "remove the line, or dump"),
        ("create schema s;\ngrant usage on schema s to bob;", "create the role first, or remove the line"),
        ("drop table public.nothing;", "write IF EXISTS behind it, or dump with"),
        ("alter table public.nothing drop constraint x;", "write IF EXISTS behind it, or dump with"),
        ("create database a;\n\\connect a\n", "remove it and the \\connect below"),
        ("\\connect a\n", "remove the line, or dump without --create"),
        ("create extension aws_s3;", "remove the line: Amazon RDS alone has"),
        (
            "create temp table t (a text, b text);\ninsert into t (a, b) values (\n'x'\n'y');",
            "add a comma at the end of line 3:",
        ),
        # No hint is better than one that may be wrong.
        ("select 1 from nothing;", ""),
        ('select "Andrew Brown" from pg_class;', ""),
        ("create temp table t (a int);\nalter table t add b datetim;", ""),
        ("selekt 1;", ""),
        ("create temp table t (a int not null);\ninsert into t values (1);\nupdate t set a = null;", ""),
        ("create table t (a int\nprimry key);", ""),
        ("create table t (a int\nnot nul);", ""),
    ],
)  # fmt: skip
def test_a_known_mistake_has_its_way_out(conn: Connection, text: str, hint: str) -> None:
    error = failure(conn, text)
    assert error and error.hint.startswith(hint) and bool(error.hint) is bool(hint)


def test_the_files_that_are_broken_are_valid(conn: Connection) -> None:
    assert [failure(conn, text) for text in brokensql.valid().values()] == [None] * 3
