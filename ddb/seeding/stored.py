"""What a table holds of a conversation, against what its file says: observed and compared, never changed.

A seeded message is known by its id, which is derived from the group and its number in the file. Everything else in
the group was sent by somebody and is nobody's business here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import messages
from ..messages import Item, User
from .conversation import Conversation

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NAMESPACE = uuid.UUID("6f1c7a5e-2f39-5c0b-9a64-0f6f0b8b1d11")
"""Root of every derived id; a change of it would orphan what was seeded before."""
SPACING = timedelta(minutes=1)
MARGIN = 1000
"""How far beyond the known messages an interrupted or longer seed may have come: batches end out of order."""


@dataclass(frozen=True)
class Seed:
    """A conversation between two known users: every message of it, given the time of the last one."""

    conversation: Conversation
    users: tuple[User, User]

    @property
    def group(self) -> str:
        return self.conversation.group

    @property
    def size(self) -> int:
        return len(self.conversation.lines)

    def message(self, index: int, last_at: datetime) -> Item:
        """Make message number `index`, one minute after the one before."""
        line = self.conversation.lines[index]
        at = last_at - SPACING * (self.size - 1 - index)
        return messages.message_item(self.group, at, message_id(self.group, index), line.text, self.users[line.speaker])

    def group_rows(self, last_message: Item) -> list[Item]:
        """Make the group row of each of the two."""
        return messages.group_items(self.group, last_message, self.users)


@dataclass
class Stored:
    """What was seen of a conversation in a table.

    `seeded` are the sort keys of its seeded messages and `sent` those of all others, newest first. `last_at` is the
    time of the newest seeded message. `matches`: the seeded ones are those of the file, and nothing is amiss.
    """

    seeded: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    last_at: datetime | None = None
    matches: bool = True
    newest: Item | None = None
    newest_sent: Item | None = None
    group_rows: list[Item] = field(default_factory=list)


def message_id(group: str, index: int) -> str:
    """Derive the id of a seeded message."""
    return str(uuid.uuid5(NAMESPACE, f"message/{group}/{index}"))


def time_of(sort_key: str) -> datetime | None:
    """Return the time in a sort key; None where there is none."""
    try:
        return messages.parse_time(sort_key)
    except ValueError:
        return None


def observe(client: DynamoDBClient, table: str, seed: Seed) -> Stored:
    """Read a group's messages and rows. Holds the messages' keys in memory, and their texts a page at a time."""
    ids = _SeededIds(seed.group, seed.size)
    stored, unknown = _observe_messages(client, table, seed, ids.index_of)
    if unknown:
        ids.grow(seed.size + len(stored.seeded) + unknown + MARGIN)
        stored, _ = _observe_messages(client, table, seed, ids.index_of)
    stored.group_rows = list(messages.each_row_in_group(client, table, seed.group))
    return stored


def is_as_seeded(seed: Seed, stored: Stored, now: datetime) -> bool:
    """Return whether messages and group rows are those of the file, and show: this year's, and not in the future."""
    return why_not_as_seeded(seed, stored, now) == "" and are_rows_right(seed, stored)


def why_not_as_seeded(seed: Seed, stored: Stored, now: datetime) -> str:
    """Return why the messages must be written anew; empty where they are right."""
    if not stored.seeded:
        return "not there yet"
    if stored.last_at is None or not stored.matches or len(stored.seeded) != seed.size:
        return "not as the file and the users are now"
    if stored.last_at > now:
        return "in the future"
    took = SPACING * (seed.size - 1)
    begun_in, could_begin_in = (stored.last_at - took).year, (now - took).year
    if stored.last_at.year < now.year or begun_in < could_begin_in == now.year:
        return f"begun in {begun_in}, and the app shows those of this year"
    return ""


def are_rows_right(seed: Seed, stored: Stored) -> bool:
    """Return whether each of the two users has one row with the last message, and nobody else has any."""
    return stored.newest is not None and _sorted(stored.group_rows) == _sorted(seed.group_rows(stored.newest))


def _observe_messages(
    client: DynamoDBClient, table: str, seed: Seed, index_of: Callable[[str], int | None]
) -> tuple[Stored, int]:
    """Go through the messages once; also count the ids that may be derived from numbers not tried yet."""
    stored, unknown, expected = Stored(), 0, seed.size
    for item in messages.each_message(client, table, seed.group):
        stored.newest = stored.newest or item
        identifier, sort_key = messages.message_uuid_of(item), messages.sort_key_of(item)
        index = index_of(identifier)
        if index is None:
            unknown += _is_derived(identifier)
            stored.sent.append(sort_key)
            stored.newest_sent = stored.newest_sent or item
            continue
        expected -= 1
        if not stored.seeded:
            stored.last_at = time_of(sort_key)
        stored.seeded.append(sort_key)
        stored.matches = (
            stored.matches
            and index == expected
            and stored.last_at is not None
            and item == seed.message(index, stored.last_at)
        )
    return stored, unknown


class _SeededIds:
    """The ids of a group's seeded messages, and the number of each in its file."""

    def __init__(self, group: str, size: int) -> None:
        self._group = group
        self._indexes: dict[str, int] = {}
        self.grow(size)

    def grow(self, size: int) -> None:
        for index in range(len(self._indexes), size):
            self._indexes[message_id(self._group, index)] = index

    def index_of(self, identifier: str) -> int | None:
        return self._indexes.get(identifier)


def _is_derived(identifier: str) -> bool:
    """Return whether an id may be derived: RFC 9562, version 5. The app's own are random: version 4."""
    try:
        return uuid.UUID(identifier).version == 5
    except ValueError:
        return False


def _sorted(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda item: repr(sorted(item.items())))  # engines differ in the order of attributes
