"""The shapes of the chat's items in DynamoDB: made, read and named. Nothing here talks to a table.

Two kinds of items share the table, and every attribute is a string (S):

- a message: pk `MSG#<group uuid>`, sk its time; message_uuid, message, and who sent it
  (user_uuid, user_display_name, user_handle). It has no message_group_uuid, which keeps it out of the index.
- a group row, one for each of the two users in a group: pk `GRP#<user uuid>`, sk the time of the last message;
  message_group_uuid, message (the last one), and who the *other* user is (user_uuid, user_display_name, user_handle).
  Its time is part of its key: a new last message means a new row, and the old one deleted.

An item is DynamoDB JSON as a client takes and gives it: {"pk": {"S": "MSG#…"}, …}.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

Item = dict[str, Any]


class User(Protocol):
    """Someone who writes messages: a row of the users table."""

    @property
    def uuid(self) -> str: ...
    @property
    def handle(self) -> str: ...
    @property
    def display_name(self) -> str: ...


def format_time(at: datetime) -> str:
    """Write a time as a sort key: ISO 8601 with offset and all six digits of the microseconds.

    The app reads it with %Y-%m-%dT%H:%M:%S.%f%z, which a time without microseconds would break.
    """
    if at.tzinfo is None:
        raise ValueError(f"a time without its offset: {at.isoformat()}")
    return at.isoformat(timespec="microseconds")


def parse_time(sort_key: str) -> datetime:
    """Read the time in a sort key. Raises ValueError for anything that the app could not read either."""
    return datetime.strptime(sort_key, "%Y-%m-%dT%H:%M:%S.%f%z")


def message_item(group: str, at: datetime, message_uuid: str, text: str, sender: User) -> Item:
    """Make a message of a group."""
    return {
        **message_key(group, format_time(at)),
        "message_uuid": {"S": message_uuid},
        "message": {"S": text},
        **user_attributes(sender),
    }


def group_items(group: str, last_message: Item, users: tuple[User, User]) -> list[Item]:
    """Make the two rows of a group, one for each user with the other one's data, from its last message."""
    one, other = users
    return [_group_item(group, last_message, *pair) for pair in ((one, other), (other, one))]


def message_partition(group: str) -> str:
    """Return the pk of a group's messages."""
    return f"MSG#{group}"


def group_partition(user_uuid: str) -> str:
    """Return the pk of a user's group rows."""
    return f"GRP#{user_uuid}"


def key_of(item: Item) -> Item:
    """Return the primary key of an item."""
    return {"pk": item["pk"], "sk": item["sk"]}


def message_key(group: str, sort_key: str) -> Item:
    """Return the primary key of a message."""
    return {"pk": {"S": message_partition(group)}, "sk": {"S": sort_key}}


def sort_key_of(item: Item) -> str:
    """Return the sk of an item."""
    return text_of(item, "sk")


def message_uuid_of(item: Item) -> str:
    """Return the id of a message; empty where it has none."""
    return text_of(item, "message_uuid")


def group_of(item: Item) -> str:
    """Return the group of a group row; empty for a message."""
    return text_of(item, "message_group_uuid")


def user_references(item: Item) -> list[tuple[str, str]]:
    """Name the users in an item: (uuid, handle), the handle empty where only the uuid is there."""
    found = []
    if text_of(item, "pk").startswith("GRP#"):
        found.append((text_of(item, "pk")[4:], ""))
    if text_of(item, "user_uuid"):
        found.append((text_of(item, "user_uuid"), text_of(item, "user_handle")))
    return found


def _group_item(group: str, last_message: Item, owner: User, other: User) -> Item:
    return {
        "pk": {"S": group_partition(owner.uuid)},
        "sk": {"S": sort_key_of(last_message)},
        "message_group_uuid": {"S": group},
        "message": {"S": text_of(last_message, "message")},
        **user_attributes(other),
    }


def user_attributes(user: User) -> Item:
    """Return what an item tells of a user."""
    return {
        "user_uuid": {"S": user.uuid},
        "user_display_name": {"S": user.display_name},
        "user_handle": {"S": user.handle},
    }


def text_of(item: Item, attribute: str) -> str:
    """Return an attribute of an item; empty where it has none."""
    return str(item.get(attribute, {}).get("S", ""))
