"""Where an id is in the chat's items: those of a user or a group by their keys, all others by looking at every item.

Stateless functions, a boto3 DynamoDB client first, nothing but the standard library. The shapes are in items.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .items import Item, group_of, group_partition, message_partition, message_uuid_of, text_of
from .messages import GROUP_INDEX, each_group_row_of, each_message, each_row_in_group

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


See = Callable[[Item], None]


@dataclass(frozen=True)
class Mention:
    """An item that names an id: what it is to it ("message sent"), and the group that it is in, its bundle."""

    what: str
    bundle: str
    item: Item


def of_user(
    client: DynamoDBClient, table: str, user_uuid: str, *, see: See = lambda item: None, every_row: bool = False
) -> Iterator[Mention]:
    """Yield the items that name a user: own group rows, the rows of the others in those groups, messages sent there.

    `see` is shown whatever is read of these groups. `every_row`: look through the rows of all groups too, for one
    that tells of the user in a group where the own row is missing.
    """
    groups: dict[str, None] = {}
    for row in each_group_row_of(client, table, user_uuid):
        groups[group_of(row)] = None
        yield Mention("own group row", group_of(row), row)
    if every_row:
        groups.update(dict.fromkeys(map(group_of, _each_row_about(client, table, user_uuid))))
    for group in filter(None, groups):
        for mention in of_group(client, table, group, see=see):
            if text_of(mention.item, "user_uuid") == user_uuid:
                what = "message sent" if mention.what == "message" else "group row of another user"
                yield Mention(what, group, mention.item)


def of_group(client: DynamoDBClient, table: str, group: str, *, see: See = lambda item: None) -> Iterator[Mention]:
    """Yield the items of a group: its rows, then its messages. `see` is shown each of them."""
    for what, items in (
        ("group row", each_row_in_group(client, table, group)),
        ("message", each_message(client, table, group)),
    ):
        for item in items:
            see(item)
            yield Mention(what, group, item)


def anywhere(client: DynamoDBClient, table: str, uuid: str) -> Mention | None:
    """Return the first item that has the id in any attribute that holds one. Reads the table up to there."""
    where = "message_uuid = :id OR user_uuid = :id OR message_group_uuid = :id"
    found = next(_scan(client, table, where, uuid), None)
    return _mention(found, uuid) if found else None


def _each_row_about(client: DynamoDBClient, table: str, user_uuid: str) -> Iterator[Item]:
    """Return the rows that show a user as the other one. Reads the index, which has nothing but rows."""
    return _scan(client, table, "user_uuid = :id", user_uuid, IndexName=GROUP_INDEX)


def _scan(client: DynamoDBClient, table: str, where: str, identifier: str, **more: str) -> Iterator[Item]:
    query: dict[str, Any] = {
        "TableName": table,
        "FilterExpression": where,
        "ExpressionAttributeValues": {":id": {"S": identifier}},
        **more,
    }
    while True:
        answer = client.scan(**query)
        yield from answer["Items"]
        if not answer.get("LastEvaluatedKey"):
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _mention(item: Item, uuid: str) -> Mention:
    group = group_of(item) or text_of(item, "pk").removeprefix(message_partition(""))
    is_row = text_of(item, "pk").startswith(group_partition(""))
    if message_uuid_of(item) == uuid:
        return Mention("a message", group, item)
    if text_of(item, "user_uuid") == uuid:
        return Mention("the other user of a group row" if is_row else "the sender of a message", group, item)
    return Mention("the group of a group row", group, item)
