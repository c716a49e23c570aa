"""The chat's access patterns: stateless functions, a DynamoDB client first. For the app as much as for the commands.

    A  list_messages         the messages of a group, newest first, page by page
    B  list_message_groups   a user's groups with their last messages, newest first, page by page
    C  create_message_group  a message to somebody, which starts a group where the two have none
    D  create_message        a message into a group
    E  settle_rows           the rows of a group at its newest message (streams/group_rows.py does it for each message)

The client is boto3's, or any with its methods whose errors have botocore's `response`; nothing else is needed but the
standard library. Users and groups may be uuid.UUID as well. The shapes of the items are in items.py, and can be had
from here.

C and D are one transaction each: message and rows, or nothing. They are safe beside each other and beside the stream's
function: one row a user and group, no message over another one, no row back at an older message.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .claims import Claim
from .items import Item as Item
from .items import User as User
from .items import format_time as format_time
from .items import group_items as group_items
from .items import group_of as group_of
from .items import group_partition as group_partition
from .items import key_of as key_of
from .items import message_item as message_item
from .items import message_key as message_key
from .items import message_partition as message_partition
from .items import message_uuid_of as message_uuid_of
from .items import parse_time as parse_time
from .items import sort_key_of as sort_key_of
from .items import text_of, user_attributes
from .items import user_references as user_references
from .streams import group_rows
from .streams.group_rows import GROUP_INDEX as GROUP_INDEX
from .streams.transactions import MOST_ACTIONS, Attempts, commit, is_too_large
from .streams.transactions import Busy as Busy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PAGE_SIZE = 20
READ_AT_ONCE = 1000
ITEM_LIMIT_BYTES = 400 * 1024
CLOCKS_APART = timedelta(minutes=1)
"""How far the clock of somebody who sent the last message may be ahead for the next one still to come after it."""
MICROSECOND = timedelta(microseconds=1)


class NotSent(Exception):
    """A message cannot be sent as asked for: its text, the receiver, or the group, is not one for this sender."""


@dataclass(frozen=True)
class _Person:
    """A user as the items have one."""

    uuid: str
    handle: str
    display_name: str


@dataclass(frozen=True)
class Page:
    """Some items as plain values ({"pk": "…", "message": "…", …}), newest first.

    `cursor` goes as `before` into the call for the next page; it is empty on the last one. `capacity` is what the
    reading consumed, in units: total, table, index; empty where the engine does not tell. A limit below 1: ValueError.
    """

    items: list[dict[str, str]]
    cursor: str
    capacity: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """A message that was sent: its item as plain values, its group, and whether the group is new."""

    group: str
    message: dict[str, str]
    is_new_group: bool
    capacity: dict[str, float] = field(default_factory=dict)


def list_messages(client: DynamoDBClient, table: str, group: str, *, limit: int = PAGE_SIZE, before: str = "") -> Page:
    """Pattern A: give the newest messages of a group, or those before the time `before` (a page's cursor)."""
    return _page(client, table, message_partition(group), limit, before)


def list_message_groups(
    client: DynamoDBClient, table: str, user_uuid: str, *, limit: int = PAGE_SIZE, before: str = ""
) -> Page:
    """Pattern B: give a user's group rows, newest last message first, or the next ones before the time `before`."""
    return _page(client, table, group_partition(user_uuid), limit, before)


def create_message_group(
    client: DynamoDBClient, table: str, sender: User, receiver: User | None, text: str, *, at: datetime | None = None
) -> Sent:
    """Pattern C: send a message to somebody, into the group of the two; where they have none it starts one.

    Two who do so at once come into the same group: whoever starts one holds a claim (an item `NEW#…` of its own) until
    message and rows are there. A `receiver` not known is None. `at` as for create_message. Raises NotSent, Busy.
    """
    if receiver is None:
        raise NotSent("there is no such receiver")
    sender, receiver = _person(sender), _person(receiver)
    if sender.uuid == receiver.uuid:
        raise NotSent(f"{sender.handle} cannot write to themselves")
    _check(text, sender, receiver)
    with Claim(client, table, sender.uuid, receiver.uuid) as claim:
        previous = None
        for _ in (tries := Attempts()):
            group = find_group(client, table, sender.uuid, receiver.uuid)
            if group:
                return create_message(client, table, group, sender, text, at=at, receiver=receiver)
            # Once the claim is ours nobody else starts a group, and what was started before is seen the next time.
            if not claim.is_held:
                claim.take(tries)
                continue
            previous = _time_for(at, [], previous)
            group = str(uuid.uuid4())
            item = message_item(group, previous, str(uuid.uuid4()), text, sender)
            rows = group_items(group, item, (sender, receiver))
            answer = claim.spend([_put_new(table, one) for one in (item, *rows)], tries)
            if answer is not None:
                return Sent(group, _plain(item), True, _capacity(answer))
    raise AssertionError


def create_message(
    client: DynamoDBClient,
    table: str,
    group: str,
    sender: User,
    text: str,
    *,
    at: datetime | None = None,
    receiver: User | None = None,
) -> Sent:
    """Pattern D: send a message into a group that the sender is in, and move the rows of both to it.

    Its time is now, or `at`; a microsecond or more later where that is taken. Where the clock of another sender is
    ahead by less than a minute, now is just after the last message. A message that is older than the rows leaves them.
    With `receiver` the sender's own row gets their present names. Where there are more surplus rows than a transaction
    takes, some are left for the next one. Raises NotSent, Busy.
    """
    sender, group = _person(sender), str(group)
    _check(text, sender)
    previous = None
    for number in (tries := Attempts()):
        rows = group_rows.find_rows(client, table, group, [sender.uuid], sure=number > 0)
        if not any(sender.uuid in (group_rows.owner_of(row), text_of(row, "user_uuid")) for row in rows):
            raise NotSent(f"{sender.handle} is not in group {group}")
        previous = _time_for(at, rows, previous)
        item = message_item(group, previous, str(uuid.uuid4()), text, sender)
        if sort_key_of(item) > max(map(sort_key_of, rows)):
            moves = group_rows.plan_rows(table, group, rows, item, _others(rows, sender, receiver))
        else:
            moves = [_condition_check(table, row) for row in reversed(rows)]
        answer = _commit(client, [_put_new(table, item), *moves][:MOST_ACTIONS], tries)
        if answer is not None:
            return Sent(group, _plain(item), False, _capacity(answer))
    raise AssertionError


def settle_rows(client: DynamoDBClient, table: str, group: str, users: tuple[User, User]) -> tuple[int, int]:
    """Pattern E: give each of the two, and nobody else, one row with the group's newest message.

    Returns how many rows were put and how many deleted. Raises Busy.
    """
    one, other = map(_person, users)
    others = {one.uuid: user_attributes(other), other.uuid: user_attributes(one)}
    return group_rows.settle(client, table, str(group), others=others)


def find_group(client: DynamoDBClient, table: str, user_uuid: str, other_uuid: str) -> str:
    """Return the group of two users as it is now, the one with the newest message if they have several; else ""."""
    for owner, other in ((user_uuid, other_uuid), (other_uuid, user_uuid)):
        query = _partition(table, group_partition(owner))
        query["ExpressionAttributeValues"][":other"] = {"S": str(other)}
        rows = each_item(
            client, **query, FilterExpression="user_uuid = :other", ScanIndexForward=False, ConsistentRead=True
        )
        for row in rows:
            return group_of(row)
    return ""


def is_member(client: DynamoDBClient, table: str, group: str, user_uuid: str) -> bool:
    """Return whether a user has a row in a group."""
    return any(True for _ in group_rows.each_row_of(client, table, str(user_uuid), str(group)))


def each_message(client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
    """Return every message of a group as it is now, newest first, a page of 1 MB at a time."""
    return each_item(client, **_partition(table, message_partition(group)), ScanIndexForward=False, ConsistentRead=True)


def each_group_row_of(client: DynamoDBClient, table: str, user_uuid: str) -> Iterator[Item]:
    """Return every group row of a user as it is now, oldest first."""
    return each_item(client, **_partition(table, group_partition(user_uuid)), ConsistentRead=True)


def each_row_in_group(client: DynamoDBClient, table: str, group: str) -> Iterator[Item]:
    """Return every group row of a group, whoever's it is. From the index: on AWS a new row takes a moment to show."""
    return each_item(
        client,
        TableName=table,
        IndexName=GROUP_INDEX,
        KeyConditionExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":group": {"S": str(group)}},
    )


def _person(user: User) -> _Person:
    return _Person(str(user.uuid), user.handle, user.display_name)


def _time_for(at: datetime | None, rows: Iterable[Item], previous: datetime | None) -> datetime:
    """Choose a message's time, later than the one that was tried before.

    Items have the order of their times as texts. Where the last message has another offset, so that now in UTC would
    come before it for hours, now is written in that offset: both its text and its time are right.
    """
    chosen = (at or datetime.now(timezone.utc)).astimezone(timezone.utc)
    for row in rows if at is None else ():
        try:
            last = parse_time(sort_key_of(row))
        except ValueError:
            continue
        if format_time(chosen) <= sort_key_of(row) and last < chosen + CLOCKS_APART:
            chosen = max(chosen, last + MICROSECOND).astimezone(last.tzinfo)
    return chosen if previous is None else max(chosen, previous + MICROSECOND).astimezone(chosen.tzinfo)


def _others(rows: Iterable[Item], sender: User, receiver: User | None) -> dict[str, Item]:
    """Return what rows say of their other user, where it is known afresh: of the sender, and of a receiver given."""
    owners = {group_rows.owner_of(row): text_of(row, "user_uuid") for row in rows}
    partners = {user for user in owners.values() if user} - owners.keys() - {sender.uuid}
    partners |= {owner for owner, other in owners.items() if other == sender.uuid}
    others = {partner: user_attributes(sender) for partner in partners}
    return others if receiver is None else {**others, sender.uuid: user_attributes(receiver)}


def _check(text: str, *users: User) -> None:
    """Raise NotSent for a text that cannot be a message.

    Amazon DynamoDB Developer Guide, "Item size": 400 KB with the bytes of all names and values.
    """
    if not isinstance(text, str):
        raise NotSent("the message is not a text")
    if not text.strip():
        raise NotSent("the message is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotSent("the message is not UTF-8") from error
    nobody = str(uuid.UUID(int=0))
    for user in users:
        message = message_item(nobody, datetime.now(timezone.utc), nobody, text, user)
        for item in (message, *group_items(nobody, message, (user, user))):
            size = sum(len(name.encode()) + len(str(value["S"]).encode()) for name, value in item.items())
            if size > ITEM_LIMIT_BYTES:
                raise NotSent(f"the message makes an item of {size:,} bytes, and DynamoDB takes {ITEM_LIMIT_BYTES:,}")


def _commit(client: DynamoDBClient, actions: list[Item], tries: Attempts) -> dict[str, Any] | None:
    """Perform the actions as `commit` does. Raises NotSent where an item is too large: a row has its own names."""
    try:
        return commit(client, actions, tries)
    except Exception as error:
        if not is_too_large(error):
            raise
        raise NotSent(f"the message makes an item of more than {ITEM_LIMIT_BYTES:,} bytes") from error


def _put_new(table: str, item: Item) -> Item:
    return {"Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}


def _condition_check(table: str, row: Item) -> Item:
    return {"ConditionCheck": {"TableName": table, "Key": key_of(row), "ConditionExpression": "attribute_exists(pk)"}}


def _plain(item: Item) -> dict[str, str]:
    return {name: str(value.get("S", "")) for name, value in item.items()}


def _partition(table: str, pk: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
    }


def _page(client: DynamoDBClient, table: str, pk: str, limit: int, before: str) -> Page:
    """Read a page and the first item of the next one, which tells whether there is any; 1 MB an answer at most."""
    if limit < 1:
        raise ValueError(f"limit={limit}: a page has one item at least")
    query: dict[str, Any] = {**_partition(table, pk), "ScanIndexForward": False, "ReturnConsumedCapacity": "INDEXES"}
    if before:
        query["KeyConditionExpression"] += " AND sk < :before"
        query["ExpressionAttributeValues"][":before"] = {"S": before}
    items: list[Item] = []
    capacity: dict[str, float] = {}
    while True:
        answer: Any = client.query(**query, Limit=min(limit + 1 - len(items), READ_AT_ONCE))
        items += answer["Items"]
        for name, units in _capacity(answer).items():
            capacity[name] = capacity.get(name, 0.0) + units
        if len(items) > limit or "LastEvaluatedKey" not in answer:
            break
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    cursor = sort_key_of(items[limit - 1]) if len(items) > limit else ""
    return Page([_plain(item) for item in items[:limit]], cursor, capacity)


def _capacity(answer: Mapping[str, Any]) -> dict[str, float]:
    """Add up the consumed capacity of an answer, as INDEXES tells it."""
    told = answer.get("ConsumedCapacity") or []
    parts = told if isinstance(told, list) else [told]
    if not parts:
        return {}
    indexes = [index for part in parts for index in (part.get("GlobalSecondaryIndexes") or {}).values()]
    total = sum(float(part.get("CapacityUnits", 0)) for part in parts)
    index = sum(float(part.get("CapacityUnits", 0)) for part in indexes)
    return {"total": total, "table": total - index, "index": index}


def each_item(client: DynamoDBClient, **query: Any) -> Iterator[Item]:
    """Follow a query through its pages (Amazon DynamoDB Developer Guide, "Paginating table query results")."""
    while True:
        answer = client.query(**query)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
