"""Copies of databases: how they are made, and that a reset by copy forgets nothing of what the files make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.checkout import saved
from tasks.localenv.engines.embedded.home import find_home
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.postgres import checksum, databases, sealedcopy, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.support import outside
from tests.support.environments import environment, permitted, reachable
from tests.support.projects import build, handles, rows, run_sql, silent, write
from tests.support.reflink import mounted, used_bytes


def copied(project: Settings) -> bool:
    return "a copy of what the same files made" in setup.reset(project, silent)


def has_template(project: Settings) -> bool:
    with databases.maintenance(project.postgres) as conn:
        return databases.exists(conn, sealedcopy.template_name(project))


# --- the copy that a reset starts from --------------------------------------------------------------------------------


def test_the_first_reset_after_a_setup_is_a_copy(project: Settings) -> None:
    build(project)
    run_sql(project, "delete from users")
    assert copied(project)
    assert handles(project) == ["ann", "bobby"]


def test_setup_says_in_its_plan_that_it_keeps_a_copy(project: Settings) -> None:
    assert setup.plan(project, typed=True)[-2] == (
        f"keep a copy of it in {project.postgres.database}__template, if it is small, for `inv db.reset`"
    )


def test_of_a_large_database_the_first_reset_makes_the_copy(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealedcopy, "SMALL_BYTES", 1 << 20)
    build(project)
    assert not has_template(project)
    assert [copied(project), copied(project)] == [False, True]


def test_a_setup_whose_copy_fails_is_done_all_the_same(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LocalEnvError("no space left")

    monkeypatch.setattr(databases, "clone", fail)
    said: list[str] = []
    setup.setup(project, said.append, typed=True)
    assert said == ["`inv db.reset` will have no copy to start from: no space left"]
    assert handles(project) == ["ann", "bobby"]
    monkeypatch.undo()
    assert [copied(project), copied(project)] == [False, True]


def test_the_rows_of_a_large_table_are_visible_to_all_from_the_beginning(project: Settings) -> None:
    write(project.root, "sql/schema/10_big.sql", 'create table "Big" as select g from generate_series(1, 300000) as g;')
    build(project)
    assert rows(project, "select relallvisible > 1000 from pg_class where relname = 'Big'") == [True]


def test_a_setup_of_other_files_replaces_the_copy(project: Settings) -> None:
    build(project)
    write(project.root, "seeds/sql/2_posts.sql", "insert into posts values (7);")
    build(project)
    assert copied(project)
    assert rows(project, "select id from posts") == [7]


# --- what lies outside of schemas -------------------------------------------------------------------------------------


@pytest.fixture
def shop(project: Settings) -> Settings:
    """A project whose files make everything that lies outside of schemas."""
    outside.files(project)
    build(project)
    return project


def test_a_reset_makes_what_lies_outside_of_schemas_as_the_files_do(shop: Settings) -> None:
    made = outside.inside(shop)
    assert [kind for kind, found in made.items() if not found] == ["subscriptions"]
    for _ in range(2):
        run_sql(shop, outside.CHANGED)
        assert [kind for kind, found in outside.inside(shop).items() if found == made[kind]] == ["subscriptions"]
        assert copied(shop)
        assert outside.inside(shop) == made


def test_what_the_files_say_of_the_database_itself_holds_without_a_former_one(shop: Settings) -> None:
    made = outside.own(shop)
    assert ("the shop" in str(made), "7s" in str(made), "5MB" in str(made), "40" in str(made)) == (True,) * 4
    setup.drop(shop)
    with databases.maintenance(shop.postgres) as conn:
        databases.drop(conn, shop.postgres.database)
    assert copied(shop)
    assert outside.own(shop) == made


@pytest.fixture
def role(shop: Settings) -> Iterator[str]:
    name = f"{shop.postgres.database}_role"
    run_sql(shop, f"create role {name}", database="postgres")
    yield name
    with databases.maintenance(shop.postgres) as conn:
        name_kept = databases.sibling_name(shop.postgres.database, "kept")
        for each in (shop.postgres.database, sealedcopy.template_name(shop), name_kept):
            databases.drop(conn, each)
    run_sql(shop, f"drop role {name}", database="postgres")


def test_a_reset_and_a_setup_keep_the_properties_of_the_database_itself(shop: Settings, role: str) -> None:
    name = shop.postgres.database
    for change in (
        f"comment on database {name} is 'mine'",
        f"alter database {name} connection limit 7",
        f'alter database {name} set search_path to public, "$user"',
        f"alter role {role} in database {name} set work_mem to '6MB'",
        f"grant create, temporary on database {name} to {role} with grant option",
        f"revoke connect on database {name} from public",
        f"alter database {name} owner to {role}",
    ):
        run_sql(shop, change, database="postgres")
    wanted = outside.own(shop)
    assert role in str(wanted["of the database"])
    assert copied(shop)
    assert outside.own(shop) == wanted
    build(shop, force=True)
    assert outside.own(shop) == wanted


def test_a_reset_and_a_setup_keep_encoding_and_locale(project: Settings) -> None:
    name = project.postgres.database
    options = "template template0 encoding 'LATIN1' locale_provider libc locale 'C'"
    run_sql(project, f"create database {name} {options}", database="postgres")
    run_sql(project, "create table leftover ()")
    wanted = outside.own(project)["of the database"]
    for change in (lambda: build(project, force=True, yes=True), lambda: copied(project)):
        change()
        assert outside.own(project)["of the database"] == wanted
    assert ("LATIN1" in str(wanted), handles(project)) == (True, ["ann", "bobby"])
    with databases.maintenance(project.postgres) as conn:
        databases.drop(conn, name)
    assert not copied(project)
    assert "UTF8" in str(outside.own(project)["of the database"])


SUBSCRIBED = (
    "create subscription incoming connection 'host=127.0.0.1 port=1 dbname=far' publication changes"
    " with (connect = false, slot_name = 'far_slot');"
)


def test_subscriptions_are_as_the_files_make_them_and_do_not_keep_the_old_database_from_going(shop: Settings) -> None:
    outside.files(shop, outside.MADE + SUBSCRIBED)
    build(shop, force=True)
    made = outside.inside(shop)
    assert made["subscriptions"] == [("incoming", False)]
    for _ in range(2):
        run_sql(shop, "alter subscription incoming enable")
        assert not copied(shop)
        assert outside.inside(shop) == made
    outside.files(shop)
    build(shop, force=True)
    assert outside.inside(shop)["subscriptions"] == []
    run_sql(shop, SUBSCRIBED)
    assert copied(shop)
    assert outside.inside(shop)["subscriptions"] == []
    with databases.maintenance(shop.postgres) as conn:
        databases.drop(conn, databases.sibling_name(shop.postgres.database, "kept"))


# --- how files are copied ---------------------------------------------------------------------------------------------


def test_where_files_cannot_be_cloned_they_are_copied(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    build(project)
    name = project.postgres.database
    refused = "SET {} = clone; DO $$ BEGIN RAISE 'could not clone file' USING ERRCODE = 'XX000'; END $$"
    execute_on = databases._execute_on

    def refusing(conn: object, where: str, statement: str, *others: str) -> None:
        execute_on(conn, where, refused if statement.endswith("= clone") else statement, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(databases, "_execute_on", refusing)
    with databases.maintenance(project.postgres) as conn:
        databases.clone(conn, project.postgres, name, f"{name}_copy")
        assert conn.execute("SHOW file_copy_method").fetchone() == ("copy",)
    with connect(project.postgres, database=f"{name}_copy") as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (2,)


@pytest.fixture
def on_reflinks(tmp_path: Path) -> Iterator[Settings]:
    """A running embedded environment whose data folder is on a file system that can share blocks."""
    settings = permitted(read_settings(environ=environment(reachable(tmp_path) / "state")))
    base = find_home(settings).base
    base.mkdir(parents=True)
    try:
        with mounted(base, tmp_path / "image"):
            for folder in (base, base.parent):
                folder.chmod(0o711)
            engines.up(settings, print)
            yield settings
            engines.down(settings, print)
    finally:
        engines.destroy(settings, print)
        saved.forget()


@pytest.mark.reflink
def test_copies_share_their_blocks_where_the_file_system_can(on_reflinks: Settings) -> None:
    project, folder = on_reflinks, find_home(on_reflinks).data
    with databases.maintenance(project.postgres) as conn:
        databases.create(conn, "big")
        with connect(project.postgres, database="big", autocommit=True) as inside:
            inside.execute("CREATE TABLE t AS SELECT repeat('x', 1000) AS a, g FROM generate_series(1, 80000) AS g")
        size = databases.size_bytes(conn, "big")
        conn.execute("CHECKPOINT")
        before = used_bytes(folder)
        databases.clone(conn, project.postgres, "big", "copy")
        more = used_bytes(folder) - before
    assert (size > 80_000_000, more < size / 4) == (True, True), f"{more:,} of {size:,} bytes"
    with connect(project.postgres, database="copy", autocommit=True) as inside:
        held = checksum.measure(inside)
        inside.execute("UPDATE public.t SET a = 'y' WHERE g < 1000")
    with connect(project.postgres, database="big", autocommit=True) as inside:
        assert checksum.measure(inside) == held
