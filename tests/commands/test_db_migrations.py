"""The commands for a schema that changes, as they are typed, in an app that has migrations."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Exit
from moto import mock_aws

from tasks import ns
from tasks._executor import GraphExecutor
from tasks.localenv.settings import read_settings
from tests.support.answers import entries
from tests.support.boto import forget_clients
from tests.support.environments import Finished, environment, inv, reachable
from tests.support.ports import find_free
from tests.support.projects import PEOPLE, POSTS, SCHEMA, write

BIO = "-- migrate:up\nalter table users add bio text;\n-- migrate:down\nalter table users drop bio;\n"
TAGS = "-- migrate:up\ncreate table tags (id int);\n-- migrate:down\ndrop table tags;\n"
SEED = "insert into users (uuid, handle) select uuid, handle from pg_temp.people;\n"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment of an app in a folder of its own, which needs Postgres alone."""
    folder = reachable(tmp_path_factory.mktemp("app"))
    (folder / "shop").mkdir()
    given = {**environment(folder / "state"), "LOCALENV_APP": str(folder / "shop"), "LOCALENV_SERVICES": "postgres"}
    yield given
    inv("env.destroy", "--confirm", "cruddur", environ=given)


@pytest.fixture
def app(environ: dict[str, str]) -> Path:
    """The app's folder, with a schema and two seeds; nothing is built yet."""
    root = Path(environ["LOCALENV_APP"])
    for name in ("sql", "seeds"):
        shutil.rmtree(root / name, ignore_errors=True)
    write(root, "sql/schema.sql", SCHEMA)
    write(root, "seeds/sql/1_users.sql", SEED)
    write(root, "seeds/sql/2_posts.sql", POSTS)
    write(root, "seeds/people.csv", PEOPLE)
    assert inv("db.drop", "--yes", "--confirm", "cruddur", environ=environ).code == 0
    return root


@pytest.fixture
def run(environ: dict[str, str], app: Path) -> Callable[..., Finished]:
    return lambda *words, **more: inv(*words, environ={**environ, **more}, cwd=app)


Run = Callable[..., Finished]


def migration(app: Path, name: str, text: str) -> None:
    write(app, f"sql/migrations/{name}", text)


def done(finished: Finished) -> str:
    assert finished.code == 0, finished.stdout + finished.stderr
    return finished.stdout


def steps(finished: Finished) -> dict[str, str]:
    return {name: word for word, name in re.findall(r"^(ok|skip|FAIL) +([\w.-]+)", finished.stderr, re.MULTILINE)}


def query(run: Run, sql: str) -> object:
    return [[*row.values()] for row in entries(done(run("db.query", sql, "--format", "json")), "row")]


def commands(finished: Finished) -> list[str]:
    hints = [line for line in finished.stderr.splitlines() if line.split()[:1] == ["hint"]]
    return re.findall(r"`(inv [^`]+)`", "\n".join(hints))


def test_a_change_from_its_file_to_the_database_and_back(app: Path, run: Run) -> None:
    done(run("initial-setup"))
    done(run("db.query", "insert into posts values (99)", "--write"))
    written = run("db.new-migration", "add_bio")
    path = app / done(written).strip()
    assert re.fullmatch(r"sql/migrations/\d{14}_add_bio\.sql", str(path.relative_to(app)))
    assert "then `inv db.migrate`" in written.stderr
    path.write_text(BIO)
    planned = run("db.migrate", "--plan")
    assert f"apply {path.relative_to(app)}" in done(planned)
    assert query_of_status(run)["pending"] == [str(path.relative_to(app))]
    migrated = run("db.migrate")
    assert (migrated.code, steps(migrated)["db.migrate"]) == (0, "ok")
    assert steps(run("db.migrate"))["db.migrate"] == "skip"
    assert query(run, "select handle, bio from users order by 1") == [["ann", None], ["bobby", None]]
    assert query_of_status(run) == {"pending": [], "problems": []}
    asked = run("db.rollback")
    assert (asked.code, f"will undo {path.relative_to(app)}" in asked.stderr) == (3, True)
    assert commands(asked) == ["inv db.rollback --confirm cruddur"]
    done(run("db.rollback", "--confirm", "cruddur"))
    assert query_of_status(run)["pending"] == [str(path.relative_to(app))]
    path.unlink()
    assert query(run, "select count(*) from information_schema.columns where column_name = 'bio'") == [[0]]
    assert query(run, "select id from posts order by 1") == [[1], [2], [99]]


def query_of_status(run: Run) -> dict[str, list[str]]:
    data = json.loads(done(run("status", "--format", "json")))["data"]
    pending = [line["what"] for line in data["lines"] if line["state"] == "pending"]
    return {"pending": pending, "problems": [problem["text"] for problem in data["problems"] if not pending]}


def test_status_lists_what_is_pending_with_its_command(app: Path, run: Run) -> None:
    done(run("initial-setup"))
    migration(app, "001_bio.sql", BIO)
    migration(app, "002_tags.sql", TAGS)
    text = done(run("status"))
    assert re.search(r"^postgres +sql/migrations/001_bio\.sql +pending$", text, re.MULTILINE)
    assert "postgres: 2 migrations are pending\n  hint: run `inv db.migrate`" in text
    done(run("db.migrate"))
    text = done(run("status"))
    assert re.search(r"^postgres +sql/migrations/001_bio\.sql +applied ", text, re.MULTILINE)
    assert "pending" not in text


def test_initial_setup_runs_what_is_pending_and_keeps_the_data(app: Path, run: Run) -> None:
    done(run("initial-setup"))
    done(run("db.query", "insert into posts values (99)", "--write"))
    migration(app, "001_bio.sql", BIO)
    migrated = run("initial-setup")
    done(migrated)
    assert "applied sql/migrations/001_bio.sql (1 statement, 0 rows)" in migrated.stderr
    assert query(run, "select id from posts order by 1") == [[1], [2], [99]]
    assert steps(run("initial-setup"))["db.setup"] == "skip"


def test_an_edited_schema_names_three_ways_and_each_of_them_works(app: Path, run: Run) -> None:
    done(run("initial-setup"))
    write(app, "sql/schema.sql", SCHEMA + "create table more ();")
    refused = run("initial-setup")
    assert (refused.code, commands(refused)) == (
        3,
        ["inv db.setup", "inv undo", "inv db.new-migration NAME", "inv db.schema-load --accept"],
    )
    assert (
        "to keep the data, undo the edit, then run `inv db.new-migration NAME` and write the change" in refused.stderr
    )
    done(run("db.schema-load", "--accept"))
    done(run("initial-setup"))
    assert "-CREATE TABLE public.more" in run("db.diff").stdout  # accepted, and not there

    write(app, "sql/schema.sql", SCHEMA + "create table more (id int);")
    assert run("initial-setup").code == 3
    done(run("db.setup"))
    assert query(run, "select count(*) from more") == [[0]]
    done(run("initial-setup"))

    write(app, "sql/schema.sql", SCHEMA)
    assert run("initial-setup").code == 3
    write(app, "sql/schema.sql", SCHEMA + "create table more (id int);")
    done(run("db.new-migration", "NAME"))
    done(run("initial-setup"))


def test_a_schema_edit_and_a_pending_migration_are_named_together(app: Path, run: Run) -> None:
    done(run("initial-setup"))
    write(app, "sql/schema.sql", SCHEMA + "create table more ();")
    migration(app, "001_bio.sql", BIO)
    for words in (["initial-setup"], ["db.migrate"], ["db.migrate", "--plan"]):
        refused = run(*words)
        assert refused.code == 3, refused
        assert "sql/schema.sql changed since it was applied" in refused.stderr
        assert "sql/migrations/001_bio.sql is pending" in refused.stderr
    assert "undo the edit, then run `inv db.migrate`" in run("initial-setup").stderr
    write(app, "sql/schema.sql", SCHEMA)
    done(run("db.migrate"))
    done(run("initial-setup"))


def test_a_task_alone_brings_schema_and_migrations(app: Path, run: Run) -> None:
    migration(app, "001_bio.sql", BIO)
    seeded = run("db.seed")
    done(seeded)
    expected = {"env.up": "skip", "db.create": "ok", "db.schema-load": "ok", "db.migrate": "ok", "db.seed": "ok"}
    assert steps(seeded) == expected
    assert steps(run("initial-setup"))["db.setup"] == "skip"


def test_a_seed_file_after_a_schema_file_never_brings_the_projects_own(app: Path, run: Run) -> None:
    migration(app, "001_tags.sql", TAGS)
    write(app, "other.sql", "create table other (id int);")
    write(app, "rows.sql", "insert into other values (1);")
    for words in (
        ["db.schema-load", "--file", "other.sql", "db.seed", "--file", "rows.sql"],
        ["db.seed", "--file", "rows.sql", "--force"],
        ["db.seed", "--file", "rows.sql"],
    ):
        done(run(*words))
    assert query(run, "select table_name from information_schema.tables where table_schema = 'public'") == [["other"]]
    write(app, "nothing.sql", "create type mood as enum ('good');")
    write(app, "none.sql", "select 1;")
    done(run("db.drop", "--yes"))
    done(run("db.schema-load", "--file", "nothing.sql"))
    done(run("db.seed", "--file", "none.sql"))
    assert query(run, "select count(*) from information_schema.tables where table_schema = 'public'") == [[0]]


def test_a_diff_is_empty_where_both_are_alike_and_ends_with_1_where_not(app: Path, run: Run) -> None:
    migration(app, "001_bio.sql", BIO)
    done(run("initial-setup"))
    alike = run("db.diff")
    assert (alike.code, alike.stdout, alike.stderr) == (0, "", "")
    assert json.loads(done(run("db.diff", "--format", "json")))["data"] == {"alike": True, "diff": []}
    done(run("db.query", "alter table posts add title text", "--write"))
    different = run("db.diff")
    assert different.code == 1
    assert different.stdout.splitlines()[:2] == ["--- files", "+++ database cruddur"]
    assert "\n+    title text\n" in different.stdout
    data = json.loads(run("db.diff", "--format", "json").stdout)["data"]
    assert (data["alike"], "+    title text" in data["diff"]) == (False, True)


def test_a_file_that_is_no_migration_is_told_before_anything_starts(app: Path, run: Run) -> None:
    migration(app, "001_bio.sql", "alter table users add bio text;")
    for words in (["db.migrate"], ["db.rollback", "--confirm", "cruddur"], ["db.diff"], ["db.setup"]):
        refused = run(*words)
        assert refused.code == 1, refused
        assert "sql/migrations/001_bio.sql:1:1: a migration without `-- migrate:up`" in refused.stderr
        assert "db.create" not in steps(refused)
    named = run("db.new-migration", "a/b")
    assert (named.code, "write a_b" in named.stderr) == (2, True)


@pytest.mark.docker
def test_under_docker_it_is_the_same(app: Path, environ: dict[str, str]) -> None:
    given = {**environ, "LOCALENV_STATE_DIR": f"{environ['LOCALENV_STATE_DIR']}-docker", "LOCALENV_ENGINE": "docker"}
    given |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    given["CONNECTION_URL"] = f"postgresql://postgres:password@localhost:{find_free()}/shop"

    def run(*words: str) -> Finished:
        return inv(*words, environ=given, cwd=app)

    migration(app, "001_bio.sql", BIO)
    try:
        done(run("initial-setup"))
        migration(app, "002_tags.sql", TAGS)
        assert "+CREATE TABLE" not in run("db.diff").stdout and "-CREATE TABLE public.tags" in run("db.diff").stdout
        done(run("db.migrate"))
        assert (run("db.diff").code, run("db.diff").stdout) == (0, "")
        done(run("db.rollback", "--confirm", "shop"))
    finally:
        run("env.destroy", "--confirm", "shop")


Prod = Callable[..., tuple[int, str]]


@pytest.fixture
def prod(
    app: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Prod]:
    """Run a command for production in this process, with AWS played by moto; give its exit code and what it said."""
    given = {"PROD_CONNECTION_URL": environ["CONNECTION_URL"], "CONNECTION_URL": environ["CONNECTION_URL"] + "_local"}
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    for name, value in {**environ, **given, **keys}.items():
        if not name.startswith("AWS_ENDPOINT"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr("tasks._run.read_settings", partial(read_settings, root=app))

    def run(command: str, **arguments: Any) -> tuple[int, str]:
        try:
            GraphExecutor(ns, Config()).execute((command, {"target": "prod", **arguments}))
            code = 0
        except Exit as ended:
            code = ended.code
        return code, "".join(capfd.readouterr())

    with mock_aws():
        forget_clients()
        yield run
    forget_clients()


@pytest.mark.parametrize("made_by", ["this tool", "others"])
def test_production_is_migrated_where_its_name_was_given(app: Path, run: Run, prod: Prod, made_by: str) -> None:
    done(run("initial-setup"))
    if made_by == "others":
        done(run("db.query", "drop schema localenv cascade", "--write"))
    migration(app, "001_bio.sql", BIO)
    code, said = prod("db.migrate", plan=True)
    assert (code, "apply sql/migrations/001_bio.sql" in said) == (0, True), said
    for task in ("db.migrate", "db.rollback"):
        code, said = prod(task)
        assert (code, "run the same command with --confirm cruddur" in said) == (3, True), said
    code, said = prod("db.migrate", confirm="cruddur")
    assert (code, "account 123456789012" in said) == (0, True), said
    assert "pending" not in prod("status")[1]
    code, said = prod("db.rollback", confirm="cruddur")
    assert code == 0, said
    assert re.search(r"sql/migrations/001_bio\.sql +pending", prod("status")[1])
    for name in ("db.diff", "db.new-migration"):
        assert (prod(name)[0], f"{name} does not exist for --target prod" in prod(name)[1]) == (2, True)


@pytest.mark.parametrize("statement", ["truncate users", "truncate users, posts", "delete from posts"])
def test_initial_setup_fills_again_what_others_have_emptied(app: Path, run: Run, statement: str) -> None:
    done(run("initial-setup"))
    done(run("db.query", statement, "--write"))
    done(run("initial-setup"))
    assert query(run, "select handle from users order by 1") == [["ann"], ["bobby"]]
    assert query(run, "select id from posts order by 1") == [[1], [2]]
    assert steps(run("initial-setup"))["db.setup"] == "skip"
