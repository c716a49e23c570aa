"""Conversations for tests, without a file and without Postgres: users, seeds, and messages as the app sends them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ddb import messages
from ddb.seeding import Seeding
from ddb.seeding.conversation import Conversation, Line
from ddb.seeding.stored import Seed
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import plain_item, scan
from tasks.localenv.machine.ages import ago as short_age
from tasks.localenv.postgres.handles import User
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import Person

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=timezone.utc)
"""A whole second: its sort key must have six digits all the same."""
GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
ANDREW = User("11111111-0000-4000-8000-000000000001", "andrewbrown", "Andrew Brown")
BAYKO = User("22222222-0000-4000-8000-000000000002", "bayko", "Andrew Bayko")
LONDO = User("33333333-0000-4000-8000-000000000003", "londo", "Londo Mollari")


def make_seed(texts: Sequence[str], *, group: str = GROUP, users: tuple[User, User] = (ANDREW, BAYKO)) -> Seed:
    """Make a conversation in which two users take turns."""
    people = [Person(user.handle, user.handle, user.display_name, f"{user.handle}@example.com") for user in users]
    lines = [Line(number + 4, number % 2, text) for number, text in enumerate(texts)]
    talk = Conversation("talk.txt", group, (people[0], people[1]), ("talk.txt:2:13", "talk.txt:3:13"), lines)
    return Seed(talk, users)


def make_seeding(settings: Settings, *seeds: Seed, now: datetime = NOW, anew: bool = False) -> Seeding:
    return Seeding(connect(settings), settings.message_table, list(seeds), write, short_age, now, anew)


def plant(settings: Settings, *seeds: Seed, now: datetime = NOW, anew: bool = False) -> str:
    """Seed, and give the sentence about it."""
    return make_seeding(settings, *seeds, now=now, anew=anew).seed(lambda text: None)


def send(settings: Settings, text: str, at: datetime, *, sender: User = BAYKO, group: str = GROUP) -> dict[str, Any]:
    """Send a message as the app does: a random id, and no group rows."""
    item = messages.message_item(group, at, str(uuid.uuid4()), text, sender)
    connect(settings).put_item(TableName=settings.message_table, Item=item)
    return item


def surplus_rows(settings: Settings, count: int, *, before: datetime = NOW) -> None:
    """Put group rows of ANDREW that are too many, such as a function that is not atomic leaves behind."""
    (row, *_) = messages.each_group_row_of(connect(settings), settings.message_table, ANDREW.uuid)
    times = (messages.format_time(before - timedelta(hours=1, seconds=number)) for number in range(count))
    write(connect(settings), settings.message_table, puts({**row, "sk": {"S": at}} for at in times))


def dump(settings: Settings) -> list[dict[str, Any]]:
    """Give every item of the message table as plain values, sorted by key."""
    items = scan(connect(settings), settings.message_table)
    return sorted((plain_item(item) for item in items), key=lambda item: (item["pk"], item["sk"]))


def messages_of(settings: Settings, group: str = GROUP) -> list[tuple[str, str, str]]:
    """Give a group's messages as (time of day and microseconds, handle, text), oldest first."""
    return [
        (item["sk"][11:26], item["user_handle"], item["message"])
        for item in dump(settings)
        if item["pk"] == f"MSG#{group}"
    ]


def rows_of(settings: Settings, group: str = GROUP) -> list[tuple[str, str, str, str]]:
    """Give a group's rows as (whose, time, the other's handle, last message)."""
    owners = {f"GRP#{user.uuid}": user.handle for user in (ANDREW, BAYKO, LONDO)}
    return sorted(
        (owners.get(item["pk"], item["pk"]), item["sk"], item["user_handle"], item["message"])
        for item in dump(settings)
        if item.get("message_group_uuid") == group
    )


def ago(**duration: float) -> datetime:
    """Give a time before NOW."""
    return NOW - timedelta(**duration)
