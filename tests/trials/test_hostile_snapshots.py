"""Files of snapshots that mean harm, restored by the real command: refused in words, and no store has changed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.engines.pg_dump import dump_command
from tasks.localenv.machine import shell
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import checksum, databases, guest
from tasks.localenv.postgres.connection import client_environment, connect
from tasks.localenv.postgres.runner import run_file
from tasks.localenv.postgres.sqlfile import read_sql
from tasks.localenv.settings import Settings, read_settings
from tests.support import hostile
from tests.support.environments import environment, inv, permitted, reachable
from tests.support.hostile import Edit, Measured, Parts, edited, measured, refused, with_sql
from tests.support.seeded import quiet
from tests.support.snapshots import State, leftovers, look

pytestmark = pytest.mark.reliability("hostile input")

Town = dict[str, str]
RICH = """
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
COMMENT ON EXTENSION "uuid-ossp" IS 'another comment';
CREATE SCHEMA shop; COMMENT ON SCHEMA shop IS 'a second one';
CREATE SCHEMA ext;
CREATE DOMAIN shop.amount AS numeric(10, 2) CHECK (VALUE >= 0);
CREATE TYPE shop.state AS ENUM ('new', 'paid', 'sent');
CREATE TYPE shop.pair AS (a int, b text);
CREATE SEQUENCE shop.numbers START 7 INCREMENT 3;
CREATE TABLE shop.buyer (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL, key uuid DEFAULT uuid_generate_v4()
);
CREATE TABLE shop."Order" (
    id int PRIMARY KEY DEFAULT nextval('shop.numbers'), buyer int REFERENCES shop.buyer ON DELETE CASCADE,
    total shop.amount, state shop.state DEFAULT 'new', p shop.pair, tags text[], doc jsonb,
    twice numeric GENERATED ALWAYS AS (total * 2) STORED
);
COMMENT ON TABLE shop."Order" IS 'it''s an order'; COMMENT ON COLUMN shop."Order".total IS 'with VAT';
INSERT INTO shop.buyer (name, key) VALUES ('ann', '6ba7b810-9dad-11d1-80b4-00c04fd430c8'), ('bob', NULL);
INSERT INTO shop."Order" (buyer, total, p, tags, doc)
    VALUES (1, 5, (1, 'x'), '{a,"b c"}', '{"k": [1, 2]}'), (2, 7.5, NULL, NULL, NULL);
CREATE FUNCTION shop.lower_name(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS 'SELECT lower($1)';
CREATE INDEX ON shop.buyer (shop.lower_name(name));
CREATE UNIQUE INDEX ON shop."Order" (buyer, state) WHERE total > 1;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    AS $$ BEGIN NEW.name := trim(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE INSERT ON shop.buyer FOR EACH ROW EXECUTE FUNCTION shop.touch();
CREATE PROCEDURE shop.nothing() LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
CREATE VIEW shop.open AS SELECT * FROM shop."Order" WHERE state = 'new';
CREATE MATERIALIZED VIEW shop.sums AS SELECT buyer, sum(total) FROM shop."Order" GROUP BY buyer;
CREATE RULE quiet AS ON DELETE TO shop.buyer DO INSTEAD NOTHING;
CREATE AGGREGATE shop.total(numeric) (SFUNC = numeric_add, STYPE = numeric, INITCOND = '0');
CREATE CAST (shop.pair AS text) WITH INOUT AS ASSIGNMENT;
CREATE TABLE shop.log (at timestamptz, line text) PARTITION BY RANGE (at);
CREATE TABLE shop.log_2026 PARTITION OF shop.log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO shop.log VALUES ('2026-05-05', E'tab\\tand \\\\. back');
CREATE STATISTICS shop.linked ON buyer, state FROM shop."Order";
ALTER TABLE shop.buyer ENABLE ROW LEVEL SECURITY; ALTER TABLE shop.buyer FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.buyer USING (name = current_user) WITH CHECK (true);
SELECT lo_from_bytea(424242, 'large and binary'::bytea); COMMENT ON LARGE OBJECT 424242 IS 'a blob';
GRANT SELECT ON shop.buyer TO PUBLIC; REVOKE EXECUTE ON FUNCTION shop.touch() FROM PUBLIC;
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = simple);
CREATE UNLOGGED TABLE shop.cache (k text PRIMARY KEY);
"""
EVIL = Path("/tmp")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The variables of an environment that is set up, and may be changed."""
    environ = environment(reachable(tmp_path_factory.mktemp("town")) / "state")
    done = inv("initial-setup", environ=environ)
    assert done.code == 0, done.stderr
    yield environ
    engines.destroy(read_settings(environ=environ), quiet)


@pytest.fixture(scope="module")
def file(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "good.tar.gz"
    done = inv("snapshot.save", "good", "--file", str(path), environ=town)
    assert done.code == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def before(town: Town, file: Path) -> State:
    return look(permitted(read_settings(environ=town)))


@pytest.fixture
def proof() -> Iterator[Path]:
    """A file that the database server may write, where SQL gets that far."""
    folder = reachable(EVIL)
    folder.chmod(0o777)
    yield folder / "proof"
    shutil.rmtree(folder, ignore_errors=True)


def restore(town: Town, file: Path, *words: str) -> Measured:
    return measured("snapshot.restore", "--file", str(file), "--yes", *words, environ=town)


def roles(settings: Settings) -> list[Any]:
    with databases.maintenance(settings.postgres) as conn:
        return conn.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'localenv%'").fetchall()


def unchanged(town: Town, before: State) -> None:
    """Assert that all stores are as they were, and nothing is left of the attempt."""
    settings = permitted(read_settings(environ=town))
    assert (look(settings), leftovers(settings), roles(settings)) == (before, [], [])


def dumped(settings: Settings, *options: str) -> str:
    """Write the database out with owners and rights, without what is random in a dump."""
    done = shell.run(
        [*dump_command(settings), *options],
        env=client_environment(settings.postgres),
    )
    assert done.code == 0, done.stderr
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", done.stdout)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO PROGRAM 'touch {proof}';",
        "COPY (SELECT 1) TO '{proof}';",
        "CREATE TABLE x (t text); COPY x FROM '/etc/passwd';",
        "CREATE TABLE x (t text); COPY x FROM PROGRAM 'touch {proof}';",
        "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {proof}'''; END $$;",
        "SELECT pg_read_file('/etc/passwd');",
        "SELECT pg_ls_dir('.');",
        "SELECT lo_import('/etc/passwd');",
        "SELECT lo_export(lo_from_bytea(0, 'x'), '{proof}');",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'abort';",
        "CREATE LANGUAGE plpython3u;",
        "ALTER SYSTEM SET shared_preload_libraries = 'x';",
        "SET SESSION AUTHORIZATION postgres; COPY (SELECT 1) TO PROGRAM 'touch {proof}';",
        "SET ROLE postgres; COPY (SELECT 1) TO PROGRAM 'touch {proof}';",
        "RESET ROLE; RESET SESSION AUTHORIZATION; COPY (SELECT 1) TO PROGRAM 'touch {proof}';",
        "CREATE ROLE mallory SUPERUSER LOGIN;",
        "ALTER ROLE CURRENT_USER SUPERUSER;",
        "ALTER ROLE postgres PASSWORD 'x';",
        "GRANT pg_execute_server_program TO CURRENT_USER;",
        "CREATE DATABASE mallory;",
        "DROP DATABASE cruddur;",
        "ALTER DATABASE cruddur RENAME TO mallory;",
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION pg_event_trigger_ddl_commands();",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false);",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid();",
        "SELECT pg_reload_conf();",
        "SET session_preload_libraries = 'x';",
        "SELECT rolpassword FROM pg_authid;",
    ],
)  # fmt: skip
def test_sql_that_wants_more_than_its_own_database_is_refused(
    town: Town, file: Path, before: State, proof: Path, tmp_path: Path, sql: str
) -> None:
    done = restore(town, edited(file, tmp_path / "evil.tar.gz", with_sql(sql.format(proof=proof))))
    refused(done, "postgres.sql:", "nothing was restored", "hint", code=1)
    assert not proof.exists()
    unchanged(town, before)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE EXTENSION dblink;", "extension 'dblink' is not one that a file may create"),
        ('create extension if not exists "postgres_fdw" with schema public;', "extension 'postgres_fdw'"),
        ("CREATE EXTENSION file_fdw;", "extension 'file_fdw'"),
        ("CREATE /* x */ EXTENSION adminpack;", "extension"),
        ("CREATE EXTENSION plpython3u;", "extension 'plpython3u'"),
        (  # to us one string until the setting is in force
            "SELECT 'a\\' ; SET standard_conforming_strings = off; SELECT 'b\\' , ' ; CREATE EXTENSION dblink; --';",
            "extension 'dblink' is not one that a file may create",
        ),
    ],
)
def test_an_extension_that_is_not_on_the_list_is_named_before_anything_runs(
    town: Town, file: Path, before: State, tmp_path: Path, sql: str, said: str
) -> None:
    refused(restore(town, edited(file, tmp_path / "evil.tar.gz", with_sql(sql))), said, "postgres.sql:")
    unchanged(town, before)


@pytest.mark.parametrize("sql", ["\\! touch {proof}", "\\copy users to '{proof}'", "\\o {proof}", "\\connect postgres"])
def test_commands_of_psql_are_refused(
    town: Town, file: Path, before: State, proof: Path, tmp_path: Path, sql: str
) -> None:
    done = restore(town, edited(file, tmp_path / "evil.tar.gz", with_sql(sql.format(proof=proof))))
    refused(done, "is a psql command, not SQL", code=1)
    assert not proof.exists()
    unchanged(town, before)


TRAP = """
SET search_path = public;
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {proof}''';
    END IF;
    RETURN true;
END $f$;
"""
TRAPS = {
    "view in place of a table": """
        ALTER TABLE public.users RENAME TO users_; CREATE VIEW public.users AS SELECT * FROM users_ WHERE trap();""",
    "function that shadows": """
        CREATE FUNCTION public.lower(varchar) RETURNS text LANGUAGE sql AS $$ SELECT trap()::text $$;
        CREATE FUNCTION public.coalesce(text) RETURNS text LANGUAGE sql AS $$ SELECT trap()::text $$;""",
    "operator that shadows": """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
        CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
        CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET search_path = evil, pg_catalog, public', current_database());
        END $$;""",
    "cast of a row": """
        CREATE FUNCTION public.as_text(public.users) RETURNS text LANGUAGE sql AS $$ SELECT public.trap()::text $$;
        CREATE CAST (public.users AS text) WITH FUNCTION public.as_text(public.users);""",
    "trigger of the ledger": """
        CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM trap(); RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON localenv.marker
            FOR EACH ROW EXECUTE FUNCTION public.fire();
        CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON localenv.applied
            FOR EACH ROW EXECUTE FUNCTION public.fire();""",
    "default and rule of the ledger": """
        ALTER TABLE localenv.marker ADD COLUMN x boolean DEFAULT trap();
        CREATE RULE r AS ON INSERT TO localenv.marker DO ALSO SELECT trap();""",
    "row security": """
        ALTER TABLE public.users ENABLE ROW LEVEL SECURITY; ALTER TABLE public.users FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON public.users USING (trap());""",
    "materialized view": "CREATE MATERIALIZED VIEW public.m AS SELECT trap();",
    "deferred trigger": """
        CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM trap(); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON public.users DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.fire();
        UPDATE public.users SET handle = handle;""",
}


@pytest.mark.parametrize("trap", TRAPS)
def test_nothing_of_a_file_runs_as_superuser_while_it_is_restored(
    town: Town, file: Path, proof: Path, tmp_path: Path, trap: str
) -> None:
    sql = (TRAP + TRAPS[trap]).replace("{proof}", str(proof))
    evil = edited(file, tmp_path / "evil.tar.gz", with_sql(sql))
    measure_again(town, evil, tmp_path)
    done = restore(town, evil)
    assert "Traceback" not in done.output, done.output
    assert "hand that database over" in done.output and "kept: every store" not in done.output, done.output
    assert (done.code in (0, 1), proof.exists()) == (True, False), done.output
    settings = permitted(read_settings(environ=town))
    assert (leftovers(settings), roles(settings)) == ([], [])
    assert inv("snapshot.save", "later", "--yes", environ=town).code == 0  # reads it as the app's user
    assert inv("snapshot.save", "later", "--yes", "--file", str(tmp_path / "later.tar"), environ=town).code == 0
    assert restore(town, file).code == 0
    assert not proof.exists()


def measure_again(town: Town, file: Path, tmp_path: Path) -> None:
    """Make the manifest tell of the database what is found in it: a stranger would have had a server for that."""
    settings = permitted(read_settings(environ=town))
    sql = tmp_path / "x.sql"
    sql.write_bytes(hostile.parts_of(file)["postgres.sql"])
    role = "localenv_restore_test"
    with databases.maintenance(settings.postgres) as conn:
        try:
            where = guest.admit(conn, settings.postgres, role, "scratch")
            with connect(where) as inside:
                run_file(inside, read_sql(sql, tmp_path))
            guest.bypass_row_security(conn, role)
            with connect(where, autocommit=True) as inside:
                held = checksum.measure(inside)
        finally:
            databases.drop(conn, "scratch")
            guest.remove(conn, role)

    def edit(parts: Parts, manifest: dict[str, Any]) -> None:
        manifest["postgres"] |= {"tables": held.tables, "rows": held.rows, "sha256": held.sha256}

    edited(file, file, edit)


def test_a_rich_database_comes_back_as_it_was_and_belongs_to_the_apps_user(town: Town, file: Path) -> None:
    settings = permitted(read_settings(environ=town))
    with connect(settings.postgres, autocommit=True) as conn:
        conn.execute(RICH.encode())
    try:
        rich = file.with_name("rich.tar.gz")
        assert inv("snapshot.save", "rich", "--file", str(rich), environ=town).code == 0
        was, plain = dumped(settings), dumped(settings, "--no-owner", "--no-privileges")
        done = restore(town, rich)
        assert done.code == 0, done.output
        assert dumped(settings, "--no-owner", "--no-privileges") == plain
        assert by_superuser(town, rich) == dumped(settings)
        assert sorted(owners(was)) == sorted(owners(dumped(settings)))
        assert roles(settings) == []
    finally:
        assert restore(town, file).code == 0


def owners(dump: str) -> list[str]:
    return re.findall(r"(?m)^ALTER .* OWNER TO .*;$", dump)


def by_superuser(town: Town, file: Path) -> str:
    """Restore the SQL of a file as was done before there was a guest, and write out what came of it."""
    settings = permitted(read_settings(environ=town))
    scratch = replace(settings, postgres=replace(settings.postgres, database="scratch"))
    sql = file.with_suffix(".sql")
    sql.write_bytes(hostile.parts_of(file)["postgres.sql"])
    with databases.maintenance(settings.postgres) as conn:
        databases.create(conn, "scratch")
        try:
            with connect(scratch.postgres) as inside:
                run_file(inside, read_sql(sql, sql.parent))
            return dumped(scratch)
        finally:
            databases.drop(conn, "scratch")


def test_a_restore_that_was_killed_leaves_a_role_that_the_next_command_removes(
    town: Town, file: Path, before: State, tmp_path: Path
) -> None:
    settings = permitted(read_settings(environ=town))
    slow = edited(file, tmp_path / "slow.tar.gz", with_sql("SELECT pg_sleep(600);"))
    words = ["--search-root", str(TOOL), "snapshot.restore", "--file", str(slow), "--yes"]
    process = subprocess.Popen([sys.executable, "-m", "invoke", *words], env={**town, "PATH": "/usr/bin:/bin"})
    end = time.monotonic() + 60
    while not _sleeps(settings):
        assert process.poll() is None and time.monotonic() < end
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert roles(settings) == [(guest.role_name(settings.project_id),)]
    assert inv("snapshot.delete", "nosuch", "--confirm", "nosuch", environ=town).code == 2
    assert inv("snapshot.save", "next", environ=town).code == 0
    unchanged(town, before)
    assert inv("snapshot.delete", "next", "--confirm", "next", environ=town).code == 0


def _sleeps(settings: Settings) -> bool:
    with databases.maintenance(settings.postgres) as conn:
        query = "SELECT FROM pg_stat_activity WHERE usename LIKE 'localenv%' AND query LIKE '%pg_sleep%'"
        return conn.execute(query).fetchone() is not None


def test_the_plan_says_as_whom_the_sql_runs_and_what_comes_later(town: Town, file: Path) -> None:
    planned = inv("snapshot.restore", "--plan", "--file", str(file), environ=town)
    assert planned.code == 0
    assert f"run the SQL in {file} as a role of its own" in planned.stdout
    assert "run with that user's rights from then on" in planned.stdout


def props(**changes: Any) -> Edit:
    def edit(parts: Parts, manifest: dict[str, Any]) -> None:
        manifest["postgres"]["properties"] |= changes

    return edit


def test_settings_of_the_database_that_only_a_superuser_may_make_are_left_out_and_said(
    town: Town, file: Path, before: State, tmp_path: Path
) -> None:
    settings = [
        {"role": "", "name": "session_preload_libraries", "value": "evil"},
        {"role": "", "name": "search_path", "value": "public, evil"},
        {"role": "", "name": "default_transaction_read_only", "value": "on"},
    ]
    done = restore(town, edited(file, tmp_path / "set.tar.gz", props(settings=settings, connection_limit=50)))
    assert done.code == 0, done.output
    assert "not taken over: ALTER DATABASE" in done.output and "session_preload_libraries" in done.output
    assert restore(town, file).code == 0
    unchanged(town, before)
