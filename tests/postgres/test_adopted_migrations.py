"""docs/adopt.md on numbered Python migrations: its script and its statement are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import migrating
from tasks.localenv.settings import Settings
from tests.support.projects import build, rows, run_sql, silent, write

OLD = '''from lib.db import db

class Migration:
  def migrate_sql():
    data = """
    {up};
    """
    return data
  def rollback_sql():
    data = """
    {down};
    """
    return data

  def migrate():
    db.query_commit(Migration.migrate_sql(),{{}})

migration = Migration
'''
FOLDER = "backend-flask/db/migrations"


def blocks(language: str) -> list[str]:
    section = (TOOL / "docs/adopt.md").read_text().partition("## Numbered Python migrations")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_old_migrations_become_sql_and_those_that_ran_stay_applied(project: Settings) -> None:
    bio = {"up": "alter table users add bio text", "down": "alter table users drop bio"}
    tags = {"up": "create table tags (id int)", "down": "drop table tags"}
    write(project.root, f"{FOLDER}/16815287259_add_bio.py", OLD.format(**bio))
    write(project.root, f"{FOLDER}/16815301235_add_tags.py", OLD.format(**tags))
    build(project)
    run_sql(project, f"{bio['up']}; create table schema_information (id int unique, last_successful_run text)")
    run_sql(project, "insert into schema_information values (1, '16815287259')")

    (script,) = blocks("python")
    subprocess.run([sys.executable, "-c", script], cwd=project.root, check=True)
    text = (project.root / "sql/migrations/16815287259_add_bio.sql").read_text()
    assert text == f"-- migrate:up\n{bio['up']};\n\n-- migrate:down\n{bio['down']};\n"
    (statement,) = blocks("sql")
    run_sql(project, statement)
    assert migrating.migrate(project, silent) == "applied sql/migrations/16815301235_add_tags.sql (1 statement, 0 rows)"
    assert rows(project, "select version from schema_migrations order by 1") == ["16815287259", "16815301235"]
    migrating.rollback(project, silent)
    migrating.rollback(project, silent)
    assert rows(project, "select to_regclass('tags') is null") == [True]
