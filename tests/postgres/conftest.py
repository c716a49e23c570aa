"""Fixtures for tests of what a database is made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.settings import Settings
from tests.support.keeping import keeping_databases
from tests.support.projects import PEOPLE, POSTS, SCHEMA, SEED, write


@pytest.fixture
def project(database: Settings, tmp_path: Path) -> Settings:
    """A project of its own: a schema of two tables, two seeds, two people."""
    for name, text in {
        "sql/schema.sql": SCHEMA,
        "seeds/sql/1_users.sql": SEED,
        "seeds/sql/2_posts.sql": POSTS,
        "seeds/people.csv": PEOPLE,
    }.items():
        write(tmp_path, name, text)
    return keeping_databases(replace(database, root=tmp_path))
