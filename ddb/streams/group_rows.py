"""Keeps the group rows at the newest message of their group. A Lambda function for the message table's stream.

This file is deployed alone: it needs the standard library, and boto3 as Lambda brings it. ddb/messages.py moves the
rows with these same functions when it sends a message.

A group row carries the time of its group's last message in its key, so a row is moved by a new row and the deletion of
the old one. Both are actions of one transaction, with two conditions: the old row is still there, and nothing is at the
new key. Of two that move the same row one is refused, reads again and decides anew. Hence one row a user and group, and
no older message ever wins, whoever else writes.

The records only say where to look. What the rows should be is read from the table: so records may come late, twice or
in any order. It takes PutItem, DeleteItem and Query; a transaction needs the permissions of its parts
(Amazon DynamoDB Developer Guide, "IAM and transactions").
"""

from __future__ import annotations

import functools
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]
"""An item in DynamoDB JSON: {"pk": {"S": "…"}, …}."""

GROUP_INDEX = "message-group-sk-index"
MESSAGE, ROW = "MSG#", "GRP#"
PATIENCE_S = 20.0
"""How long somebody who is refused again and again tries on."""
BATCH_PATIENCE_S = 5.0
"""The same for a group of a batch of records: Lambda comes again."""

REFUSED = {"ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons for a cancelled transaction that may have passed when it is decided anew."""
BUSY_CODES = {
    "ConditionalCheckFailedException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
}
UNSURE_CODES = {"InternalServerError", "TransactionInProgressException"}
"""After these the same request under the same token tells what became of the first."""


class Busy(Exception):
    """Others wrote to the same group all the time, or the table was short of capacity."""


@dataclass(frozen=True)
class Handled:
    """What became of a record. `error` is empty when its group's rows are right; then `moved` counts those changed."""

    sequence_number: str
    event: str
    group: str
    sort_key: str
    moved: int
    error: str = ""


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Handle a batch of stream records. Lambda tries again from the first one that is reported as failed."""
    records = event["Records"]
    handled = list(handle(_client(), table_of(records[0]), records)) if records else []
    for one in handled:
        if one.error:
            print(f"{one.event} {MESSAGE}{one.group} {one.sort_key}: {one.error}")
    return {"batchItemFailures": [{"itemIdentifier": one.sequence_number} for one in handled if one.error]}


def handle(client: Any, table: str, records: Sequence[Mapping[str, Any]]) -> Iterator[Handled]:
    """Bring the rows of every group that the records name up to date, and tell it for each record of a message.

    Records are those of a Lambda event, or of GetRecords. A group is looked at once a batch.
    """
    done: dict[str, tuple[int, str]] = {}
    for record in records:
        data = record["dynamodb"]
        group = _string(data["Keys"], "pk")
        if not group.startswith(MESSAGE):
            continue
        group = group[len(MESSAGE) :]
        first = group not in done
        if first:
            done[group] = _settled(client, table, group, _senders(records, group))
        moved, error = done[group]
        yield Handled(
            data["SequenceNumber"],
            record["eventName"],
            group,
            _string(data["Keys"], "sk"),
            moved if first else 0,
            error,
        )


def table_of(record: Mapping[str, Any]) -> str:
    """Read the table's name in a record's eventSourceARN: arn:aws:dynamodb:…:table/NAME/stream/…"""
    return str(record["eventSourceARN"]).split("/")[1]


def settle(
    client: Any,
    table: str,
    group: str,
    *,
    known: Iterable[str] = (),
    others: Mapping[str, Item] | None = None,
    patience_s: float = PATIENCE_S,
) -> tuple[int, int]:
    """Make every row of a group that of its newest message; without a message, remove them.

    `known` are uuids of users in the group. `others` gives, for each user who must have a row, the attributes of the
    other one; rows of anybody else go then. Returns how many rows were put and how many deleted; both are 0 where
    nothing was to be done. Raises Busy.
    """
    known = {*known, *(others or ())}
    for number in attempts(patience_s):
        # The rows first: a row that is newer than the newest message read after it has lost its message.
        rows = find_rows(client, table, group, known, sure=number > 0 or others is not None)
        newest = newest_message(client, table, group)
        if not rows and not others and newest:
            rows = find_rows(client, table, group, {*known, _string(newest, "user_uuid")}, sure=True)
        actions = plan_rows(table, group, rows, newest, others, only=others is not None)
        if not actions or commit(client, actions):
            return sum("Put" in action for action in actions), sum("Delete" in action for action in actions)
    raise AssertionError


def plan_rows(
    table: str,
    group: str,
    rows: Iterable[Item],
    message: Item | None,
    others: Mapping[str, Item] | None = None,
    *,
    only: bool = False,
) -> list[Item]:
    """Decide what makes `message` the last one in every user's row: actions of TransactWriteItems, none where it is.

    `others`: for each user who must have a row, the attributes of the other one. `only`: nobody else may have any.
    """
    others = others or {}
    by_owner: dict[str, list[Item]] = {owner: [] for owner in (others if message else ())}
    for row in rows:
        by_owner.setdefault(owner_of(row), []).append(row)
    actions: list[Item] = []
    for owner, own in by_owner.items():
        keep = message is not None and (owner in others or not only)
        wanted = _row(group, owner, message, others.get(owner) or own[-1]) if message and keep else None
        there = [row for row in own if wanted and row["sk"] == wanted["sk"]]
        if wanted and wanted not in there:
            actions.append(_put(table, wanted, "message_group_uuid = :group" if there else "attribute_not_exists(pk)"))
        actions += [_delete(table, row) for row in own if row not in there]
    return actions


def find_rows(client: Any, table: str, group: str, known: Iterable[str], *, sure: bool) -> list[Item]:
    """Find the rows of a group, oldest first.

    From the index, which on AWS may lag behind by a moment: the conditions of the writes find that out. If `sure`, or
    when somebody's row is not among them (`known` are users of the group), from the users' own partitions, as of now.
    """
    index = {"IndexName": GROUP_INDEX, "KeyConditionExpression": "message_group_uuid = :group"}
    rows = list(_query(client, table, **index, ExpressionAttributeValues={":group": {"S": group}}))
    members = {*known, *_members(rows)}
    if not sure and members == {owner_of(row) for row in rows}:
        return rows
    found: list[Item] = []
    asked: set[str] = set()
    while left := members - asked:
        for user in sorted(left):
            rows = list(each_row_of(client, table, user, group))
            members |= _members(rows)
            found += rows
        asked |= left
    return sorted(found, key=lambda row: _string(row, "sk"))


def each_row_of(client: Any, table: str, user: str, group: str) -> Iterator[Item]:
    """Give a user's rows in a group as they are now."""
    return _query(
        client,
        table,
        KeyConditionExpression="pk = :pk",
        FilterExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":pk": {"S": ROW + user}, ":group": {"S": group}},
        ConsistentRead=True,
    )


def newest_message(client: Any, table: str, group: str) -> Item | None:
    """Give the newest message of a group as it is now."""
    found = client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": MESSAGE + group}},
        ScanIndexForward=False,
        Limit=1,
        ConsistentRead=True,
    )["Items"]
    return found[0] if found else None


def owner_of(row: Item) -> str:
    """Give the uuid of the user whose row it is."""
    return _string(row, "pk")[len(ROW) :]


def commit(client: Any, actions: list[Item]) -> dict[str, Any] | None:
    """Perform the actions, all or none of them. Returns DynamoDB's answer, or None when they must be decided anew.

    Under one ClientRequestToken, so that a request that is sent twice is performed once.
    """
    token = str(uuid.uuid4())
    for number in range(4):
        try:
            answer: dict[str, Any] = client.transact_write_items(
                TransactItems=actions, ClientRequestToken=token, ReturnConsumedCapacity="INDEXES"
            )
            return answer
        except Exception as error:
            if is_refusal(error):
                return None
            if error_code(error) not in UNSURE_CODES or number == 3:
                raise
        time.sleep(0.05 * 2**number)
    return None


def attempts(patience_s: float = PATIENCE_S) -> Iterator[int]:
    """Count attempts, with a pause of growing, random length before each but the first. Raises Busy in the end."""
    deadline = time.monotonic() + patience_s
    number = 0
    while True:
        yield number
        if time.monotonic() > deadline:
            raise Busy(f"the table refused {number + 1} attempts in {patience_s:.0f} s: others write to the same group")
        time.sleep(random.uniform(0, min(0.01 * 2**number, 0.5)))
        number += 1


def error_code(error: Exception) -> str:
    """Give AWS's name for a refusal: of a botocore ClientError, or whatever else has its `response`; else ""."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_refusal(error: Exception) -> bool:
    """Tell whether a write was refused for a reason that may have passed when it is decided anew."""
    if error_code(error) != "TransactionCanceledException":
        return error_code(error) in BUSY_CODES
    response: Mapping[str, Any] = getattr(error, "response", {})
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons", ())} - {"None"}
    return bool(reasons) and reasons <= REFUSED


@functools.cache
def _client() -> Any:
    """Make the client of this process, once: Lambda keeps it between calls."""
    import boto3

    return boto3.client("dynamodb")


def _settled(client: Any, table: str, group: str, senders: set[str]) -> tuple[int, str]:
    """Settle a group; an error is this group's alone, so that those behind it in the batch get their turn."""
    try:
        return sum(settle(client, table, group, known=senders, patience_s=BATCH_PATIENCE_S)), ""
    except Exception as error:  # noqa: BLE001 - reported as a failed record, which is tried again and kept in the end
        return 0, f"{type(error).__name__}: {error}"


def _senders(records: Iterable[Mapping[str, Any]], group: str) -> set[str]:
    images = (record["dynamodb"].get("NewImage", {}) for record in records)
    return {_string(image, "user_uuid") for image in images if _string(image, "pk") == MESSAGE + group} - {""}


def _members(rows: Iterable[Item]) -> set[str]:
    """Name the users whom the rows of a group know: whose they are, and whom they are about."""
    return {user for row in rows for user in (owner_of(row), _string(row, "user_uuid")) if user}


def _row(group: str, owner: str, message: Item, other: Item) -> Item:
    """Make a user's row with a message; `other` has the attributes of the other user, a former row for example."""
    return {
        **other,
        "pk": {"S": ROW + owner},
        "sk": message["sk"],
        "message_group_uuid": {"S": group},
        "message": message.get("message", {"S": ""}),
    }


def _put(table: str, row: Item, condition: str) -> Item:
    put = {"TableName": table, "Item": row, "ConditionExpression": condition}
    if ":group" in condition:
        put["ExpressionAttributeValues"] = {":group": row["message_group_uuid"]}
    return {"Put": put}


def _delete(table: str, row: Item) -> Item:
    return {
        "Delete": {
            "TableName": table,
            "Key": {"pk": row["pk"], "sk": row["sk"]},
            "ConditionExpression": "message_group_uuid = :group",
            "ExpressionAttributeValues": {":group": row["message_group_uuid"]},
        }
    }


def _query(client: Any, table: str, **query: Any) -> Iterator[Item]:
    """Follow a query through all its pages."""
    while True:
        answer = client.query(TableName=table, **query)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _string(item: Mapping[str, Any], name: str) -> str:
    return str(item.get(name, {}).get("S", ""))
