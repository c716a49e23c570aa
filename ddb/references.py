"""Where an id is in the chat's items: those of a user or a group by their keys, all others by looking at every item.

Stateless functions, a boto3 DynamoDB client first, nothing but the standard library. The shapes are in items.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .items import Item, group_of, group_partition, message_partition, message_uuid_of, text_of
from .items import user_references as user_references
from .messages import each_group_row_of, each_message, each_row_in_group

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Mention:
    """An item that names an id: what it is to it ("message sent"), and the group that it is in."""

    what: str
    group: str
    item: Item


def of_user(client: DynamoDBClient, table: str, user_uuid: str) -> Iterator[Mention]:
    """Give the items that name a user: own group rows, the rows of the others in those groups, messages sent there."""
    groups: dict[str, None] = {}
    for row in each_group_row_of(client, table, user_uuid):
        groups[group_of(row)] = None
        yield Mention("own group row", group_of(row), row)
    for group in filter(None, groups):
        for row in each_row_in_group(client, table, group):
            if text_of(row, "user_uuid") == user_uuid:
                yield Mention("group row of another user", group, row)
        for message in each_message(client, table, group):
            if text_of(message, "user_uuid") == user_uuid:
                yield Mention("message sent", group, message)


def of_group(client: DynamoDBClient, table: str, group: str) -> Iterator[Mention]:
    """Give the items of a group: its rows, then its messages."""
    yield from (Mention("group row", group, row) for row in each_row_in_group(client, table, group))
    yield from (Mention("message", group, message) for message in each_message(client, table, group))


def anywhere(client: DynamoDBClient, table: str, uuid: str) -> Mention | None:
    """Give the first item that has the id in any attribute that holds one. Reads the table up to there."""
    query: dict[str, Any] = {
        "TableName": table,
        "FilterExpression": "message_uuid = :id OR user_uuid = :id OR message_group_uuid = :id",
        "ExpressionAttributeValues": {":id": {"S": uuid}},
    }
    while True:
        answer = client.scan(**query)
        for item in answer["Items"]:
            return _mention(item, uuid)
        if not answer.get("LastEvaluatedKey"):
            return None
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _mention(item: Item, uuid: str) -> Mention:
    group = group_of(item) or text_of(item, "pk").removeprefix(message_partition(""))
    is_row = text_of(item, "pk").startswith(group_partition(""))
    if message_uuid_of(item) == uuid:
        return Mention("a message", group, item)
    if text_of(item, "user_uuid") == uuid:
        return Mention("the other user of a group row" if is_row else "the sender of a message", group, item)
    return Mention("the group of a group row", group, item)
