"""The way back to the seeds: all stores, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.client import connect as dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.environment import stores
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.support.environments import permitted
from tests.support.seeded import PEOPLE, QUERIES, complete, quiet, seeding_of


@pytest.fixture
def whole(live: Settings, tmp_path: Path, database: Settings, fresh: Settings) -> Settings:
    """A filled environment of its own, in which a row and an item are gone."""
    settings = complete(live, tmp_path, database, fresh)
    with connect(settings.postgres) as connection:
        connection.execute(b"DELETE FROM activities")
    client, table = dynamodb(settings), settings.message_table
    item: Any = next(scan(client, table))
    client.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    return permitted(settings)


def held(settings: Settings) -> tuple[int, int]:
    """Count the activities and the items."""
    with connect(settings.postgres) as connection:
        row = connection.execute("SELECT count(*) FROM activities").fetchone()
    return (row[0] if row else 0), sum(1 for _ in scan(dynamodb(settings), settings.message_table))


def reset(settings: Settings, **changes: Any) -> str:
    given: dict[str, Any] = {
        "people": PEOPLE,
        "queries": QUERIES,
        "tables": read_tables(settings),
        "prepare": lambda conn: seeding_of(settings, conn),
        "say": quiet,
        "yes": True,
    }
    return stores.reset(settings, **{**given, **changes})


def test_every_store_is_back(whole: Settings) -> None:
    reset(whole)
    activities, items = held(whole)
    assert (activities > 0, items) == (True, 124)


def test_seeds_that_cannot_be_written_leave_every_store_as_it_is(whole: Settings) -> None:
    before = held(whole)

    def prepare(conn: Any) -> None:
        assert conn.execute("SELECT count(*) FROM activities").fetchone()[0] > 0
        raise LocalEnvError("nobody is called so")

    with pytest.raises(LocalEnvError, match="nobody is called so"):
        reset(whole, prepare=prepare)
    assert held(whole) == before


def test_users_of_whom_the_pool_will_have_none_leave_every_store_as_it_is(whole: Settings) -> None:
    before = held(whole)
    with pytest.raises(LocalEnvError, match=r"^none of the \d users in the seeds has a user in the pool$"):
        reset(whole, people=[])
    assert held(whole) == before
