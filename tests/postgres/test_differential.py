"""Our reading of SQL files against a real psql: what it accepts strictly is accepted, and does the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.localenv.engines.embedded.home import installed_programs
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.postgres import databases, session
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.includes import with_included
from tasks.localenv.postgres.runner import run_file
from tasks.localenv.postgres.sqlfile import SqlError, read_sql
from tasks.localenv.settings import Settings
from tests.support.environments import PATIENCE_S

SAME: dict[str, str | bytes] = {
    "empty": "",
    "blanks": " \r\n\t\n",
    "comments alone": "-- nothing\n/* to do /* at all */ */",
    "semicolons alone": ";;\n;",
    "no final semicolon": "create table t (a int);\ninsert into t values (1)",
    "crlf": "create table t (a text);\r\n-- a comment\r\ninsert into t values ('one\r\ntwo');\r\n",
    "carriage returns alone": "create table t (a int); -- no end\rinsert into t values (1);",
    "byte order mark": "\ufeffcreate table t (a int);",
    "byte order mark within": "create table t (a int);\n\ufeffinsert into t values (1);",
    "non-ascii": "create table tëst (ñ text);\ninsert into tëst values ('漢字 🙂');",
    "several on a line": "create table t (a int); insert into t values (1); insert into t values (2);",
    "dollar quotes": "create function f() returns text language sql as $$ select ';' $$; create table t as select f();",
    "tagged dollar quotes": "create table t as select $a$ $$ ; $b$ $a$ as x;",
    "dollars in names": "create table a$b$ (c$1 int); insert into a$b$ values (1);",
    "escape strings": r"create table t as select E'it\'s; \\' as a, e'\'' as b, '\' as c;",
    "national and unicode strings": (
        r"create table t as select N'a;' as a, U&'\0041;' as b, B'1' as c, date'2020-01-01' d;"
    ),
    "quoted names": 'create table "a;b" ("c""d" int); insert into "a;b" values (1);',
    "strings in pieces": "create table t as select 'a;'\n'b;' as a;",
    "nested comments": "create table t (a int) /* ; /* ; */ ; */ ; insert into t values (1); -- ; ",
    "comment in the middle": "create table t ( -- a;\n a int /* ; */, b text);",
    "plpgsql": (
        "create table t (a int);\ndo $$\ndeclare n int := 3;\nbegin\n"
        "  for i in 1..n loop insert into t values (i); end loop;\n"
        "  if n > 2 then begin delete from t where a = 1; end; end if;\nend $$;"
    ),
    "trigger": (
        "create table t (a int, b text);\n"
        "create function tr() returns trigger language plpgsql as $$ begin new.b := 'set'; return new; end; $$;\n"
        "create trigger tr before insert on t for each row execute function tr();\ninsert into t values (1);"
    ),
    "begin atomic": (
        "create function f(a int) returns int language sql\nbegin atomic\n select case when a > 1 then 1 else 2 end;\n"
        " select a + 1;\nend;\ncreate table t as select f(1) as a;"
    ),
    "procedure with begin atomic": (
        "create table t (a int);\ncreate or replace procedure p() language sql begin atomic insert into t values (1);"
        " insert into t values (2); end; call p();"
    ),
    "rule with two actions": (
        "create table t (a int); create table l (a int);"
        "create rule r as on insert to t do also (insert into l values (1); insert into l values (2));"
        "insert into t values (7);"
    ),
    "drop first": "drop table if exists t;\ncreate table t (a int);\ndrop table t;\ncreate table t (b int);",
    "drop what is not there": "drop table t;",
    "foreign keys": (
        "create table a (id int primary key); create table b (a int references a);"
        "insert into a values (1); insert into b values (1);"
    ),
    "deferred key that holds": (
        "create table a (id int primary key);"
        "create table b (a int references a deferrable initially deferred);"
        "insert into b values (1); insert into a values (1);"
    ),
    "deferred key that does not": (
        "create table a (id int primary key);"
        "create table b (a int references a deferrable initially deferred); insert into b values (1);"
    ),
    "sequences and types": (
        "create type mood as enum ('ok'); alter type mood add value 'fine';"
        "create table t (id serial, m mood default 'ok'); insert into t default values;"
    ),
    "set and show": (
        "set search_path = public; show search_path; select 1, 2; table pg_class limit 1; create table t ();"
    ),
    "own transaction": "begin;\ncreate table t (a int);\ncommit;\n",
    "transaction of many words": (
        "start transaction isolation level repeatable read, read write;"
        "create table t (a int); commit work and no chain;"
    ),
    "two own transactions": "begin; create table t (a int); end; begin; insert into t values (1); commit;",
    "savepoints": (
        "create table t (a int); savepoint s; insert into t values (1); rollback to savepoint s; release s;"
        "insert into t values (2);"
    ),
    "copy": (
        "create table t (a int, b text);\ncopy t from stdin;\n1\tone\n2\t\\N\n3\tthr\\tee\n\\.\n"
        "insert into t values (4);"
    ),
    "copy csv": (
        "create table t (a int, b text);\n"
        "copy t (a, b) from stdin with (format csv, header, delimiter ';');\na;b\n1;\"x;\ny\"\n\\.\n"
    ),
    "copy crlf": "create table t (a int, b text);\r\nCOPY t FROM STDIN;\r\n1\tone\r\n2\ttwo\r\n\\.\r\nselect 1;\r\n",
    "copy to the end of the file": "create table t (a int);\ncopy t from stdin;\n1\n2\n",
    "copy without an end of line": "create table t (a int);\ncopy t from stdin;\n1\n\\.",
    "copy without rows": "create table t (a int);\ncopy t from stdin;\n\\.\ncopy t from stdin",
    "copy that looks like sql": (
        "create table t (a text);\ncopy t from stdin;\nselect 1; -- '\n$$ \\\\c /*\n\\.\nselect 1;"
    ),
    "copy with a bad row": "create table t (a int);\ncopy t from stdin;\n1\nx\n\\.\n",
    "copy into what is not there": "copy t from stdin;\n1\n\\.\n",
    "copy with too many columns": "create table t (a int);\ncopy t from stdin;\n1\t2\n\\.\n",
    "copy out": "create table t as select 1 as a; copy t to stdout; copy (select 'from stdin') to stdout;",
    "restricted dump": "\\restrict Abc123\n\ncreate table t (a int);\n\n\\unrestrict Abc123\n\n",
    "restricted with the wrong key": "\\restrict a\ncreate table t (a int);\n\\unrestrict b\n",
    "unrestricted without": "create table t (a int);\n\\unrestrict b\n",
    "unknown command of psql": "create table t (a int);\n\\nonsense\n",
    "shell line": "create table t (a int);\npsql -f other.sql\n",
    "shell line with a comment sign": "#!/usr/bin/psql\ncreate table t (a int);",
    "syntax error at the end": "create table t (a int);\ninsert into t values (1;\n",
    "open string": "create table t (a int);\nselect 'open;\n",
    "open comment": "create table t (a int);\n/* open; insert into t values (1);\n",
    "open dollar quote": "create table t (a int);\ndo $$ begin end;\n",
    "open parenthesis": "create table t (a int;\nselect 1;",
    "constraint": "create table t (a int not null);\ninsert into t values (null);",
    "raise": "create table t (a int);\ndo $$ begin raise exception 'no'; end $$;",
    "raise notice": "create table t (a int);\ndo $$ begin raise notice 'hm'; raise warning 'oh'; end $$;",
    "create database": "create database other;",
    "create database among others": "create table t (a int); create database other;",
    "vacuum": "vacuum;",
    "index concurrently": "create table t (a int); create index concurrently i on t (a);",
    "alter system": "alter system set work_mem = '4MB';",
    "commit in a block": "do $$ begin commit; end $$;",
    "empty statements among others": ";create table t (a int);;;insert into t values (1);;",
    "percent signs": "create table t as select 'a%' as a, 5 % 3 as b, '%(name)s' as c, '%s' as d;",
    "casts and slices": "create table t as select '{1,2,3}'::int[] as a, (array[1,2,3])[1:2] as b, -1 - -1 as c;",
    "null character escaped": "create table t as select E'a\\000b';",
    "role and path that stay": "set role pg_monitor; set search_path = ''; select 1;",
    "strings with escapes by a setting": (
        "create table t (a text, b text);\nset standard_conforming_strings = off;\n"
        "insert into t values ('C:\\\\temp', 'it\\'s; \\\\');\nset standard_conforming_strings to on;\n"
        "insert into t values ('C:\\\\temp', '\\');"
    ),
    "the same by a function": (
        "create table t (a text);\nselect set_config('standard_conforming_strings', 'off', false);\n"
        "insert into t values ('it\\'s; \\\\');\nreset standard_conforming_strings; insert into t values ('\\');"
    ),
    "the same in a block": (
        "create table t (a text);\ndo $$ begin set standard_conforming_strings = off; end $$;\n"
        "insert into t values ('it\\'s; \\\\');"
    ),
    "the same, undone by a savepoint": (
        "create table t (a text);\nsavepoint s;\nset standard_conforming_strings = off;\nrollback to s;\n"
        "insert into t values ('C:\\');"
    ),
    "an open string by the setting": "set standard_conforming_strings = off;\nselect 'C:\\';\ncreate table t (a int);",
    "settings for the next statement": (
        "set datestyle = 'german';\ncreate table t as select '1.2.2026'::date as a;\n"
        "set datestyle = 'iso, mdy'; insert into t values ('1/2/2026');"
    ),
    "what psql shows": (
        "\\echo loading\n\\timing on\n\\set ON_ERROR_STOP on\n\\pset pager off\ncreate table t (a int);\n"
        "\\dt\n\\d+ t\n\\x auto\n\\echo done\ninsert into t values (1);\n"
    ),
    "bytes in another encoding": (
        b"set client_encoding = 'latin1';\ncreate table t as select 'caf\xe9 \xa4'::text as a;\n"
        b"set client_encoding to 'UTF8'; insert into t values ('caf\xc3\xa9');"
    ),
    "a dump in another encoding": (
        b"SET client_encoding = 'WIN1252';\ncreate table t (a text);\ncopy t from stdin;\n\x80 \x93quoted\x94\n\\.\n"
    ),
    "rows of another file": (
        "create table t (a int, b text);\n\\copy t from 'rows.csv' with (format csv, header)\n"
        "\\copy t (b) from rows.txt\n\\COPY t from 'rows.csv' csv header;\ninsert into t values (9);\n"
    ),
    "rows of another file that do not fit": "create table t (a int);\n\\copy t from 'rows.txt'\n",
    "rows of a file that is not there": "create table t (a int);\n\\copy t from 'gone.txt'\n",
    "bytes of no encoding": b"create table t as select 'caf\xe9'::text as a;",
    "copy out among others": "create table t as select 1 as a; copy t to stdout; insert into t values (2);",
    "many rows out": "create table t as select 1 as a; table t; select generate_series(1, 300000); select 2;",
}

DELIBERATE: dict[str, str | bytes] = {
    "commands of psql": "\\set name value\ncreate table t (a int);\n\\echo done\n",
    "rows of a program": "create table t (a text);\n\\copy t from program 'echo hello'\n",
    "rows into a file": "create table t (a text);\n\\copy t to 'out.txt'\n",
    "sql behind a command": "\\echo a \\\\ create table t (a int);\n",
    "an encoding with quotes in characters": b"set client_encoding = 'SJIS';\nselect '\x83\x5c'::text;\n",
    "variables of psql": "create table t as select :'DBNAME' as a;",
    "rollback": "create table t (a int);\nrollback;\n",
    "statements after copy on its line": "create table t (a int);\ncopy t from stdin; select 1;\n1\n\\.\n",
    "send by \\g": "create table t (a int) \\g\n",
}
"""psql accepts these and we do not: its own commands are not SQL, and ROLLBACK would undo the load in silence."""


@dataclass
class Pair:
    """Two empty databases, one for each way to run a file."""

    psqls: Settings
    ours: Settings

    def by_psql(self, path: Path) -> bool:
        address = self.psqls.postgres
        command: list[str | Path] = [
            installed_programs() / "bin" / "psql",
            *("-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", path, "-d", address.url(masked=False)),
        ]
        env = {"PATH": os.environ["PATH"], "PGCLIENTENCODING": "UTF8"}
        return (
            subprocess.run(
                command, cwd=path.parent, capture_output=True, env=env, timeout=PATIENCE_S, check=False
            ).returncode
            == 0
        )

    def by_us(self, path: Path) -> bool:
        try:
            with connect(self.ours.postgres) as conn:
                run_file(conn, with_included(read_sql(path, path.parent), path.parent))
                session.check_constraints(conn, path.name)
        except LocalEnvError:
            return False
        return True


@pytest.fixture(scope="module")
def pair(live: Settings) -> Iterator[Pair]:
    made = [replace(live, postgres=replace(live.postgres, database=f"diff_{os.getpid()}_{n}")) for n in range(2)]
    with databases.maintenance(live.postgres) as conn:
        for each in made:
            databases.create(conn, each.postgres.database)
        yield Pair(*made)
        for each in made:
            databases.drop(conn, each.postgres.database)


def contents(settings: Settings) -> dict[str, Any]:
    """Everything in the database, by name: tables with columns and rows, routines, triggers, rules, types."""
    with connect(settings.postgres) as conn:
        tables = conn.execute(
            "SELECT table_name, array_agg(column_name || ' ' || data_type ORDER BY ordinal_position)"
            " FROM information_schema.tables LEFT JOIN information_schema.columns USING (table_schema, table_name)"
            " WHERE table_schema = 'public' GROUP BY 1 ORDER BY 1"
        ).fetchall()
        rows = {
            name: conn.execute(f'SELECT to_jsonb(t) FROM public."{name}" AS t ORDER BY 1'.encode()).fetchall()
            for name, _ in tables
        }
        others = conn.execute(
            "SELECT proname::text, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT tgname::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
            " UNION ALL SELECT typname::text, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace"
            " UNION ALL SELECT rulename::text, definition FROM pg_rules WHERE schemaname = 'public' ORDER BY 1, 2"
        ).fetchall()
    return {"tables": tables, "rows": rows, "others": others}


def drop_schemas(conn: psycopg.Connection[Any]) -> None:
    found = conn.execute(
        "SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace"
        r" WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'localenv')"
    ).fetchall()
    for (statement,) in found:
        conn.execute(statement)
    conn.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC")


def run_both(pair: Pair, tmp_path: Path, text: str | bytes) -> tuple[bool, bool]:
    for each in (pair.psqls, pair.ours):
        with connect(each.postgres) as conn:
            drop_schemas(conn)
    path = tmp_path / "case.sql"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (tmp_path / "rows.csv").write_text('a,b\r\n1,"x\ny"\r\n2,\r\n')
    (tmp_path / "rows.txt").write_text("one\ntwo\\tabs\n\\N\n")
    return pair.by_psql(path), pair.by_us(path)


@pytest.mark.parametrize("name", SAME)
def test_a_file_does_the_same_here_as_in_psql(pair: Pair, tmp_path: Path, name: str) -> None:
    by_psql, by_us = run_both(pair, tmp_path, SAME[name])
    assert by_us == by_psql
    assert contents(pair.ours) == contents(pair.psqls)


@pytest.mark.parametrize("name", DELIBERATE)
def test_what_only_psql_can_do_is_refused_and_changes_nothing(pair: Pair, tmp_path: Path, name: str) -> None:
    assert run_both(pair, tmp_path, DELIBERATE[name]) == (True, False)
    assert contents(pair.ours) == {"tables": [], "rows": {}, "others": []}


FAILING = (
    ("select 1;\nselect nope;\nselect (;", 2),
    ("create table t (a int);\ninsert into t values ('x');\ninsert into t values (;\n", 2),
    ("select 1/0;\nset standard_conforming_strings = off;\nselect 'a\\';\n", 1),
    ("select nope;\nrollback;\n", 1),
    ("select 1;\nselect nope; \\nonsense\n", 2),
    ("select nope;\ncopy t from stdin; select 1;\n1\n\\.\n", 1),
    ("create table t (a int);\nselect nope;\ncopy t from stdin;\n1\n\\.\n", 2),
    ("insert into gone values (1);\n" + "select 1;\n" * 3000, 1),
    ("select 1;\n" * 3000 + "select nope;\n" + "select 1;\n" * 3000 + "select (", 3001),
)
"""Files of two mistakes, and the line of the one that psql meets first."""


@pytest.mark.parametrize(("text", "line"), FAILING)
def test_the_first_failure_is_the_one_that_is_told(pair: Pair, tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "case.sql"
    path.write_text(text)
    with connect(pair.ours.postgres) as conn, pytest.raises(SqlError) as caught:
        run_file(conn, read_sql(path, tmp_path))
    assert caught.value.message.startswith(f"case.sql:{line}:")


PIECES = (
    "create table if not exists t (a text);",
    "set standard_conforming_strings = off;",
    "set standard_conforming_strings = on;",
    "reset all;",
    "insert into t values ('a\\\\b');",
    "insert into t values ('it\\'s; x');",
    "insert into t values (E'it\\'s; x');",
    "insert into t values ('\\');",
    "insert into t values ($q$ ' \\ ; $q$);",
    "insert into t values (U&'\\0041;');",
    'select 1 as "a;\\b";',
    "-- it's a comment;",
    "/* it's ; /* nested */ */",
    "do $$ begin perform ';'; end $$;",
    "copy t from stdin;\na\\\\b\n'\n\\.",
    "\\echo 'hello;'",
    "savepoint s;",
    "rollback to s;",
    "insert into t values ('é; 漢');",
    "select",
    "1;",
    "select 1/0;",
    "insert into nowhere values (1);",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=9), ends=st.sampled_from(("\n", "\r\n")))
def test_whatever_the_pieces_a_file_does_the_same_as_in_psql(
    pair: Pair, tmp_path: Path, pieces: list[str], ends: str
) -> None:
    by_psql, by_us = run_both(pair, tmp_path, ends.join(pieces).replace("\n", ends).replace("\r\r", "\r"))
    assert by_us == by_psql
    assert contents(pair.ours)["rows"] == contents(pair.psqls)["rows"]


def test_a_failure_after_the_files_own_commit_leaves_nothing_behind_here(pair: Pair, tmp_path: Path) -> None:
    text = "begin; create table t (a int); commit;\nselect nothing;"
    assert run_both(pair, tmp_path, text) == (False, False)
    assert [name for name, _ in contents(pair.psqls)["tables"]] == ["t"]
    assert contents(pair.ours)["tables"] == []
