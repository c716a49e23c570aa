"""A small project with a database of its own, and what tests of its files do to both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.localenv.postgres import decision, ledger, scripts, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings

SCHEMA = "create table users (uuid uuid primary key, handle text not null);\ncreate table posts (id int);\n"
SEED = "insert into users select uuid, handle from pg_temp.people;\n"
POSTS = "insert into posts values (1), (2);\n"
PEOPLE = "person,handle,display_name,email\nann,ann,Ann,ann@example.com\nbob,bobby,Bob,bob@example.com\n"


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def silent(_: str) -> None:
    pass


def build(project: Settings, **options: Any) -> str:
    return setup.setup(project, silent, **{"typed": True, **options})


def rows(settings: Settings, query: str, *, database: str | None = None) -> list[Any]:
    with connect(settings.postgres, database=database) as conn:
        return [row[0] if len(row) == 1 else row for row in conn.execute(query.encode()).fetchall()]


def run_sql(settings: Settings, statement: str, *, database: str | None = None) -> None:
    with connect(settings.postgres, database=database, autocommit=True) as conn:
        conn.execute(statement.encode())


def drift(project: Settings) -> list[str]:
    return decision.differences(scripts.read_scripts(project), ledger.observe(project.postgres))


def handles(settings: Settings) -> list[str]:
    return rows(settings, "select handle from users order by 1")
