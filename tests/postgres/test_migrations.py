"""Migrations on a real server: read as dbmate reads them, run in order, undone, accepted, compared; data is kept."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tasks.localenv.engines import pg_dump
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, UsageError
from tasks.localenv.postgres import databases, ledger, load, migrating, migrations, schemadiff, scripts, setup
from tasks.localenv.postgres.connection import DatabaseMissing
from tasks.localenv.postgres.sqlfile import SqlError, SqlFile
from tasks.localenv.settings import Settings
from tests.support.projects import POSTS, SCHEMA, build, drift, handles, rows, run_sql, silent, write

BIO = "-- migrate:up\nalter table users add bio text;\n\n-- migrate:down\nalter table users drop bio;\n"
TAGS = "-- migrate:up\ncreate table tags (id int);\n-- migrate:down\ndrop table tags;\n"
INDEX = (
    "-- migrate:up transaction:false\ncreate index concurrently by_handle on users (handle);\n"
    "-- migrate:down transaction:false\ndrop index concurrently by_handle;\n"
)
VERSIONS = "select version from schema_migrations order by 1"


def migration(project: Settings, name: str, text: str) -> None:
    write(project.root, f"sql/migrations/{name}", text)


def migrate(project: Settings) -> str:
    return migrating.migrate(project, silent)


def pending(project: Settings) -> list[str]:
    return [s.version for s in ledger.observe(project.postgres).pending(scripts.read_scripts(project))]


# --- the files --------------------------------------------------------------------------------------------------------


def parsed(text: str) -> migrations.Blocks:
    return migrations.parse(SqlFile("m.sql", text.encode()))


def test_a_file_is_parted_into_its_blocks_and_places_in_them_stay_right() -> None:
    blocks = parsed("-- why\n\n--migrate:up transaction:false a:b\r\nup;\n--  migrate:down transaction:true\ndown;\n")
    assert (blocks.up_outside, blocks.down_outside) == (True, False)
    assert bytes(blocks.up.text).endswith(b"up;\n") and b"down" not in blocks.up.text
    assert blocks.down is not None
    assert blocks.down.place(bytes(blocks.down.text).index(b"down;")) == "m.sql:6:1"
    assert b"up" not in blocks.down.text


def test_a_down_block_may_be_missing_and_is_no_part_of_the_fingerprint() -> None:
    assert parsed("-- migrate:up\nselect 1;").down is None
    assert parsed(TAGS).up.sha256 == parsed(TAGS.replace("drop table tags", "drop table if exists tags")).up.sha256
    assert parsed(TAGS).up.sha256 != parsed(TAGS.replace("create table tags", "create table tag")).up.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ufeff-- migrate:up\nselect 1;", "m.sql:1:1: a byte order mark, which hides `-- migrate:up`"),
        ("create table a ();", "m.sql:1:1: a migration without `-- migrate:up`"),
        (" -- migrate:up\nselect 1;", "m.sql:1:1: a migration without `-- migrate:up`"),
        ("-- migrate:upwards\nselect 1;", "m.sql:1:1: a migration without `-- migrate:up`"),
        ("-- a\nselect 1;\n-- migrate:up\n", "m.sql:2:1: a statement before `-- migrate:up`"),
        ("/* a */\n-- migrate:up\n", "m.sql:1:1: a statement before `-- migrate:up`"),
        ("-- migrate:down\n-- migrate:up\n", "m.sql:1:1: `-- migrate:down` before `-- migrate:up`"),
        ("-- migrate:up\n-- migrate:up\n", "m.sql:2:1: a block of this kind for the second time"),
        ("-- migrate:up\n-- migrate:down\n\n-- migrate:down", "m.sql:4:1: a block of this kind for the second time"),
    ],
)
def test_what_is_no_migration_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SqlError) as caught:
        parsed(text)
    assert (caught.value.message, bool(caught.value.hint)) == (message, True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bio.sql"], "sql/migrations/bio.sql: the name has no version"),
        (["001_a.sql", "001b.sql"], "sql/migrations/001b.sql: version 001 is that of 001_a.sql too"),
    ],
)
def test_names_that_do_not_fit_are_told(project: Settings, names: list[str], message: str) -> None:
    for name in names:
        migration(project, name, TAGS)
    with pytest.raises(UsageError) as caught:
        build(project)
    assert (caught.value.message, bool(caught.value.hint)) == (message, True)


def test_a_new_file_has_the_time_as_its_version_and_no_version_twice(project: Settings) -> None:
    first = migrating.new_file(project.root, "add_bio")
    assert re.fullmatch(r"sql/migrations/20\d{12}_add_bio\.sql", str(first))
    for _ in range(3):
        migrating.write_new(project.root, migrating.new_file(project.root, "add-bio"))
    assert len(migrations.find_files(project.root)) == 3
    assert migrations.find_files(project.root)[0].read_text() == "-- migrate:up\n\n\n-- migrate:down\n\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("", "write what it does, such as"), ("../x", "write x"), ("Add Bio!", "write add_bio"), ("a" * 200, "write aa")],
)
def test_a_name_that_is_none_is_refused_with_a_better_one(project: Settings, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        migrating.new_file(project.root, name)
    assert caught.value.hint.startswith(hint)


# --- schema, then migrations, then seeds ------------------------------------------------------------------------------


def test_setup_applies_schema_then_migrations_then_seeds(project: Settings) -> None:
    migration(project, "002_bio.sql", BIO)
    migration(project, "001_rename.sql", "-- migrate:up\nalter table users rename handle to nick;\n-- migrate:down\n")
    write(project.root, "seeds/sql/1_users.sql", "insert into users select uuid, handle, 'hello' from pg_temp.people;")
    done = build(project, typed=False)
    assert "made from sql/schema.sql, sql/migrations/001_rename.sql, sql/migrations/002_bio.sql, … (" in done
    assert rows(project, "select nick, bio from users order by 1") == [("ann", "hello"), ("bobby", "hello")]
    assert rows(project, VERSIONS) == ["001", "002"]
    assert (drift(project), pending(project)) == ([], [])
    assert setup.read_decision(project, typed=True).action == "keep"


def test_the_table_of_versions_is_as_dbmate_makes_it(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS)
    build(project)
    columns = "select column_name, data_type, character_maximum_length from information_schema.columns"
    assert rows(project, f"{columns} where table_name = 'schema_migrations'") == [("version", "character varying", 128)]
    assert rows(project, "select count(*) from pg_constraint where conname = 'schema_migrations_pkey'") == [1]


def test_pending_migrations_run_in_place_and_keep_the_data(project: Settings) -> None:
    build(project)
    run_sql(project, "insert into posts values (99)")
    migration(project, "001_bio.sql", BIO)
    migration(project, "002_tags.sql", TAGS)
    assert setup.read_decision(project, typed=False).reason == (
        "sql/migrations/001_bio.sql, sql/migrations/002_tags.sql are pending"
    )
    assert setup.plan(project, typed=True) == ["apply sql/migrations/001_bio.sql", "apply sql/migrations/002_tags.sql"]
    done = build(project)
    assert done == "applied sql/migrations/001_bio.sql, sql/migrations/002_tags.sql (2 statements, 0 rows)"
    assert rows(project, "select id from posts") == [1, 2, 99]
    assert setup.read_decision(project, typed=True).action == "keep"
    assert migrate(project) == "none pending"


def test_each_migration_is_a_transaction_of_its_own(project: Settings) -> None:
    build(project)
    migration(project, "001_tags.sql", TAGS)
    migration(project, "002_wrong.sql", "-- migrate:up\ncreate table more ();\nselect nope;\n-- migrate:down\n")
    migration(project, "003_bio.sql", BIO)
    with pytest.raises(SqlError) as caught:
        migrate(project)
    assert caught.value.message.startswith("sql/migrations/002_wrong.sql:3:8: column")
    assert caught.value.evidence.splitlines()[-2:] == [
        "kept: nothing of sql/migrations/002_wrong.sql is in the database",
        "kept: applied before it: sql/migrations/001_tags.sql",
    ]
    assert (rows(project, VERSIONS), pending(project)) == (["001"], ["002", "003"])
    assert rows(project, "select to_regclass('more') is null") == [True]
    migration(project, "002_wrong.sql", "-- migrate:up\ncreate table more ();\n-- migrate:down\n")
    migrate(project)
    assert (rows(project, VERSIONS), drift(project)) == (["001", "002", "003"], [])


def test_what_cannot_run_in_a_transaction_says_how(project: Settings) -> None:
    build(project)
    migration(project, "001_index.sql", INDEX.replace(" transaction:false", ""))
    with pytest.raises(SqlError) as caught:
        migrate(project)
    assert caught.value.hint.startswith("add transaction:false to its line `-- migrate:`")
    migration(project, "001_index.sql", INDEX)
    said: list[str] = []
    migrating.migrate(project, said.append)
    assert said == ["sql/migrations/001_index.sql: each statement by itself (transaction:false)"]
    assert rows(project, "select indisvalid from pg_index where indexrelid = 'by_handle'::regclass") == [True]
    assert rows(project, VERSIONS) == ["001"]
    migrating.rollback(project, silent)
    assert rows(project, "select to_regclass('by_handle') is null") == [True]
    assert (rows(project, VERSIONS), pending(project)) == ([], ["001"])


def test_one_that_fails_outside_of_a_transaction_is_not_noted_and_runs_again(project: Settings) -> None:
    build(project)
    migration(project, "001_index.sql", INDEX.replace(";\n--", ";\nselect nope;\n--"))
    with pytest.raises(SqlError) as caught:
        migrate(project)
    assert caught.value.evidence.endswith(
        "kept: what was done before this statement; the file runs from its beginning again"
    )
    assert pending(project) == ["001"]


def test_a_rebuild_keeps_the_order_around_what_cannot_run_in_a_transaction(project: Settings) -> None:
    migration(project, "001_index.sql", INDEX)
    migration(project, "002_rename.sql", "-- migrate:up\nalter index by_handle rename to handles;\n-- migrate:down\n")
    migration(project, "003_tags.sql", TAGS.replace("up\n", "up transaction:false\n"))
    build(project)
    assert rows(project, VERSIONS) == ["001", "002", "003"]
    assert rows(project, "select to_regclass('handles') is not null") == [True]


def test_a_reset_runs_migrations_too(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS.replace("up\n", "up transaction:false\n"))
    migration(project, "002_index.sql", INDEX)
    planned = "apply sql/migrations/002_index.sql, outside of the transaction: CREATE INDEX CONCURRENTLY"
    assert planned in setup.plan_reset(project, yes=False)
    build(project)
    run_sql(project, "insert into posts values (99)")
    setup.reset(project, silent)
    assert rows(project, VERSIONS) == ["001", "002"]
    assert (rows(project, "select id from posts"), drift(project), pending(project)) == ([1, 2], [], [])


def test_versions_that_a_dump_of_the_schema_brings_count_as_applied(project: Settings) -> None:
    dump = "create table schema_migrations (version varchar(128) primary key);\ncreate table tags (id int);\n"
    write(project.root, "sql/schema.sql", SCHEMA + dump + "insert into schema_migrations values ('001'), ('000');")
    migration(project, "001_tags.sql", TAGS)
    migration(project, "002_bio.sql", BIO)
    write(project.root, "seeds/sql/1_users.sql", "insert into users select uuid, handle, 'x' from pg_temp.people;")
    build(project)
    assert rows(project, VERSIONS) == ["000", "001", "002"]
    assert (drift(project), pending(project)) == ([], [])
    setup.reset(project, silent)
    assert (drift(project), pending(project)) == ([], [])


def test_an_app_may_have_migrations_alone(project: Settings) -> None:
    (project.root / "sql/schema.sql").unlink()
    migration(project, "001_all.sql", f"-- migrate:up\n{SCHEMA}-- migrate:down\n")
    build(project, typed=False)
    assert handles(project) == ["ann", "bobby"]
    assert load.check_schema(project, "", typed=True) == "this app has no sql/schema.sql"


def test_a_database_with_the_versions_of_another_tool_is_read(project: Settings) -> None:
    build(project)
    run_sql(project, "create table schema_migrations (version bigint primary key, dirty boolean)")
    run_sql(project, "insert into schema_migrations values (7, false)")
    assert ledger.observe(project.postgres).versions == ("7",)
    run_sql(project, "drop table schema_migrations; create view schema_migrations as select 1/0 as version")
    assert ledger.observe(project.postgres).versions == ()


# --- changed, out of order, both at once ------------------------------------------------------------------------------


def test_a_migration_that_changed_after_it_ran_is_named(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS)
    build(project)
    migration(project, "001_tags.sql", TAGS.replace("id int", "id bigint"))
    assert drift(project) == ["sql/migrations/001_tags.sql changed since it was applied"]
    with pytest.raises(ConfirmationNeeded):
        setup.read_decision(project, typed=False).require_agreement("x")
    (project.root / "sql/migrations/001_tags.sql").rename(project.root / "sql/migrations/001_labels.sql")
    migration(project, "001_labels.sql", TAGS)
    assert drift(project) == []
    (project.root / "sql/migrations/001_labels.sql").unlink()
    assert drift(project) == ["sql/migrations/001_tags.sql no longer exists"]


def test_of_what_another_tool_ran_no_fingerprint_is_known(project: Settings) -> None:
    build(project)
    migration(project, "001_tags.sql", TAGS)
    run_sql(project, "create table schema_migrations (version varchar(128) primary key)")
    run_sql(project, "insert into schema_migrations values ('001'); drop table posts; create view posts as select 1")
    assert (drift(project), pending(project)) == ([], [])
    assert setup.read_decision(project, typed=False).action == "keep"


def test_one_out_of_order_is_named_and_runs(project: Settings) -> None:
    build(project)
    migration(project, "005_tags.sql", TAGS)
    migrate(project)
    migration(project, "003_bio.sql", BIO)
    assert migrating.plan_migrate(project, yes=False) == [
        "apply sql/migrations/003_bio.sql (out of order: one after it is applied)"
    ]
    said: list[str] = []
    migrating.migrate(project, said.append)
    assert said[0].startswith("sql/migrations/003_bio.sql is out of order: one after it is applied")
    assert (rows(project, VERSIONS), drift(project)) == (["003", "005"], [])


def test_an_edited_schema_names_three_ways(project: Settings) -> None:
    build(project)
    write(project.root, "sql/schema.sql", SCHEMA + "create table more ();")
    with pytest.raises(ConfirmationNeeded) as caught:
        setup.read_decision(project, typed=False).require_agreement("shop")
    assert caught.value.message.startswith(
        "database shop is kept as it is: sql/schema.sql changed since it was applied"
    )
    assert re.findall(r"`inv ([^`]+)`", str(caught.value.hint)) == [
        "db.setup",
        "undo",
        "db.new-migration NAME",
        "db.schema-load --accept",
    ]


def test_an_edited_schema_and_pending_migrations_are_both_named(project: Settings) -> None:
    build(project)
    write(project.root, "sql/schema.sql", SCHEMA.replace("handle text", "bio text, handle text"))
    migration(project, "001_bio.sql", BIO)
    with pytest.raises(ConfirmationNeeded) as caught:
        setup.read_decision(project, typed=False).require_agreement("shop")
    assert (
        "sql/schema.sql changed since it was applied, sql/migrations/001_bio.sql is pending too" in caught.value.message
    )
    for command in (migrate, lambda project: migrating.plan_migrate(project, yes=False)):
        with pytest.raises(
            ConfirmationNeeded, match=r"schema.sql changed since it was applied, and sql/migrations/001"
        ):
            command(project)
    assert pending(project) == ["001"]
    write(project.root, "sql/schema.sql", SCHEMA)
    migrate(project)
    assert setup.read_decision(project, typed=False).action == "keep"


def test_an_edit_that_is_applied_already_is_accepted(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS)
    build(project)
    run_sql(project, "create table more (); insert into posts values (99)")
    write(project.root, "sql/schema.sql", SCHEMA + "create table more ();")
    migration(project, "001_tags.sql", TAGS.replace("id int", "id  int"))
    migration(project, "002_bio.sql", BIO)
    assert migrating.check_accepted(project, "") is None
    done = migrating.accept(project, "")
    assert done == "sql/schema.sql, sql/migrations/001_tags.sql recorded as applied; nothing was run"
    assert (drift(project), pending(project)) == ([], ["002"])
    assert migrating.check_accepted(project, "") is not None
    assert rows(project, "select id from posts") == [1, 2, 99]
    run_sql(project, "drop table more")
    assert drift(project) == ["1 of its tables, views or routines is gone"]


def test_an_empty_database_is_not_accepted(project: Settings) -> None:
    load.create(project)
    with pytest.raises(LocalEnvError, match="is empty: there is nothing to accept"):
        migrating.accept(project, "")


# --- the way back -----------------------------------------------------------------------------------------------------


def test_a_rollback_undoes_the_newest_one(project: Settings) -> None:
    build(project)
    migration(project, "001_bio.sql", BIO)
    migration(project, "002_tags.sql", TAGS)
    migrate(project)
    assert migrating.plan_rollback(project) == ["undo sql/migrations/002_tags.sql"]
    assert migrating.rollback(project, silent) == "undid sql/migrations/002_tags.sql"
    assert (rows(project, VERSIONS), pending(project), drift(project)) == (["001"], ["002"], [])
    assert rows(project, "select to_regclass('tags') is null") == [True]
    migrating.rollback(project, silent)
    assert rows(project, "select id from posts") == [1, 2]
    with pytest.raises(LocalEnvError, match="no migration is applied, so there is nothing to undo"):
        migrating.rollback(project, silent)


def test_a_rollback_that_fails_changes_nothing(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS + "select nope;")
    build(project)
    with pytest.raises(SqlError) as caught:
        migrating.rollback(project, silent)
    assert caught.value.message.startswith("sql/migrations/001_tags.sql:5:8: column")
    assert (rows(project, VERSIONS), rows(project, "select count(*) from tags")) == (["001"], [0])


def test_without_a_down_block_there_is_no_way_back(project: Settings) -> None:
    migration(project, "001_tags.sql", "-- migrate:up\ncreate table tags ();")
    build(project)
    with pytest.raises(LocalEnvError, match=r"001_tags.sql has no down block") as caught:
        migrating.rollback(project, silent)
    assert "-- migrate:down" in caught.value.hint


def test_below_a_version_without_a_file_nothing_is_undone(project: Settings) -> None:
    migration(project, "001_tags.sql", TAGS)
    build(project)
    run_sql(project, "insert into schema_migrations values ('002')")
    with pytest.raises(LocalEnvError, match=r"version 002 is applied after sql/migrations/001_tags.sql"):
        migrating.rollback(project, silent)


# --- what differs from the files --------------------------------------------------------------------------------------


def compare(project: Settings) -> list[str]:
    return schemadiff.compare(project, pg_dump.dump_command, silent)


def siblings(project: Settings) -> list[str]:
    with databases.maintenance(project.postgres) as conn:
        return [
            name
            for name, _ in databases.names(conn)
            if name == databases.sibling_name(project.postgres.database, "diff")
        ]


def changed(lines: list[str]) -> list[str]:
    return [line for line in lines if re.match(r"[-+](?![-+])(?!\W*$)", line)]


def test_a_database_that_is_as_the_files_say_has_no_difference(project: Settings) -> None:
    migration(project, "001_bio.sql", BIO)
    build(project)
    run_sql(project, "insert into posts values (99)")
    assert (compare(project), siblings(project)) == ([], [])


def test_what_differs_is_shown_as_a_unified_diff(project: Settings) -> None:
    build(project)
    run_sql(project, "alter table posts add title text; grant select on posts to public")
    lines = compare(project)
    assert lines[:2] == ["--- files", f"+++ database {project.postgres.database}"]
    assert changed(lines) == ["-    id integer", "+    id integer,", "+    title text"]


def test_a_diff_leaves_no_database_behind_also_where_it_fails_or_was_killed(project: Settings) -> None:
    with pytest.raises(DatabaseMissing):
        compare(project)
    build(project)
    with databases.maintenance(project.postgres) as conn:
        databases.create(conn, databases.sibling_name(project.postgres.database, "diff"))
    assert (compare(project), siblings(project)) == ([], [])
    write(project.root, "sql/schema.sql", "select nope;")
    with pytest.raises(SqlError):
        compare(project)
    assert siblings(project) == []


# --- truth is in the stores -------------------------------------------------------------------------------------------


def refilled(project: Settings) -> tuple[list[str], list[Any]]:
    build(project, typed=False)
    assert setup.read_decision(project, typed=False).action == "keep"
    return handles(project), rows(project, "select id from posts order by 1")


@pytest.mark.parametrize(
    "statement",
    [
        "truncate users",
        "truncate posts",
        "truncate users, posts",
        "delete from users",
        "drop table users; create table users (uuid uuid primary key, handle text not null)",
        "drop table users, posts; create table users (uuid uuid, handle text); create table posts (id int, at date)",
        "drop table users, posts",
        "drop schema public cascade; create schema public",
        "drop schema public cascade; create schema public; create table users (uuid uuid, handle text);"
        " create table posts (id int)",
    ],
)
def test_what_the_seeds_filled_and_is_empty_now_is_filled_again(project: Settings, statement: str) -> None:
    build(project)
    run_sql(project, statement)
    assert refilled(project) == (["ann", "bobby"], [1, 2])


def test_a_database_made_anew_by_another_tool_is_built(project: Settings) -> None:
    build(project)
    with databases.maintenance(project.postgres) as conn:
        databases.drop(conn, project.postgres.database)
        databases.create(conn, project.postgres.database)
    assert refilled(project) == (["ann", "bobby"], [1, 2])


def test_rows_of_others_stay_where_a_seed_is_filled_again(project: Settings) -> None:
    build(project)
    run_sql(project, "truncate users; insert into posts values (99)")
    assert refilled(project) == (["ann", "bobby"], [1, 2, 99])


def test_who_only_looks_does_not_bring_rows_back(project: Settings) -> None:
    build(project)
    run_sql(project, "delete from posts")
    build(project, typed=False, refill=False)
    assert rows(project, "select id from posts") == []


def test_a_seed_of_which_a_part_is_left_is_named_with_the_way_out(project: Settings) -> None:
    write(project.root, "seeds/sql/1_users.sql", "insert into users select uuid, handle from pg_temp.people;\n" + POSTS)
    (project.root / "seeds/sql/2_posts.sql").unlink()
    build(project)
    run_sql(project, "truncate posts")
    decided = setup.read_decision(project, typed=False)
    assert (decided.action, decided.command) == ("keep", "")
    assert decided.reason.endswith(
        "; public.posts is empty now, and seeds/sql/1_users.sql filled others too: `inv db.reset` resets all,"
        " `inv db.seed --force` may double their rows"
    )
    with pytest.raises(SqlError) as caught:
        load.apply_seeds(project, "", silent, again=True)
    assert "duplicate key" in caught.value.message
    assert caught.value.hint == "run `inv db.reset` to reset the contents to the seeds"
    setup.reset(project, silent)
    assert refilled(project) == (["ann", "bobby"], [1, 2])


def test_a_table_remade_with_other_columns_is_told_with_a_way_that_works(project: Settings) -> None:
    build(project)
    run_sql(project, "drop table users; create table users (uuid uuid, nick text, age int)")
    run_sql(project, "create unique index on users (uuid)")
    write(
        project.root,
        "seeds/sql/1_users.sql",
        "insert into users (uuid, handle) select uuid, handle from pg_temp.people;",
    )
    with pytest.raises(SqlError) as caught:
        build(project, typed=False)
    assert "correct the line, or run `inv db.setup --force`" in caught.value.hint
    build(project, force=True)
    assert refilled(project) == (["ann", "bobby"], [1, 2])


def test_a_table_that_another_tool_renamed_is_named_and_db_setup_makes_it_anew(project: Settings) -> None:
    build(project)
    run_sql(project, "alter table users rename to people")
    decided = setup.read_decision(project, typed=False)
    assert (decided.action, decided.command, decided.ways) == ("keep", "inv db.setup", "")
    assert decided.reason.startswith("kept as it is: public.users is gone")
    build(project)
    assert refilled(project) == (["ann", "bobby"], [1, 2])


def test_a_table_that_a_migration_or_an_accepted_edit_renamed_is_not_missed(project: Settings) -> None:
    build(project)
    migration(project, "001.sql", "-- migrate:up\nalter table users rename to people;\n-- migrate:down\n")
    migrate(project)
    assert drift(project) == []
    run_sql(project, "alter table posts rename to articles")
    write(project.root, "sql/schema.sql", SCHEMA.replace("posts", "articles"))
    migrating.accept(project, "")
    assert drift(project) == []


def test_an_emptied_seed_that_was_edited_too_is_filled_as_it_is_now(project: Settings) -> None:
    build(project)
    run_sql(project, "truncate posts")
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (7);")
    assert refilled(project) == (["ann", "bobby"], [7])


def test_a_seed_after_a_schema_of_another_file_brings_nothing_of_the_projects_own(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration(project, "001_tags.sql", TAGS)
    write(project.root, "other.sql", "create type mood as enum ('good');")
    monkeypatch.chdir(project.root)
    load.create(project)
    load.apply_schema(project, "other.sql", silent)
    assert load.check_schema(project, "", typed=False) is not None
    assert migrating.check_migrated(project, typed=False) == "kept as it is: sql/schema.sql is not applied"
