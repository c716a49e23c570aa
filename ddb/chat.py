"""The chat as a part of an environment: what its seeds write, what in its items refers to whom, and what is newest.

Whoever runs the environment asks here, and knows of the chat nothing else. What they ask for is listed in
tasks/localenv/environment/app.py; nothing is imported from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from .causes import CAUSES, FORMER, ROWS
from .consistency import Survey, confirmed, references
from .mending import repairs
from .messages import Busy, list_message_groups
from .references import anywhere, of_user
from .references import of_group as of_bundle
from .relinking import successors
from .seeding import prepare
from .seeding.conversation import Mistake
from .seeding.conversation import read_conversations as read_seeds
from .seeding.stored import time_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SEEDS = "seeds/conversations"
PATTERN = "*.txt"
RECORDS = (("activity", "sql/activities/object.sql"),)
NEWEST = "message"
BUNDLE = "group"
FOLLOWED = ROWS

__all__ = [
    "BUNDLE",
    "CAUSES",
    "FOLLOWED",
    "FORMER",
    "NEWEST",
    "PATTERN",
    "RECORDS",
    "SEEDS",
    "Busy",
    "Mistake",
    "anywhere",
    "confirmed",
    "newest",
    "of_bundle",
    "of_user",
    "prepare",
    "read_seeds",
    "references",
    "repairs",
    "successors",
    "survey",
]


def survey() -> Survey:
    """Begin to look at items."""
    return Survey()


def newest(client: DynamoDBClient, table: str, users: Iterable[str]) -> datetime | None:
    """Return the time of the newest message that any of these users sees."""
    pages = (list_message_groups(client, table, user, limit=1) for user in users)
    return latest(row["sk"] for page in pages for row in page.items)


def latest(sort_keys: Iterable[str]) -> datetime | None:
    """Return the latest of these times; those that cannot be read do not count."""
    return max(filter(None, map(time_of, sort_keys)), default=None)
