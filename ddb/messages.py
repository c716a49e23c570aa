"""The chat's items in DynamoDB: their shapes, and the queries that find them.

For the app as much as for this project's commands: stateless functions, a boto3 DynamoDB client first, nothing but
the standard library. Two kinds of items share the table, and every attribute is a string (S):

- a message: pk `MSG#<group uuid>`, sk its time; message_uuid, message, and who sent it
  (user_uuid, user_display_name, user_handle). It has no message_group_uuid, which keeps it out of the index.
- a group row, one for each of the two users in a group: pk `GRP#<user uuid>`, sk the time of the last message;
  message_group_uuid, message (the last one), and who the *other* user is (user_uuid, user_display_name, user_handle).
  Its time is part of its key: a new last message means a new row, and the old one deleted.

An item is DynamoDB JSON as a client takes and gives it: {"pk": {"S": "MSG#…"}, …}.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]

GROUP_INDEX = "message-group-sk-index"
PAGE_SIZE = 20


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
        **_user_attributes(sender),
    }


def group_items(group: str, last_message: Item, users: tuple[User, User]) -> list[Item]:
    """Make the two rows of a group, one for each user with the other one's data, from its last message."""
    one, other = users
    return [_group_item(group, last_message, *pair) for pair in ((one, other), (other, one))]


def message_partition(group: str) -> str:
    """Give the pk of a group's messages."""
    return f"MSG#{group}"


def group_partition(user_uuid: str) -> str:
    """Give the pk of a user's group rows."""
    return f"GRP#{user_uuid}"


def key_of(item: Item) -> Item:
    """Give the primary key of an item."""
    return {"pk": item["pk"], "sk": item["sk"]}


def message_key(group: str, sort_key: str) -> Item:
    """Give the primary key of a message."""
    return {"pk": {"S": message_partition(group)}, "sk": {"S": sort_key}}


def sort_key_of(item: Item) -> str:
    """Give the sk of an item."""
    return _text(item, "sk")


def message_uuid_of(item: Item) -> str:
    """Give the id of a message; empty where it has none."""
    return _text(item, "message_uuid")


def group_of(item: Item) -> str:
    """Give the group of a group row; empty for a message."""
    return _text(item, "message_group_uuid")


def user_references(item: Item) -> list[tuple[str, str]]:
    """Name the users in an item: (uuid, handle), the handle empty where only the uuid is there."""
    found = []
    if _text(item, "pk").startswith("GRP#"):
        found.append((_text(item, "pk")[4:], ""))
    if _text(item, "user_uuid"):
        found.append((_text(item, "user_uuid"), _text(item, "user_handle")))
    return found


def list_messages(
    client: DynamoDBClient, table: str, group: str, *, year: int | None = None, limit: int = PAGE_SIZE
) -> list[dict[str, str]]:
    """Give the newest messages of a group, newest first; `year` leaves out those of other years."""
    return _newest(client, table, message_partition(group), year, limit)


def list_message_groups(
    client: DynamoDBClient, table: str, user_uuid: str, *, year: int | None = None, limit: int = PAGE_SIZE
) -> list[dict[str, str]]:
    """Give a user's groups with their last messages, newest first; `year` leaves out those of other years."""
    return _newest(client, table, group_partition(user_uuid), year, limit)


def each_message(client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
    """Give every message of a group as it is now, newest first, a page of 1 MB at a time."""
    return _each(client, **_partition(table, message_partition(group)), ScanIndexForward=False, ConsistentRead=True)


def each_group_row_of(client: DynamoDBClient, table: str, user_uuid: str) -> Iterator[Item]:
    """Give every group row of a user as it is now, oldest first."""
    return _each(client, **_partition(table, group_partition(user_uuid)), ConsistentRead=True)


def each_row_in_group(client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
    """Give every group row of a group, whoever's it is. From the index: on AWS a new row takes a moment to show."""
    return _each(
        client,
        TableName=table,
        IndexName=GROUP_INDEX,
        KeyConditionExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":group": {"S": group}},
    )


def _group_item(group: str, last_message: Item, owner: User, other: User) -> Item:
    return {
        "pk": {"S": group_partition(owner.uuid)},
        "sk": {"S": sort_key_of(last_message)},
        "message_group_uuid": {"S": group},
        "message": {"S": _text(last_message, "message")},
        **_user_attributes(other),
    }


def _user_attributes(user: User) -> Item:
    return {
        "user_uuid": {"S": user.uuid},
        "user_display_name": {"S": user.display_name},
        "user_handle": {"S": user.handle},
    }


def _text(item: Item, attribute: str) -> str:
    return str(item.get(attribute, {}).get("S", ""))


def _partition(table: str, pk: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
    }


def _newest(client: DynamoDBClient, table: str, pk: str, year: int | None, limit: int) -> list[dict[str, str]]:
    query = _partition(table, pk)
    if year is not None:
        query["KeyConditionExpression"] += " AND begins_with(sk, :year)"
        query["ExpressionAttributeValues"][":year"] = {"S": f"{year:04}"}
    answer = client.query(**query, ScanIndexForward=False, Limit=limit)
    return [{name: str(value.get("S", "")) for name, value in item.items()} for item in answer["Items"]]


def _each(client: DynamoDBClient, **query: Any) -> Iterator[Item]:
    """Follow a query through its pages (Amazon DynamoDB Developer Guide, "Paginating table query results")."""
    while True:
        answer = client.query(**query)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
