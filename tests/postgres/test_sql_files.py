"""SQL files that fail: the place, the line with its caret, Postgres's own detail and hint. And files that are large."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tasks.localenv.engines.embedded.home import installed_programs
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.machine.columns import caret_line
from tasks.localenv.postgres import databases, session, sqlfile
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.elsewhere import EMBEDDED, find_engine
from tasks.localenv.postgres.runner import Outcome, run_file
from tasks.localenv.postgres.sqlfile import SqlError, SqlFile, display_name, read_sql
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import Person
from tests.support.environments import PATIENCE_S

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(live: Settings) -> Any:
    with connect(live.postgres, database="postgres") as connection:
        yield connection
        connection.rollback()


def failure(conn: Connection, text: str) -> SqlError:
    with pytest.raises(SqlError) as caught:
        run_file(conn, SqlFile("a.sql", text.encode()))
    conn.rollback()
    return caught.value


def shown(conn: Connection, text: str) -> list[str]:
    """The message, then the evidence, line by line."""
    error = failure(conn, text)
    return [error.message, *error.evidence.splitlines()]


def test_an_error_within_a_later_statement_has_its_line_and_column(conn: Connection) -> None:
    assert shown(conn, "create table tt (x int);\n\nselect 'é',\n  nope from tt;") == [
        'a.sql:4:3: column "nope" does not exist',
        "  nope from tt;",
        "  ^",
    ]


def test_columns_count_characters_not_bytes(conn: Connection) -> None:
    assert shown(conn, "select '漢字', nope;") == [
        'a.sql:1:14: column "nope" does not exist',
        "select '漢字', nope;",
        "               ^",  # the two signs are two cells wide each
    ]


def test_an_error_without_a_position_points_at_its_statement(conn: Connection) -> None:
    first = "create temp table tt (x int primary key);\ninsert into tt values (1);;\n"
    text = f"{first}\n  insert into tt\n  values (1);\nselect 1;"
    assert shown(conn, text) == [
        'a.sql:4:3: duplicate key value violates unique constraint "tt_pkey"',
        "  insert into tt",
        "  ^",
        "detail: Key (x)=(1) already exists.",
    ]


def test_an_error_in_a_do_block_points_at_the_line_within(conn: Connection) -> None:
    assert shown(conn, "select 1;\ndo $$\nbegin\n  perform 1;\n  perform 1 / 0;\nend $$;")[:3] == [
        "a.sql:5:3: division by zero",
        "  perform 1 / 0;",
        "  ^",
    ]


def test_an_error_in_a_do_block_on_one_line_points_at_its_body(conn: Connection) -> None:
    assert shown(conn, "do 'begin perform 1 / 0; end';")[0] == "a.sql:1:5: division by zero"


def test_a_raised_error_brings_its_own_detail_and_hint(conn: Connection) -> None:
    text = "do $$\nbegin\n  raise exception 'no %', 7 using hint = 'try 8', detail = '7 is odd';\nend $$;"
    error = failure(conn, text)
    assert (error.message, error.hint) == ("a.sql:3:3: no 7", "try 8")
    assert "detail: 7 is odd" in error.evidence.splitlines()


def test_a_syntax_error_in_a_function_body_is_found_in_the_file(conn: Connection) -> None:
    text = "create function f() returns int language plpgsql as $$\nbegin\n  retrn 1;\nend $$;"
    assert shown(conn, text)[0] == 'a.sql:3:3: syntax error at or near "retrn"'


def test_an_error_in_a_called_function_shows_where_the_file_defines_it(conn: Connection) -> None:
    text = (
        "create function pg_temp.halve(a int default '1')\nreturns int language plpgsql as $$\nbegin\n"
        "  return 1 / a;\nend $$;\n\nselect pg_temp.halve(0);"
    )
    assert shown(conn, text) == [
        "a.sql:7:1: division by zero",
        "select pg_temp.halve(0);",
        "^",
        "PL/pgSQL function pg_temp_N.halve(integer) line 3 at RETURN (a.sql:4:3)".replace(
            "pg_temp_N", failure(conn, text).evidence.split("function ")[1].split(".")[0]
        ),
    ]


def test_an_error_in_a_query_built_at_run_time_shows_that_query(conn: Connection) -> None:
    assert shown(conn, "do $$\nbegin\n  execute 'select 1,\n nope';\nend $$;")[:5] == [
        'a.sql:3:3: column "nope" does not exist',
        "  execute 'select 1,",
        "  ^",
        " nope",
        " ^",
    ]


def test_a_bad_row_of_a_copy_is_shown_by_its_line(conn: Connection) -> None:
    text = "create temp table tt (x int);\ncopy tt from stdin;\n1\n2\nthree\n\\.\n"
    assert shown(conn, text)[:3] == ['a.sql:5:1: invalid input syntax for type integer: "three"', "three", "^"]


def test_a_statement_that_cannot_run_in_a_transaction_says_what_to_do(conn: Connection) -> None:
    error = failure(conn, "select 1;\nvacuum;")
    assert error.message == "a.sql:2:1: VACUUM cannot run inside a transaction block"
    assert error.hint.startswith("move it into a file of its own")
    error = failure(conn, "create database nope;")
    assert error.hint == "run `inv db.connect` to run this statement by itself: each file runs as one transaction"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("create extension xml2", "docker has it: --engine docker"),
        ("create extension postgis", "neither engine has it: give db in docker-compose.yml an image that does"),
    ],
)
def test_an_extension_that_is_not_here_is_looked_for_elsewhere(conn: Connection, text: str, hint: str) -> None:
    assert failure(conn, text).hint.startswith(hint)


@pytest.mark.parametrize(
    ("sqlstate", "statement", "version", "finds"),
    [
        ("42883", b"select uuidv7 ()", 170004, True),
        ("42601", b"create table t (a int, b int generated always as (a + 1))", 170004, True),
        ("42601", b"create table t (a int, b int generated always as (a + 1) stored,)", 170004, False),
        ("42601", b"update t set a = 1 returning old.a, new.a", 170004, True),
        ("42883", b"select uuidv7 ()", 180006, False),
        ("23505", b"insert into t values (uuidv7())", 170004, False),
    ],
)
def test_what_postgresql_18_alone_has_is_in_the_other_engine(
    sqlstate: str, statement: bytes, version: int, finds: bool
) -> None:
    assert (find_engine(sqlstate, "", statement, version) == EMBEDDED) is finds


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("select 1;\n  \\c other\n", "a.sql:2:3: \\c is a psql command, not SQL", "remove the line, or dump"),
        ("select :name;", 'a.sql:1:8: syntax error at or near ":"', "write the value itself"),
        ("select 1;\ncd /tmp\n", 'a.sql:2:1: syntax error at or near "cd"', "remove the line: it looks like"),
        ("select 1;\nrollback;", "a.sql:2:1: ROLLBACK in a file that runs as one transaction", "remove it"),
        ("prepare transaction 'a';", "a.sql:1:1: PREPARE TRANSACTION in a file that runs as one", "remove it"),
        ("create table pg_class2 (a int);\nselect * from pg_clas;", 'a.sql:2:15: relation "pg_clas"', ""),
    ],
)
def test_what_does_not_belong_in_a_file_is_named_with_a_hint(
    conn: Connection, text: str, message: str, hint: str
) -> None:
    error = failure(conn, text)
    assert error.message.startswith(message)
    assert error.hint.startswith(hint)


def test_the_files_own_transaction_is_left_out_with_a_warning(conn: Connection) -> None:
    outcome = run_file(conn, SqlFile("a.sql", b"begin;\ncreate temp table tt ();\n commit;"))
    assert outcome == Outcome(
        statements=1,
        warnings=[
            "a.sql:1:1: BEGIN is ignored: the file runs as one transaction",
            "a.sql:3:2: COMMIT is ignored: the file runs as one transaction",
        ],
    )


def test_what_a_file_raises_is_heard_and_what_the_server_chats_is_not(conn: Connection) -> None:
    text = b"drop table if exists nope; do $$ begin raise notice 'heard'; raise warning 'too'; end $$;"
    assert run_file(conn, SqlFile("a.sql", text)).warnings == ["a.sql: heard", "a.sql: too"]


def test_rows_are_counted_as_the_server_reports_them(conn: Connection) -> None:
    text = (
        b"create temp table tt as select 1 as x;copy tt from stdin;\n1\n2\n\\.\nupdate tt set x = 3; select * from tt;"
    )
    assert run_file(conn, SqlFile("a.sql", text)) == Outcome(statements=4, rows=5)


def test_a_file_of_many_statements_goes_in_batches_and_keeps_its_places(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.localenv.postgres.runner.AHEAD", 7)
    lines = ["create temp table tt (x int);", *(f"insert into tt values ({n});" for n in range(500))]
    assert run_file(conn, SqlFile("a.sql", "\n".join(lines).encode())) == Outcome(statements=501, rows=500)
    conn.rollback()
    assert shown(conn, "\n".join([*lines, "insert into tt values ('x');"]))[0].startswith("a.sql:502:24: ")


def test_a_hundred_thousand_rows_of_copy_are_loaded(conn: Connection) -> None:
    rows = "".join(f"{n}\tperson {n}\n" for n in range(100_000))
    text = f"create temp table tt (x int, y text);\ncopy tt from stdin;\n{rows}\\.\n"
    assert run_file(conn, SqlFile("a.sql", text.encode())) == Outcome(statements=2, rows=100_000)


def test_a_dump_of_a_database_loads_as_pg_dump_writes_it(database: Settings, tmp_path: Path) -> None:
    name, copy = database.postgres.database, databases.sibling_name(database.postgres.database, "copy")
    query = "select t.*, (select count(*) from pg_trigger) from public.t as t order by x"
    with databases.maintenance(database.postgres) as server:
        databases.create(server, name)
        databases.create(server, copy)
    with connect(database.postgres) as conn:
        conn.execute(
            "create table t (x int primary key, y text default 'tab\there');"
            "create function f() returns trigger language plpgsql as $$ begin return new; end $$;"
            "create trigger tr before insert on t for each row execute function f();"
            "insert into t values (1, 'a;b'), (2, null), (3, e'back\\\\slash\nline');"
        )
        before = conn.execute(query).fetchall()
    dump = tmp_path / "dump.sql"
    program = installed_programs() / "bin" / "pg_dump"
    subprocess.run([program, "-f", dump, "-d", database.postgres.url(masked=False)], check=True, timeout=PATIENCE_S)
    assert "\\restrict" in dump.read_text()
    with connect(database.postgres, database=copy) as conn:
        assert run_file(conn, read_sql(dump, tmp_path)).rows == 3
        assert conn.execute(query.encode()).fetchall() == before


def test_one_file_does_not_feel_what_another_one_set(conn: Connection) -> None:
    run_file(
        conn,
        SqlFile("a.sql", b"set search_path = ''; set role pg_monitor; create temp table tt (); prepare p as select 1;"),
    )
    session.reset(conn)
    outcome = run_file(
        conn, SqlFile("b.sql", b"create temp table tt (); prepare p as select 2; create table public.new ();")
    )
    assert outcome.statements == 3
    assert conn.execute("select current_setting('search_path'), current_user = session_user").fetchone() == (
        '"$user", public',
        True,
    )


PEOPLE = (
    Person("andrew", "andrewb", "Andrew", "a@example.com"),
    Person("bayko", "andrew", "O'Bayko %s", "b@example.com"),
)


def test_people_are_at_hand_by_name_and_by_handle(conn: Connection) -> None:
    session.provide_people(conn, PEOPLE, "seeds/people.csv")
    found = conn.execute("select person, handle, display_name, email, uuid from pg_temp.people order by 1").fetchall()
    assert found == [(p.person, p.handle, p.display_name, p.email, p.uuid) for p in PEOPLE]
    names = conn.execute(
        "select pg_temp.person('andrewb'), pg_temp.person('andrew'), pg_temp.person('bayko')"
    ).fetchone()
    assert names == (PEOPLE[0].uuid, PEOPLE[0].uuid, PEOPLE[1].uuid)


def test_an_app_may_have_a_table_of_people_of_its_own(conn: Connection) -> None:
    session.provide_people(conn, PEOPLE, "seeds/people.csv")
    run_file(conn, SqlFile("a.sql", b"create table people (name text); insert into people values ('me');"))
    assert conn.execute("select * from public.people").fetchall() == [("me",)]


def test_a_person_nobody_knows_is_found_where_they_are_named(conn: Connection) -> None:
    session.provide_people(conn, PEOPLE, "seeds/people.csv")
    error = failure(conn, "select 1;\nselect pg_temp.person('andrew'),\n  pg_temp.person('baiko');")
    assert error.message == "a.sql:3:18: nobody in seeds/people.csv is called 'baiko'"
    assert error.unknown_person == "baiko"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"select 1;\n-- \xe9t\xe9\n", "a.sql:2:4: byte 0xe9 is not UTF-8"),
        ("sélect 1;".encode() + b"\xff", "a.sql:1:10: byte 0xff is not UTF-8"),
        ("select 'é".encode()[:-1], "a.sql:1:9: byte 0xc3 is not UTF-8"),
        ("select 1;".encode("utf-16"), "a.sql: UTF-16, wanted UTF-8"),
        (b"select 1;\nselect \x00;", "a.sql:2:8: a NUL byte"),
        (b"PGDMP\x01\x0f", "a.sql: a pg_dump archive, not SQL"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.sql").write_bytes(content)
    with pytest.raises(LocalEnvError) as caught:
        read_sql(tmp_path / "a.sql", tmp_path)
    assert caught.value.message == message
    assert caught.value.hint


def test_a_file_that_is_not_there_or_is_a_folder_is_an_error_of_the_user(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "no.sql", "no.sql: no such file"), (tmp_path, ".: is a directory")):
        with pytest.raises(LocalEnvError, match=f"^{message}$") as caught:
            read_sql(path, tmp_path)
        assert caught.value.code == 2


def test_a_mapped_file_reads_as_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conn: Connection
) -> None:
    path = tmp_path / "a.sql"
    path.write_text("\ufeffcreate temp table tt (é int);\n\ncopy tt from stdin;\n1\n\\.\nselect nope;\n")
    in_memory = read_sql(path, tmp_path)
    monkeypatch.setattr(sqlfile, "IN_MEMORY_BYTES", 0)
    mapped = read_sql(path, tmp_path)
    assert not isinstance(mapped.text, bytes)
    assert mapped.sha256 == in_memory.sha256
    with pytest.raises(SqlError, match=r"^a\.sql:6:8: "):
        run_file(conn, mapped)


def test_a_place_on_the_first_line_does_not_count_the_byte_order_mark(conn: Connection) -> None:
    assert shown(conn, "\ufeffselect nope;") == ['a.sql:1:8: column "nope" does not exist', "select nope;", "       ^"]


def test_a_long_line_is_cut_around_its_caret() -> None:
    shown = caret_line(f"{'a' * 500}X{'b' * 500}", 500).splitlines()
    assert shown[0] == f"…{'a' * 55}X{'b' * 54}…"
    assert shown[1].index("^") == shown[0].index("X")


def test_a_file_is_called_by_its_path_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert display_name(Path("sub/../sub/a.sql"), tmp_path) == "sub/a.sql"
    assert display_name(Path("/elsewhere/a.sql"), tmp_path) == "/elsewhere/a.sql"
