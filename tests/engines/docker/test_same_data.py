"""The same seeds give the same data, whichever engine holds it: dumps of both stores, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.dynamodb.tableshape import TableShape
from tasks.localenv.postgres import setup
from tasks.localenv.postgres.connection import connect as connect_postgres
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.support.chats import NOW, dump
from tests.support.environments import environment, permitted, reachable
from tests.support.seeded import quiet, seeding_of

USERS = "SELECT uuid, handle, display_name, email, cognito_user_id FROM users ORDER BY uuid"
ACTIVITIES = """
SELECT
    uuid, user_uuid, message, replies_count, reposts_count, likes_count, reply_to_activity_uuid,
    expires_at - created_at AS lasts
FROM activities
ORDER BY uuid
"""
Contents = dict[str, Any]
Start = Callable[..., Settings]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an engine with services of its own; they are gone afterwards."""
    started: list[Settings] = []

    def run(name: str, **variables: str) -> Settings:
        environ = {**environment(reachable(tmp_path) / name), **variables}
        started.append(permitted(read_settings(environ=environ)))
        engines.up(started[-1], quiet)
        return started[-1]

    yield run
    for settings in started:
        engines.destroy(settings, quiet)


def fill(settings: Settings) -> None:
    """Seed both stores; the last message is at a fixed time."""
    setup.setup(settings, quiet, typed=True)
    schema.apply_tables(connect_dynamodb(settings), read_tables(settings))
    conversations = seeding_of(settings)
    conversations.now = NOW
    conversations.seed(quiet)
    assert (conversations.check() or "").startswith("120 messages and 4 group rows unchanged")


def contents(settings: Settings) -> Contents:
    """Dump both stores."""
    with connect_postgres(settings.postgres) as connection:
        users = connection.execute(USERS).fetchall()
        activities = connection.execute(ACTIVITIES).fetchall()
    found: TableShape = schema.require_table(connect_dynamodb(settings), settings.message_table).shape
    shape = replace(found, table_class=None, encryption=None)  # DynamoDB Local has neither
    return {"users": users, "activities": activities, "table": shape, "items": dump(settings)}


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"LOCALENV_ENGINE": "docker"}, id="docker", marks=pytest.mark.docker),
        pytest.param({"DYNAMODB_LOCAL_JAR": JAR}, id="DynamoDB Local", marks=pytest.mark.jar),
    ],
)
def test_every_engine_holds_the_same_data(start: Start, variables: dict[str, str]) -> None:
    found = {}
    for name, more in (("embedded", {}), ("other", variables)):
        settings = start(name, **more)
        fill(settings)
        found[name] = contents(settings)
    assert (len(found["embedded"]["items"]), len(found["embedded"]["activities"]) >= 10) == (124, True)
    assert found["other"] == found["embedded"]
