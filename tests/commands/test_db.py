"""The db commands as typed: what they print, their exit codes, and that each brings what it needs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.errors import LocalEnvError, UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import dump, load, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.query import require_read_only
from tasks.localenv.postgres.sqlfile import SqlFile
from tasks.localenv.settings import Settings
from tests.support.answers import answer, entries
from tests.support.environments import PATIENCE_S, Finished, inv, wait_until

Db = Callable[..., Finished]


@pytest.fixture
def db(live_environment: dict[str, str], database: Settings, tmp_path: Path) -> Db:
    """Run `inv db.…` on a database of its own, from a folder that is not the project's."""

    def run(*words: str, text: str = "", **environ: str) -> Finished:
        url = database.postgres.url(masked=False)
        return inv(*words, environ={**live_environment, "CONNECTION_URL": url, **environ}, cwd=tmp_path, text=text)

    return run


@pytest.fixture
def built(database: Settings) -> Settings:
    setup.setup(database, lambda _: None, typed=True)
    return database


def steps(done: Finished) -> list[tuple[str, str]]:
    """The first two words of each line about a step."""
    lines = [line.split() for line in done.stderr.splitlines()]
    return [(words[0], words[1]) for words in lines if words and words[0] in ("ok", "skip", "FAIL")]


def count(settings: Settings, table: str) -> int:
    with connect(settings.postgres) as conn:
        return (conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or [0])[0]


def test_seed_alone_brings_database_and_schema_and_a_second_one_changes_nothing(db: Db, database: Settings) -> None:
    first = db("db.seed")
    assert (first.code, steps(first)) == (
        0,
        [("skip", "env.up"), ("ok", "db.create"), ("ok", "db.schema-load"), ("skip", "db.migrate"), ("ok", "db.seed")],
    )
    activities = count(database, "activities")
    second = db("db.seed")
    assert (second.code, [word for word, _ in steps(second)]) == (0, ["skip"] * 5)
    assert "unchanged (" in second.stderr
    assert count(database, "activities") == activities


def test_setup_is_skipped_with_a_reason_and_forced_on_demand(db: Db, built: Settings) -> None:
    again = db("db.setup")
    assert (again.code, steps(again)) == (0, [("skip", "env.up"), ("skip", "db.setup")])
    forced = db("db.setup", "--force")
    assert (forced.code, steps(forced)) == (0, [("skip", "env.up"), ("ok", "db.setup")])
    assert re.search(r"\n {6}undo +`inv undo` brings back database t_\w+$", forced.stderr.rstrip())
    assert steps(db("undo"))[-1] == ("ok", "undo")


def test_a_plan_changes_nothing(db: Db, database: Settings) -> None:
    done = db("db.setup", "--plan")
    assert done.code == 0
    assert f"create {database.postgres.database}__new: there is no database yet" in done.stdout
    assert load.check_created(database) is None


def test_a_failing_seed_is_told_with_place_caret_and_what_was_kept(db: Db, built: Settings, tmp_path: Path) -> None:
    (tmp_path / "more.sql").write_text("INSERT INTO users (handle)\nVALUES ('x');\n")
    done = db("db.seed", "--file", "more.sql", GITHUB_ACTIONS="true")
    assert done.code == 1
    assert [line.split("|")[-1].strip() for line in done.stderr.splitlines()[4:]][:3] == [
        f'FAIL  db.seed         {tmp_path / "more.sql"}:1:1: null value in column "display_name" of relation "users"'
        " violates not-null constraint",
        "INSERT INTO users (handle)",
        "^",
    ]
    assert f"kept: database {built.postgres.database} is unchanged" in done.stderr
    assert f"::error file={tmp_path / 'more.sql'},line=1,col=1::" in done.stderr


@pytest.mark.reliability("kills")
def test_an_interrupted_seed_leaves_neither_rows_nor_a_session(
    db: Db, built: Settings, live_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "slow.sql").write_text("DELETE FROM users; SELECT pg_sleep(600);")
    url = built.postgres.url(masked=False)
    running = subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", TOOL, "db.seed", "--file", tmp_path / "slow.sql"],
        env={**os.environ, **live_environment, "CONNECTION_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: is_asleep(built))
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=PATIENCE_S)[1]
    assert (running.returncode, "Traceback" in said, "error ignored" in said) == (130, False, False)
    assert db("db.sessions").stdout == "nobody else is connected\n"
    assert count(built, "users") == 6


def is_asleep(settings: Settings) -> bool:
    """Return whether the seed has got to its second statement."""
    return any(session.query.endswith("pg_sleep(600);") for session in setup.read_sessions(settings))


def test_drop_asks_and_names_whom_it_would_cut_off(db: Db, built: Settings) -> None:
    with connect(built.postgres) as conn:
        refused = db("db.drop")
        assert (refused.code, steps(refused)[-1]) == (3, ("FAIL", "db.drop"))
        assert f"will end the session of localenv (pid {conn.info.backend_pid}, " in refused.stderr
    assert load.check_created(built) is not None
    dropped = db("db.drop", "--yes")
    assert (dropped.code, steps(dropped)[-1]) == (0, ("ok", "db.drop"))
    again = db("db.drop", "--yes")
    assert (again.code, steps(again)[-1]) == (0, ("skip", "db.drop"))


def test_sessions_are_listed_and_ended(db: Db, built: Settings) -> None:
    assert db("db.sessions").stdout == "nobody else is connected\n"
    with contextlib.closing(connect(built.postgres)) as conn:
        conn.execute("SELECT 1 AS the_last_query")
        listed = json.loads(db("db.sessions", "--format", "json").stdout)["data"]
        assert [(s["pid"], s["state"], s["query"]) for s in listed] == [
            (conn.info.backend_pid, "idle in transaction", "SELECT 1 AS the_last_query")
        ]
        assert "SELECT 1 AS the_last_query" in db("db.sessions", "--kill").stdout
        assert db("db.sessions").stdout == "nobody else is connected\n"


def test_reset_puts_the_seeds_back(db: Db, built: Settings) -> None:
    before = count(built, "users")
    with connect(built.postgres) as conn:
        conn.execute("DELETE FROM users")
    done = db("db.reset")
    assert (done.code, steps(done)[-1], count(built, "users")) == (0, ("ok", "db.reset"), before)


def test_a_query_prints_a_table_or_json(db: Db) -> None:
    sql = "SELECT handle, email, NULL AS nothing FROM users WHERE handle < 'c' ORDER BY 1"
    table = db("db.query", sql)
    assert (table.code, table.stdout.splitlines()) == (
        0,
        [
            "handle       email               nothing",
            "-----------  ------------------  -------",
            "andrewbrown  andrew@example.com",
            "bayko        bayko@example.com",
        ],
    )
    assert entries(db("db.query", "--sql", sql, "--format", "json").stdout, "row") == [
        {"handle": "andrewbrown", "email": "andrew@example.com", "nothing": None},
        {"handle": "bayko", "email": "bayko@example.com", "nothing": None},
    ]


def test_values_of_a_query_keep_their_type_or_become_exact_text(db: Db, built: Settings) -> None:
    sql = (
        "SELECT 9007199254740991 AS safe, 9007199254740993 AS large, 1.10 AS exact, 0.5::float8 AS double, "
        r"'NaN'::float8 AS nan, timestamptz '2026-11-27 10:30+00' AS at, date '2026-11-27' AS day, '\xff00'::bytea AS "
        "raw, true AS yes, ARRAY[1, 2] AS list, '{\"a\": 1}'::jsonb AS object"
    )
    (row,) = entries(db("db.query", sql, "--format", "json").stdout, "row")
    at = datetime.fromisoformat(row.pop("at"))
    assert at == datetime(2026, 11, 27, 10, 30, tzinfo=timezone.utc)
    assert row == {
        "safe": 9007199254740991,
        "large": "9007199254740993",
        "exact": "1.10",
        "double": 0.5,
        "nan": "nan",
        "day": "2026-11-27",
        "raw": "/wA=",
        "yes": True,
        "list": [1, 2],
        "object": {"a": 1},
    }


def test_a_stream_that_breaks_says_so_at_its_end(db: Db, built: Settings) -> None:
    sql = "SELECT 1 / (2500 - n) AS one FROM generate_series(1, 3000) AS n"
    done = db("db.query", sql, "--format", "json")
    envelope = answer(done.stdout)
    assert (done.code, envelope["status"], envelope["error"]["code"]) == (1, "error", 1)
    assert envelope["steps"][-1]["seconds"] > 0
    assert len(done.stdout.splitlines()) > 1000


def test_a_query_file_takes_its_parameters_by_name(db: Db, built: Settings) -> None:
    file = str(TOOL / "sql/users/short.sql")
    found = db("db.query", "--file", file, "--param", "handle=londo", "--format", "json")
    assert [row["display_name"] for row in entries(found.stdout, "row")] == ["Londo Mollari"]
    missing = db("db.query", "--file", file)
    assert (missing.code, "needs a value for handle" in missing.stderr) == (2, True)
    wrong = db("db.query", "--file", file, "--param", "handel=londo")
    assert (wrong.code, "it takes handle=…" in wrong.stderr) == (2, True)


def test_a_query_may_write_only_when_told_to(db: Db, built: Settings) -> None:
    sql = "UPDATE users SET handle = 'x' WHERE handle = 'runa' RETURNING handle"
    refused = db("db.query", "--sql", sql)
    assert (refused.code, "pass --write to let it change data" in refused.stderr) == (2, True)
    done = db("db.query", "--sql", sql, "--write")
    assert (done.code, done.stdout.split()) == (0, ["handle", "------", "x"])
    assert "x" in db("db.query", "--sql", "TABLE users").stdout
    assert db("db.query", "--sql", "UPDATE users SET handle = handle", "--write").stdout == "UPDATE 6\n"


@pytest.mark.parametrize(
    "sql",
    [
        "select pg_terminate_backend(1)",
        'select pg_catalog . "pg_terminate_backend" /* x */ (1)',
        "select e'\\'' || pg_notify('a', 'b')",
        "select U&\"!0070g_notify\" UESCAPE '!' ('a', 'b')",
        "(select Pg_Notify ('a', 'b'))",
        "with a as (select set_config('transaction_read_only', 'off', false)) select * from a",
        "explain analyze select lo_create(0)",
        "select query_to_xml('select pg_reload_conf()', true, true, '')",
        "copy (select 1) to program 'touch /tmp/x'",
        "do 'begin end'",
        "set default_transaction_read_only = off",
        "/* c */ call x()",
        "delete from users",
    ],
)
def test_a_query_without_write_only_looks(sql: str) -> None:
    with pytest.raises(UsageError, match="query: ") as caught:
        require_read_only(SqlFile("query", sql.encode()))
    assert caught.value.hint.startswith("pass --write to ")


@pytest.mark.parametrize(
    "sql",
    [
        "select 'pg_notify(1)', $$pg_notify($$, coalesce(max(x), now()) from t -- pg_notify(1)",
        "/* c */ ( (select 1) union select 2)",
        "table users",
        "values (1), (2)",
        "show all",
        "explain select 1",
        "with a as (select 1) select * from pg_replication_slots where b in (1)",
    ],
)
def test_what_only_looks_needs_no_write(sql: str) -> None:
    require_read_only(SqlFile("query", sql.encode()))


@pytest.mark.parametrize(
    ("sql", "code", "said"),
    [
        ("SELECT 1,\n  nope", 1, 'query:2:3: column "nope" does not exist'),
        ("SELECT 1 / 0", 1, "query: division by zero"),
        ("SELECT 1; SELECT 2", 2, "query: 2 statements, wanted one query"),
        ("COPY users TO stdout", 2, "query: copy, wanted one query"),
        ("-- nothing", 2, "query: 0 statements, wanted one query"),
        ("", 2, "db.query wants one statement, as text or as --file"),
    ],
)
def test_a_query_that_cannot_be_is_told_without_a_traceback(
    db: Db, built: Settings, sql: str, code: int, said: str
) -> None:
    done = db("db.query", "--sql", sql)
    assert (done.code, said in done.stderr, "Traceback" in done.stderr, done.stdout) == (code, True, False, "")


def test_statements_that_are_no_queries_are_shown_too(db: Db, built: Settings) -> None:
    assert db("db.query", "--sql", "SHOW server_encoding").stdout.split()[-1] == "UTF8"
    assert "Seq Scan" in db("db.query", "--sql", "EXPLAIN SELECT * FROM users").stdout


def test_connect_hands_over_to_psql(db: Db, built: Settings) -> None:
    done = db("db.connect", text="SELECT count(*) > 4 AS enough FROM users;\n")
    assert (done.code, done.stdout.split()[:3]) == (0, ["enough", "--------", "t"])
    failed = db("db.connect", text="\\set ON_ERROR_STOP 1\nSELECT nope;\n")
    assert (failed.code, "psql ended with exit code 3" in failed.stderr) == (1, True)


@pytest.mark.parametrize("name", ["db.setup", "db.reset", "undo", "db.drop"])
def test_what_would_endanger_production_does_not_exist_there(db: Db, built: Settings, name: str) -> None:
    url = built.postgres.url(masked=False)
    done = db(name, "--target", "prod", PROD_CONNECTION_URL=url)
    assert (done.code, f"{name} does not exist for --target prod" in done.stderr) == (2, True)


def test_production_may_be_read_and_is_not_written_to(db: Db, built: Settings) -> None:
    url = built.postgres.url(masked=False)
    read = db("db.query", "--target", "prod", "--sql", "SELECT 1 AS one", PROD_CONNECTION_URL=url)
    assert (read.code, read.stdout.split()[-1]) == (0, "1")
    written = db("db.query", "--target", "prod", "--write", "--sql", "DELETE FROM users", PROD_CONNECTION_URL=url)
    assert written.code == 2
    assert "local target" in written.stderr
    by_psql = db("db.connect", "--target", "prod", text="DELETE FROM users;\n", PROD_CONNECTION_URL=url)
    assert "read-only transaction" in by_psql.stderr
    assert count(built, "users") == 6


def test_a_step_does_not_create_a_production_database_on_its_own(db: Db, database: Settings) -> None:
    url = database.postgres.url(masked=False)
    done = db("db.seed", "--target", "prod", "--confirm", database.postgres.database, PROD_CONNECTION_URL=url)
    assert (done.code, steps(done)[-1]) == (3, ("FAIL", "db.create"))
    assert "db.create would write to production" in done.stderr
    assert load.check_created(database) is None


def test_the_library_is_loaded_for_no_other_command(db: Db) -> None:
    listing: Any = db("--list").stdout
    for name in ("create", "drop", "schema-load", "seed", "setup", "reset", "sessions", "connect", "query"):
        assert f"db.{name} " in listing


def test_a_dump_is_sql_that_makes_the_same_database(db: Db, built: Settings, tmp_path: Path) -> None:
    file = tmp_path / "dump.sql"
    file.write_text("what was there before")
    assert db("db.dump", "--file", str(file)).code == 0
    whole = file.read_text()
    assert "localenv" not in whole and file.stat().st_mode & 0o077 == 0
    assert re.sub(r"(?m)^\\(un)?restrict .*", "", db("db.dump", "--file", "-").stdout) == re.sub(
        r"(?m)^\\(un)?restrict .*", "", whole
    )
    assert "COPY" not in db("db.dump", "--file", "-", "--schema-only").stdout
    assert "CREATE TABLE" not in db("db.dump", "--file", "-", "--data-only").stdout
    users = count(built, "users")
    assert db("db.drop", "--yes").code == 0
    assert db("db.schema-load", "--file", str(file)).code == 0
    assert count(built, "users") == users


def test_rows_of_a_file_are_loaded_as_typed(db: Db, built: Settings, tmp_path: Path) -> None:
    users = count(built, "users")
    path = tmp_path / "people.csv"
    path.write_text("handle,display_name,email,cognito_user_id\nzed,Zed,z@example.com,MOCK\n")
    planned = db("db.load", "people.csv", "--table", "users", "--plan")
    assert (planned.code, "into users: handle, display_name, email, cognito_user_id" in planned.stdout) == (0, True)
    assert count(built, "users") == users
    done = db("db.load", "people.csv", "--table", "users", "--format", "json")
    assert answer(done.stdout)["data"] == {
        "sentence": f"1 row of {path} (CSV, ',', with a header) into users",
        "file": str(path),
        "table": "users",
        "rows": 1,
    }
    assert count(built, "users") == users + 1
    path.write_text("handle,display_name,email,cognito_user_id\nzoe,Zoe,z@example.com,MOCK\nabe,,,\n")
    failed = db("db.load", "people.csv", "--table", "users")
    assert (failed.code, f"{path}:3: column display_name: null value" in failed.stderr) == (1, True)
    assert count(built, "users") == users + 1


def test_a_load_without_its_words_says_which(db: Db) -> None:
    for words, missing in (((), "a file"), (("people.csv",), "--table")):
        refused = db("db.load", *words)
        assert (refused.code, f"db.load wants {missing}" in refused.stderr) == (2, True)
        assert "inv db.load people.csv --table users" in refused.stderr
    both = db("db.load", "people.csv", "--table", "users", "--header", "--no-header")
    assert (both.code, "exclude each other" in both.stderr) == (2, True)


def test_a_dump_that_cannot_be_written_leaves_what_was_there(db: Db, built: Settings, tmp_path: Path) -> None:
    refused = db("db.dump")
    assert (refused.code, "db.dump wants a file" in refused.stderr) == (2, True)
    refused = db("db.dump", "--schema-only", "--data-only")
    assert (refused.code, "--schema-only and --data-only leave nothing" in refused.stderr) == (2, True)
    refused = db("db.dump", "--file", str(tmp_path / "none" / "dump.sql"))
    assert (refused.code, "no such folder" in refused.stderr) == (2, True)
    file = tmp_path / "dump.sql"
    file.write_text("what was there before")
    with pytest.raises(LocalEnvError, match="ended with exit code 3"):
        dump.write_sql(["/bin/sh", "-c", "echo a part of it; echo broken >&2; exit 3"], built.postgres, file)
    assert file.read_text() == "what was there before"
    assert [path.name for path in tmp_path.iterdir() if "dump" in path.name] == ["dump.sql"]
