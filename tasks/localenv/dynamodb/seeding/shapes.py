"""What seeding must know of the app's items. The app's own module (ddb/messages.py) is one of these."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from .users import User

Item = dict[str, Any]
"""An item in DynamoDB JSON: {"pk": {"S": "…"}, …}."""


class Shapes(Protocol):
    """A module that makes, reads and finds messages and group rows.

    A message belongs to a group and is sorted by its time; a group row tells one of its users the last message.
    """

    def format_time(self, at: datetime) -> str:
        """Write a time as a sort key."""
        ...

    def parse_time(self, sort_key: str) -> datetime:
        """Read the time in a sort key. Raises ValueError."""
        ...

    def message_item(self, group: str, at: datetime, message_uuid: str, text: str, sender: User) -> Item:
        """Make a message."""
        ...

    def group_items(self, group: str, last_message: Item, users: tuple[User, User]) -> list[Item]:
        """Make the row of each user."""
        ...

    def key_of(self, item: Item) -> Item:
        """Give the primary key of an item."""
        ...

    def message_key(self, group: str, sort_key: str) -> Item:
        """Give the primary key of a message."""
        ...

    def sort_key_of(self, item: Item) -> str:
        """Give the sort key of an item."""
        ...

    def message_uuid_of(self, item: Item) -> str:
        """Give the id of a message, or an empty string."""
        ...

    def group_of(self, item: Item) -> str:
        """Give the group of a group row, or an empty string."""
        ...

    def each_message(self, client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
        """Give every message of a group, newest first, consistently."""
        ...

    def each_group_row_of(self, client: DynamoDBClient, table: str, user_uuid: str) -> Iterator[Item]:
        """Give every group row of a user, consistently."""
        ...

    def each_row_in_group(self, client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
        """Give every row of a group, whoever's it is."""
        ...

    def settle_rows(self, client: DynamoDBClient, table: str, group: str, users: tuple[User, User]) -> tuple[int, int]:
        """Give each of the two, and nobody else, one row with the group's newest message; count puts and deletions.

        Safe beside others who write to the group.
        """
        ...
