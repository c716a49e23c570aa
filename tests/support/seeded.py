"""A whole environment for tests: database, pool and table of their own, filled from the project's seeds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ddb import chat
from ddb.seeding import Seeding
from tasks.localenv.cognito import seed, sync
from tasks.localenv.cognito.sync import Queries
from tasks.localenv.dynamodb import itemwriter, schema, tablefiles
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.machine.ages import ago
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import setup
from tasks.localenv.postgres.handles import Lookup, fetch_users
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import find_person, read_people

USERS = TOOL / "sql" / "users"
CREATE = TOOL / "sql" / "sign_up" / "create_user.sql"
QUERIES = Queries(USERS / "cognito_ids.sql", USERS / "set_cognito_user_ids.sql", CREATE)
LOOKUP = Lookup(USERS / "by_handles.sql", USERS / "handles.sql")
PEOPLE = read_people(TOOL)


def quiet(line: str) -> None:
    """Take a line of progress and keep it to oneself."""


def own(live: Settings, state_dir: Path) -> Settings:
    """Give `live` for a project of its own: no pool is called after it yet, no database is marked as its own."""
    return replace(live, project_id=f"test-{uuid.uuid4().hex[:8]}", state_dir=state_dir)


def fill(settings: Settings) -> None:
    """Do what initial-setup does once the services run."""
    setup.setup(settings, quiet, typed=True)
    seed.apply(settings, PEOPLE)
    sync.apply(settings, QUERIES, sync.compare(settings, QUERIES))
    schema.apply_tables(connect(settings), tablefiles.read_tables(settings))
    seeding_of(settings).seed(quiet)


def seeding_of(settings: Settings, inside: Any = None) -> Seeding:
    """Read the shipped conversations as ddb.seed does."""
    paths = sorted((TOOL / chat.SEEDS).glob(chat.PATTERN))
    return chat.prepare(
        connect(settings),
        settings.message_table,
        [(str(path.relative_to(TOOL)), path.read_bytes()) for path in paths],
        find_person=partial(find_person, PEOPLE),
        find_users=lambda wanted: fetch_users(settings, LOOKUP, wanted, quiet, inside=inside),
        write=itemwriter.write,
        ago=ago,
    )


def eager(app: ModuleType = chat) -> Any:
    """Give the app's part, which does not wait before it looks again."""
    return SimpleNamespace(**{**vars(app), "confirmed": partial(chat.confirmed, sleep=lambda seconds: None)})


@contextmanager
def half_replaced(settings: Settings) -> Iterator[str]:
    """Leave what a replacement of the message table leaves that was cut short; give what is said of it."""
    client, name = connect(settings), settings.message_table
    client.create_table(
        TableName=f"{name}.replacing",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    schema.wait_until_active(client, f"{name}.replacing")
    yield f"table {name} is half replaced: its 0 items are safe in {name}.replacing"
    client.update_table(TableName=f"{name}.replacing", DeletionProtectionEnabled=False)
    client.delete_table(TableName=f"{name}.replacing")


def complete(live: Settings, state_dir: Path, database: Settings, fresh: Settings) -> Settings:
    """Give the settings of a filled environment; the fixtures `database` and `fresh` remove what was made."""
    mine = replace(own(live, state_dir), postgres=database.postgres, message_table=fresh.message_table)
    fill(mine)
    return mine
