"""Where statements begin and end. Pure: the same cases against a real psql are in test_sql_differential.py."""

from __future__ import annotations

import pytest

from tasks.localenv.postgres.lexer import statements


def split(text: str) -> list[tuple[str, str]]:
    data = text.encode()
    return [(found.kind, data[found.start : found.end].decode()) for found in statements(data)]


def sql(*texts: str) -> list[tuple[str, str]]:
    return [("sql", text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "select 'a;b', 'it''s; so';",
        r"select 'c:\';",
        r"select E'it\'s; so', e'\\';",
        'select 1 as "a;""b";',
        "select $$ ; $$, $body$ ; $$ ; $body$;",
        "select a$b$c from t$1;",
        "select 1 /* ; /* ; */ ; */ + 2 -- ;\n;",
        "create rule r as on insert to t do also (select 1; select 2);",
        "create function f() returns int begin atomic select case when true then 1 end; select 2; end;",
        "create or replace procedure p() begin atomic select 1; end;",
        "select '-- no comment', '/* neither */';",
        "select 1 - -1, 2 / 3, '{1,2}'::int[], (array[1,2])[1:2];",
        "do $$ begin perform 1; end $$;",
    ],
)
def test_a_semicolon_inside_something_ends_nothing(text: str) -> None:
    assert split(f"{text}select 2;") == sql(text, "select 2;")


@pytest.mark.parametrize("text", ["", " \r\n", ";;", "-- only this", "/* and /* this */ */ ;", "\ufeff", "\ufeff;\n"])
def test_nothing_to_run_gives_no_statement(text: str) -> None:
    assert split(text) == []


def test_the_last_statement_needs_no_semicolon() -> None:
    assert split("select 1;\r\nselect 2\r\n") == sql("select 1;", "select 2\r\n")


@pytest.mark.parametrize("text", ["select 'open; select 2;", "select $$open; $a$;", 'select "a;', "/* open; select 1;"])
def test_what_is_left_open_runs_to_the_end(text: str) -> None:
    assert split(text) == sql(text)


def test_comments_before_a_statement_are_not_part_of_it() -> None:
    assert split("-- first\n/* second */ select 1 -- third\n;") == sql("select 1 -- third\n;")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("BEGIN;", "begin"),
        ("begin /* now */ transaction isolation level serializable, read write;", "begin"),
        ("START TRANSACTION;", "begin"),
        ("COMMIT;", "commit"),
        ("commit work and no chain;", "commit"),
        ("END;", "commit"),
        ("ROLLBACK;", "rollback"),
        ("abort;", "rollback"),
        ("rollback to savepoint a;", "sql"),
        ("rollback prepared 'a';", "sql"),
        ("commit prepared 'a';", "sql"),
        ("prepare transaction 'a';", "prepare"),
        ("prepare a as select 1;", "sql"),
        ("commit select 1;", "sql"),
        ("commit 1;", "sql"),
        ("begin atomic;", "sql"),
        ("copy t from stdin", "copy"),
        ("copy t (\"from stdin\") from 'file';", "sql"),
        ("copy (select 'from stdin') to stdout;", "sql"),
        ("copy t from /* all */ stdin with (delimiter ';');", "copy"),
        ("\\c other", "meta"),
    ],
)
def test_statements_of_a_kind_of_their_own_are_told_apart(text: str, kind: str) -> None:
    assert split(text) == [(kind, text)]


def test_rows_after_copy_are_no_statements() -> None:
    text = b"copy t from stdin; -- rows\r\n1\t;\r\n\\.x\r\n\\.\r\nselect 2;copy t from stdin;\n3\n"
    found = list(statements(text))
    assert [(f.kind, f.data and text[slice(*f.data)]) for f in found] == [
        ("copy", b"1\t;\r\n\\.x\r\n"),
        ("sql", None),
        ("copy", b"3\n"),
    ]


def test_a_copy_without_rows_is_empty() -> None:
    text = b"copy t from stdin;\n\\.\ncopy t from stdin;"
    assert [text[slice(*found.data)] for found in statements(text) if found.data] == [b"", b""]


def test_a_backslash_in_the_middle_of_a_statement_is_a_meta_command() -> None:
    assert split("select 1 \\g out.txt\nselect 2;") == [("meta", "\\g out.txt"), *sql("select 2;")]


def test_a_statement_of_many_rows_is_one_statement() -> None:
    text = "insert into t values " + ",\n".join("(-1, 'it''s', \"x\" / 2)" for _ in range(20_000)) + ";"
    assert split(f"{text}\nselect 1;") == sql(text, "select 1;")
