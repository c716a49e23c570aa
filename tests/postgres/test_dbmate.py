"""The real dbmate and this tool on one folder and one database: each takes what the other did as its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.localenv.engines.embedded.home import installed_programs
from tasks.localenv.postgres import ledger, migrating, migrations, scripts, setup
from tasks.localenv.postgres.sqlfile import SqlError, SqlFile
from tasks.localenv.settings import Settings
from tests.support import dbmate as real
from tests.support.projects import build, drift, rows, silent, write

pytestmark = pytest.mark.npm

BIO = "-- migrate:up\nalter table users add bio text;\n\n-- migrate:down\nalter table users drop bio;\n"
INDEX = (
    "-- migrate:up transaction:false\ncreate index concurrently by_handle on users (handle);\n"
    "-- migrate:down transaction:false\ndrop index concurrently by_handle;\n"
)
TAGS = "--migrate:up\r\ncreate table tags (id int);\r\n--migrate:down\r\ndrop table tags;"


@pytest.fixture(scope="session")
def dbmate() -> Path:
    found = real.find_dbmate()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture
def migrated(project: Settings) -> Settings:
    """A database that has the schema and no migration yet, of which there are three."""
    build(project)
    for name, text in {"001_bio.sql": BIO, "20260101000000_index.sql": INDEX, "20260102000000-tags.sql": TAGS}.items():
        write(project.root, f"sql/migrations/{name}", text)
    return project


def pending(project: Settings) -> list[str]:
    return [s.version for s in ledger.observe(project.postgres).pending(scripts.read_scripts(project))]


def status(dbmate: Path, project: Settings) -> list[str]:
    done = real.run(dbmate, project, "status")
    assert done.returncode == 0, done.stderr
    return re.findall(r"^(?:Applied|Pending): \d+$", done.stdout, re.MULTILINE)


def test_after_ours_dbmate_has_nothing_pending(dbmate: Path, migrated: Settings) -> None:
    assert status(dbmate, migrated) == ["Applied: 0", "Pending: 3"]
    migrating.migrate(migrated, silent)
    assert status(dbmate, migrated) == ["Applied: 3", "Pending: 0"]
    assert real.run(dbmate, migrated, "migrate", "--strict").returncode == 0
    migrating.rollback(migrated, silent)
    assert status(dbmate, migrated) == ["Applied: 2", "Pending: 1"]


def test_after_dbmate_ours_has_nothing_pending(dbmate: Path, migrated: Settings) -> None:
    done = real.run(dbmate, migrated, "migrate")
    assert done.returncode == 0, done.stderr
    assert (pending(migrated), drift(migrated)) == ([], [])
    assert setup.read_decision(migrated, typed=True).action == "keep"
    assert migrating.migrate(migrated, silent) == "none pending"
    assert real.run(dbmate, migrated, "rollback").returncode == 0
    assert (pending(migrated), drift(migrated)) == (["20260102000000"], [])
    migrating.migrate(migrated, silent)
    assert real.run(dbmate, migrated, "rollback").returncode == 0
    assert (pending(migrated), drift(migrated)) == (["20260102000000"], [])
    migrating.rollback(migrated, silent)
    assert status(dbmate, migrated) == ["Applied: 1", "Pending: 2"]


def test_a_rebuild_of_ours_is_as_dbmate_would_have_it(dbmate: Path, migrated: Settings) -> None:
    build(migrated, force=True)
    assert status(dbmate, migrated) == ["Applied: 3", "Pending: 0"]


def test_a_schema_that_dbmate_has_dumped_brings_its_versions(dbmate: Path, migrated: Settings) -> None:
    path = str(installed_programs() / "bin")
    assert real.run(dbmate, migrated, "migrate").returncode == 0
    dumped = real.run(
        dbmate, migrated, "--schema-file", "sql/schema.sql", "dump", "--", "--exclude-schema=localenv", path=path
    )
    assert dumped.returncode == 0, dumped.stderr
    text = (migrated.root / "sql/schema.sql").read_text()
    assert "INSERT INTO public.schema_migrations" in text
    seed = "insert into users (uuid, handle) select uuid, handle from pg_temp.people;"
    write(migrated.root, "seeds/sql/1_users.sql", seed)
    build(migrated)
    assert (pending(migrated), drift(migrated)) == ([], [])
    assert rows(migrated, "select bio from users") == [None, None]
    assert status(dbmate, migrated) == ["Applied: 3", "Pending: 0"]


@pytest.mark.parametrize(
    "text",
    [
        BIO,
        TAGS,
        "-- what it is for\n\n  -- more\n--   migrate:up a:b\nselect 1;\n-- migrate:down\n",
        "-- migrate:up -- with a note\nselect 1;\n-- migrate:down",
        "-- migrate:up\n-- migrate:down\n",
        "select 1;\n-- migrate:up\n-- migrate:down\n",
        "/* a */\n-- migrate:up\n-- migrate:down\n",
        "-- migrate:down\n-- migrate:up\n",
        "-- migrate:upwards\nselect 1;\n-- migrate:down\n",
        "  -- migrate:up\nselect 1;\n-- migrate:down\n",
        "-- migrate:up\nselect 1;\n-- migrate:up\nselect 1;\n-- migrate:down\n",
        "-- migrate:up\nselect 1;\n-- migrate:down\n-- migrate:down\n",
        "-- migrate:up\nselect 1;\n-- migrate:down\n-- migrate:up\n-- migrate:down\n",
        "select 1;",
        "",
    ],
)
def test_dbmate_takes_the_files_that_ours_takes_and_no_others(dbmate: Path, project: Settings, text: str) -> None:
    build(project)
    write(project.root, "sql/migrations/001.sql", text)
    try:
        migrations.parse(SqlFile("001.sql", text.encode()))
        is_taken = True
    except SqlError:
        is_taken = False
    done = real.run(dbmate, project, "migrate")
    assert (done.returncode == 0) == is_taken, done.stderr


def test_a_new_file_is_as_dbmate_writes_it(dbmate: Path, project: Settings) -> None:
    assert real.run(dbmate, project, "new", "add_bio").returncode == 0
    migrating.write_new(project.root, migrating.new_file(project.root, "add_tags"))
    theirs, ours = sorted((project.root / "sql/migrations").iterdir(), key=lambda path: path.stem[15:])
    assert ours.read_text() == theirs.read_text()
    assert all(re.fullmatch(r"20\d{12}_add_(bio|tags)\.sql", path.name) for path in (ours, theirs))
