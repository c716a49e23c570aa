"""db.setup and its kin on a real server: what is built, kept, swapped and brought back, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import databases, ledger, load, scripts, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.decision import Decision
from tasks.localenv.postgres.sqlfile import SqlError
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import read_people
from tests.support.environments import PATIENCE_S, wait_until
from tests.support.keeping import swap_back
from tests.support.projects import PEOPLE, SCHEMA, build, drift, handles, rows, run_sql, silent, write


def names(settings: Settings) -> list[str]:
    """The databases of this test, without the copy for a reset: all start with its database's name."""
    name = settings.postgres.database
    found = rows(
        settings, f"select datname::text from pg_database where datname ~ '^{name}' order by 1", database="postgres"
    )
    return [each.removeprefix(name) for each in found if not each.endswith("__template")]


# --- build beside, swap, undo -----------------------------------------------------------------------------------------


def test_a_missing_database_is_built_whole(project: Settings) -> None:
    files = "sql/schema.sql, seeds/sql/1_users.sql, seeds/sql/2_posts.sql (4 statements, 4 rows)"
    assert build(project, typed=False) == f"{project.postgres.database} made from {files}"
    assert handles(project) == ["ann", "bobby"]
    assert names(project) == [""]
    assert drift(project) == []


def test_user_ids_follow_from_the_people_and_stay_the_same(project: Settings) -> None:
    build(project)
    before = rows(project, "select uuid from users order by 1")
    build(project, force=True)
    assert rows(project, "select uuid from users order by 1") == before
    assert before == sorted(person.uuid for person in read_people(project.root))


def test_nothing_changed_means_nothing_done(project: Settings) -> None:
    build(project)
    oid = rows(project, "select oid from pg_database where datname = current_database()")
    assert setup.read_decision(project, typed=True).action == "keep"
    assert build(project).startswith("unchanged (")
    assert rows(project, "select oid from pg_database where datname = current_database()") == oid
    assert names(project) == [""]


def test_a_rebuild_keeps_the_old_database_and_undo_swaps_them_back_and_forth(project: Settings) -> None:
    build(project)
    run_sql(project, "insert into posts values (99)")
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (3);")
    assert drift(project) == ["seeds/sql/2_posts.sql changed since it was applied"]
    build(project)
    assert (rows(project, "select id from posts"), names(project)) == ([3], ["", "__kept"])
    swap_back(project)
    assert (rows(project, "select id from posts"), names(project)) == ([1, 2, 99], ["", "__kept"])
    swap_back(project)
    assert rows(project, "select id from posts") == [3]


def test_a_dropped_database_is_put_aside(project: Settings) -> None:
    build(project)
    run_sql(project, "insert into posts values (99)")
    assert setup.drop(project).startswith(f"dropped {project.postgres.database}")
    assert names(project) == ["__kept"]
    swap_back(project)
    assert (rows(project, "select id from posts"), names(project)) == ([1, 2, 99], [""])


def test_a_database_that_was_empty_is_not_worth_an_undo(project: Settings) -> None:
    load.create(project)
    build(project, typed=False)
    assert (handles(project), names(project)) == (["ann", "bobby"], [""])


def test_a_failing_file_leaves_the_old_database_and_nothing_else(project: Settings) -> None:
    build(project)
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (7);\ninsert into post values (8);")
    with pytest.raises(SqlError) as caught:
        build(project)
    assert caught.value.message == 'seeds/sql/2_posts.sql:2:13: relation "post" does not exist'
    assert caught.value.evidence.splitlines()[-1] == f"kept: database {project.postgres.database} is unchanged"
    assert (rows(project, "select id from posts"), names(project)) == ([1, 2], [""])


def test_a_deferred_violation_is_told_of_the_file_that_made_it(project: Settings) -> None:
    write(
        project.root,
        "sql/schema.sql",
        SCHEMA + "alter table posts add u uuid references users deferrable initially deferred;",
    )
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (1, gen_random_uuid());")
    with pytest.raises(
        LocalEnvError, match=r"^seeds/sql/2_posts.sql: insert or update on table \"posts\" violates"
    ) as caught:
        build(project)
    assert "is not present in table" in caught.value.evidence


def test_what_an_interrupted_run_left_behind_is_cleared_away(project: Settings) -> None:
    name = project.postgres.database
    with databases.maintenance(project.postgres) as conn:
        for leftover in ("new", "gone"):
            databases.create(conn, databases.sibling_name(name, leftover))
    build(project)
    assert names(project) == [""]


@pytest.mark.reliability("kills")
def test_a_run_killed_while_it_builds_is_repaired_by_the_next(project: Settings, tmp_path: Path) -> None:
    build(project)
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (5); select pg_sleep(600);")
    code = (
        "from pathlib import Path; from dataclasses import replace\n"
        "from tasks.localenv.postgres import setup; from tasks.localenv.settings import read_settings\n"
        "from tests.support.environments import permitted\n"
        "settings = permitted(read_settings())\n"
        f"settings = replace(settings, root=Path({str(project.root)!r}), project_id={project.project_id!r})\n"
        "setup.setup(settings, print, typed=True)\n"
    )
    environ = {**os.environ, "CONNECTION_URL": project.postgres.url(masked=False), "PYTHONPATH": str(TOOL)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL)
    new = databases.sibling_name(project.postgres.database, "new")
    wait_until(lambda: any(s.query.endswith("pg_sleep(600);") for s in sessions_in(project, new)))
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert rows(project, "select id from posts") == [1, 2]
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (6);")
    build(project)
    assert (rows(project, "select id from posts"), names(project)) == ([6], ["", "__kept"])


def sessions_in(project: Settings, name: str) -> list[databases.Session]:
    with databases.maintenance(project.postgres) as conn:
        return databases.sessions(conn, name)


def test_clients_that_reconnect_all_the_time_do_not_stop_a_swap(project: Settings) -> None:
    build(project)
    app = replace(project.postgres, options=(("application_name", "the app"),))
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            with contextlib.suppress(Exception), connect(app) as conn:
                conn.execute("select pg_sleep(60)")

    clients = [threading.Thread(target=client, daemon=True) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        for _ in range(3):
            wait_until(lambda: len(sessions_in(project, project.postgres.database)) == len(clients))
            assert "; ended " in build(project, force=True)
        wait_until(lambda: len(sessions_in(project, project.postgres.database)) == len(clients))
        assert "; ended " in setup.drop(project)
    finally:
        done.set()
        with databases.maintenance(project.postgres) as conn:
            databases.terminate(conn, [project.postgres.database])
        for thread in clients:
            thread.join(PATIENCE_S)


def test_whose_sessions_were_ended_is_said(project: Settings) -> None:
    build(project)
    address = replace(project.postgres, options=(("application_name", "the app"),))
    with connect(address) as conn:
        pid = conn.info.backend_pid
        sentence = setup.drop(project)
        assert f"; ended 1 session: the app (pid {pid}, postgres@127.0.0.1, idle)" in sentence


# --- whose database it is ---------------------------------------------------------------------------------------------


def make_foreign(project: Settings) -> None:
    load.create(project)
    run_sql(project, "drop schema localenv cascade; create table precious (a int); insert into precious values (1)")


@pytest.mark.parametrize(
    "command",
    [
        lambda project: build(project),
        lambda project: setup.reset(project, silent),
        lambda project: load.apply_schema(project, "", silent),
        lambda project: load.apply_seeds(project, "", silent),
    ],
    ids=["setup", "reset", "schema-load", "seed"],
)
def test_a_database_that_others_made_is_not_written_to_unasked(
    project: Settings, command: Callable[[Settings], str]
) -> None:
    make_foreign(project)
    with pytest.raises(ConfirmationNeeded) as caught:
        command(project)
    name = project.postgres.database
    assert caught.value.message == f"database {name} holds 1 table or routine that this project did not make"
    assert rows(project, "select a from precious") == [1]
    assert rows(project, "select count(*) from pg_namespace where nspname = 'localenv'") == [0]


def test_a_seed_of_which_nothing_is_left_is_applied_again(project: Settings) -> None:
    build(project)
    run_sql(project, "DELETE FROM posts")
    assert load.check_seeds(project, "seeds/sql/2_posts.sql") is None
    assert setup.read_decision(project, typed=False, refill=False).reason.endswith("; public.posts is empty now")
    assert load.apply_seeds(project, "", silent).startswith("applied seeds/sql/2_posts.sql (")
    assert rows(project, "select id from posts") == [1, 2]
    run_sql(project, "TRUNCATE posts, users")
    assert setup.read_decision(project, typed=False).action == "seed"
    build(project, typed=False)
    assert rows(project, "select id from posts") == [1, 2]


def test_what_the_files_make_twice_is_not_repaired_by_the_same_command(project: Settings) -> None:
    write(project.root, "sql/schema.sql", f"{SCHEMA}\nCREATE TABLE posts ();")
    with pytest.raises(SqlError) as caught:
        build(project)
    assert caught.value.hint == "the project's files create it twice: remove one of the two"


def test_a_ledger_of_an_earlier_version_is_read(project: Settings) -> None:
    build(project)
    run_sql(project, "ALTER TABLE localenv.applied DROP COLUMN filled")
    assert setup.read_decision(project, typed=False).action == "keep"
    run_sql(project, "DELETE FROM posts")
    build(project, force=True)
    assert rows(project, "select id from posts") == [1, 2]


def test_a_foreign_database_is_replaced_when_told_to_and_kept_as_the_undo(project: Settings) -> None:
    make_foreign(project)
    assert setup.read_decision(project, typed=False).action == "keep"
    build(project, yes=True)
    assert handles(project) == ["ann", "bobby"]
    swap_back(project)
    assert rows(project, "select a from precious") == [1]


def test_a_database_of_another_checkout_is_named_with_its_owner(project: Settings) -> None:
    build(project)
    other = replace(project, project_id="other-123456")
    with pytest.raises(ConfirmationNeeded, match=f"belongs to project {project.project_id}, not to other-123456"):
        setup.reset(other, silent)
    setup.reset(other, silent, yes=True)
    assert ledger.observe(project.postgres).project_id == "other-123456"


# --- in place ---------------------------------------------------------------------------------------------------------


def test_create_schema_and_seeds_one_by_one_come_to_the_same_as_setup(project: Settings) -> None:
    name = project.postgres.database
    assert load.create(project) == f"created {name}"
    assert load.create(project) == f"{name} already exists"
    assert load.apply_schema(project, "", silent) == "applied sql/schema.sql (2 statements, 0 rows)"
    assert load.apply_seeds(project, "", silent).endswith("(2 statements, 4 rows)")
    assert setup.read_decision(project, typed=True).action == "keep"


def test_setup_for_another_step_seeds_a_schema_that_has_no_seeds_yet(project: Settings) -> None:
    load.create(project)
    load.apply_schema(project, "", silent)
    run_sql(project, "insert into posts values (99)")
    build(project, typed=False)
    assert rows(project, "select id from posts order by 1") == [1, 2, 99]


def test_a_second_seed_changes_nothing(project: Settings) -> None:
    build(project)
    assert load.check_seeds(project, "") is not None
    assert load.apply_seeds(project, "", silent) == "applied before, nothing to do"
    assert rows(project, "select id from posts") == [1, 2]


def test_a_new_seed_file_is_applied_alone(project: Settings) -> None:
    build(project)
    write(project.root, "seeds/sql/3_more.sql", "insert into posts values (3);")
    assert load.apply_seeds(project, "", silent) == "applied seeds/sql/3_more.sql (1 statement, 1 row)"
    assert rows(project, "select id from posts") == [1, 2, 3]


def test_a_changed_seed_is_not_run_over_its_old_rows_unless_told_to(project: Settings) -> None:
    build(project)
    write(project.root, "seeds/people.csv", PEOPLE.replace("bobby", "robert"))
    with pytest.raises(ConfirmationNeeded, match=r"^seeds/sql/1_users.sql, seeds/sql/2_posts.sql: applied before, and"):
        load.apply_seeds(project, "", silent)
    write(
        project.root,
        "seeds/sql/1_users.sql",
        "update users set handle = p.handle from pg_temp.people p where p.uuid = users.uuid;",
    )
    load.apply_seeds(project, "", silent, again=True)
    assert handles(project) == ["ann", "robert"]
    assert drift(project) == []


def test_a_seed_that_names_nobody_is_told_the_nearest_name(project: Settings) -> None:
    write(project.root, "seeds/sql/2_posts.sql", "insert into users values (pg_temp.person('boby'), 'x');")
    with pytest.raises(SqlError) as caught:
        build(project)
    assert caught.value.message == "seeds/sql/2_posts.sql:1:42: nobody in seeds/people.csv is called 'boby'".replace(
        ":42:", f":{len('insert into users values (pg_temp.person(') + 1}:"
    )
    assert caught.value.hint == "did you mean 'bobby'?"


def test_another_file_than_the_default_may_be_given(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project.root, "other/schema.sql", "create table other (a int);")
    write(project.root, "other/seed.sql", "insert into other values (1);")
    load.create(project)
    load.apply_schema(project, "other/schema.sql", silent)
    monkeypatch.chdir(project.root / "other")
    load.apply_seeds(project, "seed.sql", silent)
    assert rows(project, "select a from other") == [1]
    assert [row.path for row in ledger.observe(project.postgres).applied] == ["other/schema.sql", "other/seed.sql"]


def test_a_schema_over_an_old_one_fails_whole_and_says_what_to_do(project: Settings) -> None:
    build(project)
    write(project.root, "sql/schema.sql", "create table extra (a int);\n" + SCHEMA)
    with pytest.raises(SqlError) as caught:
        load.apply_schema(project, "", silent)
    assert caught.value.message == 'sql/schema.sql:2:1: relation "users" already exists'
    assert caught.value.hint.startswith("run `inv db.setup --force` to build a new database beside this one")
    assert rows(project, "select to_regclass('extra') is null") == [True]


def test_reset_puts_the_contents_back_in_place(project: Settings) -> None:
    build(project)
    run_sql(project, "delete from users; create schema more; create table more.stuff (); drop table posts")
    assert drift(project) == ["public.posts is gone"]
    setup.reset(project, silent)
    assert (handles(project), rows(project, "select id from posts")) == (["ann", "bobby"], [1, 2])
    assert rows(project, "select to_regnamespace('more') is null") == [True]
    assert rows(project, "select has_schema_privilege('public', 'public', 'usage')") == [True]
    assert setup.read_decision(project, typed=True).action == "keep"


def test_a_reset_that_fails_changes_nothing(project: Settings) -> None:
    build(project)
    run_sql(project, "insert into posts values (99)")
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values ('x');")
    with pytest.raises(SqlError, match=r"^seeds/sql/2_posts.sql:1:27: "):
        setup.reset(project, silent)
    assert rows(project, "select id from posts") == [1, 2, 99]
    assert names(project) == [""]


def test_a_reset_copies_what_the_same_files_made_before(project: Settings) -> None:
    build(project)
    assert "made from a copy of what the same files made" in setup.reset(project, silent)
    assert names(project) == ["", "__kept"]
    run_sql(project, "insert into posts values (99)")
    assert setup.plan_reset(project, yes=False)[0].startswith(f"copy {project.postgres.database}__template, made from")
    assert "made from a copy of what the same files made" in setup.reset(project, silent)
    assert (handles(project), rows(project, "select id from posts")) == (["ann", "bobby"], [1, 2])
    assert setup.read_decision(project, typed=True).action == "keep"
    swap_back(project)
    assert rows(project, "select id from posts") == [1, 2, 99]
    write(project.root, "seeds/people.csv", PEOPLE.replace("bobby", "robert"))
    assert "made from sql/schema.sql" in setup.reset(project, silent)
    assert handles(project) == ["ann", "robert"]


@pytest.mark.parametrize("moment", ["now()", "'today'", "CURRENT_TIMESTAMP"])
def test_a_template_of_files_that_ask_for_the_time_is_not_copied_for_long(
    project: Settings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write(project.root, "sql/schema.sql", f"{SCHEMA}create table times (at timestamptz default {moment});\n")
    build(project)
    setup.reset(project, silent)
    assert "a copy of what" in setup.reset(project, silent)
    monkeypatch.setattr("tasks.localenv.postgres.sealedcopy.FRESH_S", 0)
    assert "a copy of what" not in setup.reset(project, silent)


def test_a_template_that_was_cut_short_is_made_anew(project: Settings) -> None:
    build(project)
    setup.reset(project, silent)
    name = f"{project.postgres.database}__template"
    with databases.maintenance(project.postgres) as conn:
        conn.execute(f"COMMENT ON DATABASE {name} IS NULL; ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    run_sql(project, "drop table posts", database=name)
    setup.reset(project, silent)
    assert rows(project, "select id from posts") == [1, 2]


def test_a_reset_undoes_what_is_outside_of_schemas_and_keeps_the_databases_own_settings(project: Settings) -> None:
    build(project)
    name = project.postgres.database
    run_sql(project, "create publication changes for all tables")
    run_sql(project, "select lo_create(0)")
    run_sql(project, "alter default privileges revoke all on tables from public")
    run_sql(project, f"alter database {name} set statement_timeout to '7s'")
    setup.reset(project, silent)
    left = "select (select count(*) from pg_publication) + (select count(*) from pg_largeobject_metadata)"
    assert rows(project, f"{left} + (select count(*) from pg_default_acl)") == [0]
    assert rows(project, "select setting from pg_settings where name = 'statement_timeout'") == ["7000"]


def test_a_lock_that_another_session_holds_is_named_as_the_cause(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(project)
    monkeypatch.setattr("tasks.localenv.postgres.session.LOCK_S", 0.2)
    with connect(project.postgres) as other:
        other.execute("lock table users")
        with pytest.raises(LocalEnvError) as caught:
            load.apply_seeds(project, "", silent, again=True)
    assert "lock" in caught.value.message
    assert (
        caught.value.hint
        == "run `inv db.sessions` to see who holds the lock, or run `inv db.sessions --kill` to end them"
    )


def test_tables_lost_by_hand_are_seen(project: Settings) -> None:
    build(project)
    run_sql(project, "drop table posts")
    assert drift(project) == ["1 of its tables, views or routines is gone"]
    run_sql(project, "drop table users")
    assert setup.read_decision(project, typed=False) == Decision("build", "the database is empty")


def test_names_of_sixty_three_bytes_still_have_a_name_beside_them(project: Settings) -> None:
    long = project.postgres.database + "_é" * 16 + "x"
    long = long.encode()[:63].decode(errors="ignore")
    settings = replace(project, postgres=replace(project.postgres, database=long))
    build(settings)
    build(settings, force=True)
    swap_back(settings)
    assert handles(settings) == ["ann", "bobby"]
    with databases.maintenance(settings.postgres) as conn:
        beside = databases.sibling_name(long, "kept")
        assert (len(beside.encode()) <= 63, databases.exists(conn, beside)) == (True, True)


def test_a_plan_says_what_setup_would_do_and_does_nothing(project: Settings) -> None:
    name = project.postgres.database
    assert setup.plan(project, typed=True) == [
        f"create {name}__new: there is no database yet",
        "apply sql/schema.sql",
        "apply seeds/sql/1_users.sql",
        "apply seeds/sql/2_posts.sql",
        f"keep a copy of it in {name}__template, if it is small, for `inv db.reset`",
        f"rename it to {name}; the old one, if there is one, is kept for `inv undo`",
    ]
    assert names(project) == []


def test_a_project_without_seeds_is_set_up_too(project: Settings) -> None:
    for path in (project.root / scripts.SEEDS).iterdir():
        path.unlink()
    build(project)
    assert handles(project) == []
    assert load.apply_seeds(project, "", silent) == "no seeds in seeds/sql"


def test_an_empty_schema_is_not_built_again_and_again(project: Settings) -> None:
    for path in (project.root / scripts.SEEDS).iterdir():
        path.unlink()
    write(project.root, "sql/schema.sql", "-- nothing yet\n")
    said: list[str] = []
    setup.setup(project, said.append, typed=False)
    assert said == ["sql/schema.sql: it has no statements"]
    assert setup.read_decision(project, typed=False).action == "keep"


# --- several files, included ones, and those that cannot run in a transaction -----------------------------------------


def test_schema_files_follow_the_schema_in_the_order_of_their_names(project: Settings) -> None:
    write(project.root, "sql/schema/20_view.sql", "create view names as select handle, note from users;")
    write(project.root, "sql/schema/10_column.sql", "alter table users add note text;")
    write(project.root, "sql/schema/readme.txt", "not SQL")
    assert "sql/schema.sql, sql/schema/10_column.sql, sql/schema/20_view.sql, … (6" in build(project)
    assert rows(project, "select count(*) from names") == [2]
    assert load.check_schema(project, "", typed=True) is not None
    write(project.root, "sql/schema/30_more.sql", "create table more ();")
    assert drift(project) == ["sql/schema/30_more.sql is not applied"]
    again = {"again": False, "yes": False}
    kept = "keep a copy of it for `inv undo`, which ends the sessions in it"
    assert load.plan_schema(project, scripts.read_schema(project), **again) == [kept, "apply sql/schema/30_more.sql"]
    assert load.apply_schema(project, "", silent) == "applied sql/schema/30_more.sql (1 statement, 0 rows)"
    assert drift(project) == []
    (project.root / "sql/schema/30_more.sql").unlink()
    assert drift(project) == ["sql/schema/30_more.sql no longer exists"]


def test_an_app_may_have_schema_files_alone(project: Settings) -> None:
    (project.root / "sql/schema.sql").rename(project.root / "sql/schema.txt")
    write(project.root, "sql/schema/1.sql", SCHEMA)
    build(project)
    assert handles(project) == ["ann", "bobby"]


def test_files_include_others_from_the_project_or_beside_them(project: Settings) -> None:
    write(project.root, "sql/tables/users.sql", "create table users (uuid uuid, handle text);\n\\ir posts.sql")
    write(project.root, "sql/tables/posts.sql", "create table posts (id int);")
    write(project.root, "sql/my view.sql", "create view v as select 1;")
    write(
        project.root,
        "sql/schema.sql",
        "select 1;\n\\i sql/tables/users.sql;\n  \\include_relative 'my view.sql'\r\n\\i tables/../empty.sql\n"
        "select 2;",
    )
    write(project.root, "sql/empty.sql", "-- nothing")
    assert build(project).endswith("(7 statements, 4 rows)")
    assert drift(project) == []
    write(project.root, "sql/tables/posts.sql", "create table posts (id bigint);")
    assert drift(project) == ["sql/schema.sql changed since it was applied"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"sql/schema.sql": "select 1;\n \\i nope.sql"}, "sql/schema.sql:2:2: nope.sql: no such file"),
        ({"sql/schema.sql": "\\i"}, r"sql/schema.sql:1:1: \i names no file"),
        ({"sql/schema.sql": "\\ir 'a"}, r"sql/schema.sql:1:1: \ir names no file"),
        ({"sql/schema.sql": "\\i /etc/passwd"}, r"sql/schema.sql:1:1: \i names a file outside of the project: /etc/"),
        ({"sql/schema.sql": "\\ir ../../x"}, r"sql/schema.sql:1:1: \ir names a file outside of the project: ../"),
        ({"sql/schema.sql": "\\i sql"}, "sql/schema.sql:1:1: sql: "),
        (
            {"sql/schema.sql": "\\ir a.sql", "sql/a.sql": "\\ir b.sql", "sql/b.sql": "\n\\ir a.sql"},
            "sql/b.sql:2:1: an endless circle: sql/a.sql includes sql/b.sql includes sql/a.sql",
        ),
        ({"sql/schema.sql": "\\ir a.sql", "sql/a.sql": "\nselect nope;"}, "sql/a.sql:2:8: column"),
        ({"sql/schema.sql": "\\restrict k\n\\ir a.sql", "sql/a.sql": ""}, r"sql/schema.sql:2:1: \ir is a psql"),
    ],
)
def test_what_cannot_be_included_is_told_with_its_place(project: Settings, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        write(project.root, name, text)
    with pytest.raises(SqlError) as caught:
        build(project)
    assert caught.value.message.startswith(message)


INDEX = "set maintenance_work_mem = '64MB';\ncreate index concurrently if not exists by_handle on users (handle);\n"


def test_a_file_that_cannot_run_in_a_transaction_runs_last_each_statement_by_itself(project: Settings) -> None:
    write(project.root, "sql/schema/10_index.sql", INDEX + "vacuum users; reindex table concurrently users;")
    plan = setup.plan(project, typed=True)
    last = "sql/schema/10_index.sql last, outside of the transaction: CREATE INDEX CONCURRENTLY"
    assert plan[1:-2] == [
        "apply sql/schema.sql",
        "apply seeds/sql/1_users.sql",
        "apply seeds/sql/2_posts.sql",
        f"apply {last}",
    ]
    assert f"apply {last}" in setup.plan_reset(project, yes=False)
    said: list[str] = []
    setup.setup(project, said.append, typed=True)
    assert said == [last]
    assert rows(project, "select indisvalid from pg_index where indexrelid = 'by_handle'::regclass") == [True]
    assert drift(project) == []
    setup.reset(project, silent)
    assert drift(project) == []
    load.apply_schema(project, "sql/schema/10_index.sql", silent)


def test_where_it_fails_the_others_are_applied_and_said_to_be(project: Settings) -> None:
    build(project)
    write(project.root, "sql/schema/10_index.sql", INDEX + "create index concurrently on nope (a);")
    write(project.root, "sql/schema/20_more.sql", "create table more ();")
    with pytest.raises(SqlError) as caught:
        load.apply_schema(project, "", silent)
    assert caught.value.message == 'sql/schema/10_index.sql:3:1: relation "nope" does not exist'
    assert "kept: what was done before this statement" in caught.value.evidence
    assert drift(project) == ["sql/schema/10_index.sql is not applied"]
    write(project.root, "sql/schema/10_index.sql", INDEX)
    assert load.apply_schema(project, "", silent).startswith("applied sql/schema/10_index.sql (2")
    assert drift(project) == []


def test_a_new_database_of_which_one_fails_is_not_swapped_in(project: Settings) -> None:
    build(project)
    write(project.root, "sql/schema/10_index.sql", "create index concurrently on nope (a);")
    with pytest.raises(SqlError) as caught:
        build(project)
    assert f"kept: database {project.postgres.database} is unchanged" in caught.value.evidence
    assert names(project) == [""]
