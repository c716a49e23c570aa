"""Keeps the group rows at the newest message of their group. A Lambda function for the message table's stream.

The folder is deployed alone: it needs the standard library, and boto3 as Lambda brings it. ddb/messages.py moves the
rows with these same functions when it sends a message.

A group row carries the time of its group's last message in its key, so a row is moved by a new row and the deletion of
the old one. Both are actions of one transaction, with two conditions: the old row is still there, and nothing is at the
new key. Of two that move the same row one is refused, reads again and decides anew. Hence one row a user and group, and
no older message ever wins, whoever else writes.

The records only say where to look, and how closely. What the rows should be is read from the table: so records may come
late, twice or in any order. It takes PutItem, DeleteItem and Query; a transaction needs the permissions of its parts
(Amazon DynamoDB Developer Guide, "IAM and transactions").
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .transactions import MOST_ACTIONS, PATIENCE_S, Attempts, Busy, commit

Item = dict[str, Any]
"""An item in DynamoDB JSON: {"pk": {"S": "…"}, …}."""

GROUP_INDEX = "message-group-sk-index"
MESSAGE, ROW = "MSG#", "GRP#"
BATCH_PATIENCE_S = 5.0
"""How long to try on with a group of a batch, at most: Lambda comes again."""
BATCH_S = 50.0
"""How long a batch may take, where nobody says how long there is."""
RESERVE_S = 10.0
"""What of a function's time is left for the last call and the answer."""
INDEX_LAG_S = 2.0
"""How far the index may lag behind on AWS; and the time in a record is that of its second's beginning."""


class Taken(Busy):
    """Another group's row of the same user is where a row must go. It stays so until one of the groups moves on."""


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
    left_ms = getattr(context, "get_remaining_time_in_millis", None)
    seconds = left_ms() / 1000 - RESERVE_S if left_ms else BATCH_S
    handled = list(handle(_client(), table_of(records[0]), records, seconds=seconds)) if records else []
    for one in handled:
        if one.error:
            print(f"{one.event} {MESSAGE}{one.group} {one.sort_key}: {one.error}")
    return {"batchItemFailures": [{"itemIdentifier": one.sequence_number} for one in handled if one.error]}


def handle(
    client: Any, table: str, records: Sequence[Mapping[str, Any]], *, seconds: float = BATCH_S
) -> Iterator[Handled]:
    """Bring the rows of every group that the records name up to date, and tell it for each record of a message.

    Records are those of a Lambda event, or of GetRecords. A group is looked at once a batch. Each gets its share of the
    `seconds`; one that comes when none are left is not tried, which is its error.
    """
    deadline = time.monotonic() + seconds
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        pk = _string(record["dynamodb"]["Keys"], "pk")
        if pk.startswith(MESSAGE):
            groups.setdefault(pk[len(MESSAGE) :], []).append(record)
    done: dict[str, tuple[int, str]] = {}
    for record in records:
        data = record["dynamodb"]
        pk, sk = (_string(data["Keys"], name) for name in ("pk", "sk"))
        if not pk.startswith(MESSAGE):
            continue
        group = pk[len(MESSAGE) :]
        first = group not in done
        if first:
            share_s = (deadline - time.monotonic()) / (len(groups) - len(done))
            done[group] = _settled(client, table, group, groups[group], share_s)
        moved, error = done[group]
        yield Handled(data["SequenceNumber"], record["eventName"], group, sk, moved if first else 0, error)


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
    changed_at: float | None = None,
    patience_s: float = PATIENCE_S,
) -> tuple[int, int]:
    """Make every row of a group that of its newest message; without a message, remove them.

    `known` are uuids of users in the group. `others` gives, for each user who must have a row, the attributes of the
    other one; rows of anybody else go then. `changed_at`: when a message was last changed or removed, in seconds since
    1970; rows that are right by the index may then be wrong, and one that shows none is asked again when it has had the
    time. Returns how many rows were put and how many deleted; both are 0 where nothing was to be done. Raises Busy.
    """
    known = {*known, *(others or ())}
    sure = others is not None or changed_at is not None
    done: Counter[str] = Counter()
    for _ in (tries := Attempts(patience_s)):
        # The rows first: a row that is newer than the newest message read after it has lost its message.
        rows = find_rows(client, table, group, known, sure=sure)
        newest = newest_message(client, table, group)
        sender = _string(newest or {}, "user_uuid")
        if not rows and sender and sender not in known:
            known.add(sender)
            sure = True
            continue
        if not rows and not newest and changed_at:
            time.sleep(max(0.0, min(changed_at + INDEX_LAG_S - time.time(), INDEX_LAG_S)))
            return settle(client, table, group, known=known, others=others, changed_at=0.0, patience_s=patience_s)
        known |= _members(rows)
        actions = plan_rows(table, group, rows, newest, others, only=others is not None)
        at_once = len(actions) <= MOST_ACTIONS
        while actions and commit(client, actions[:MOST_ACTIONS], tries):
            done.update(kind for action in actions[:MOST_ACTIONS] for kind in action)
            actions = actions[MOST_ACTIONS:]
        if at_once and not actions:
            return done["Put"], done["Delete"]
        _refuse_taken(client, table, actions)
        sure = True
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

    The new rows first, then what goes, the newest first: where it is too much for one transaction, the first one has
    what others compete for. `rows` are oldest first. `others`: for each user who must have a row, the attributes of the
    other one. `only`: nobody else may have any.
    """
    others = others or {}
    by_owner: dict[str, list[Item]] = {owner: [] for owner in (others if message else ())}
    for row in rows:
        by_owner.setdefault(owner_of(row), []).append(row)
    puts: list[Item] = []
    old: list[Item] = []
    for owner, own in by_owner.items():
        keep = message is not None and (owner in others or not only)
        wanted = _row(group, owner, message, others.get(owner) or own[-1]) if message and keep else None
        there = [row for row in own if wanted and row["sk"] == wanted["sk"]]
        if wanted and wanted not in there:
            puts.append(_put(table, wanted, "message_group_uuid = :group" if there else "attribute_not_exists(pk)"))
        old += [row for row in own if row not in there]
    old.sort(key=lambda row: _string(row, "sk"), reverse=True)
    return [*puts, *(_delete(table, row) for row in old)]


def find_rows(client: Any, table: str, group: str, known: Iterable[str], *, sure: bool) -> list[Item]:
    """Find the rows of a group, oldest first.

    From the index, which on AWS may lag behind by a moment. The conditions of the writes find that out, where there is
    anything to write. If `sure`, or when somebody's row is not among them (`known` are users of the group), it only
    tells whose rows there are, and they are read from the users' own partitions, as of now.
    """
    index = {"IndexName": GROUP_INDEX, "KeyConditionExpression": "message_group_uuid = :group"}
    found = list(_query(client, table, **index, ExpressionAttributeValues={":group": {"S": group}}))
    rows = [row for row in found if _string(row, "pk").startswith(ROW)]  # a message may carry a group by mistake
    members = {*known, *_members(rows)}
    if not sure and members == {owner_of(row) for row in rows}:
        return rows
    found = []
    asked: set[str] = set()
    while left := members - asked:
        for user in sorted(left):
            rows = list(each_row_of(client, table, user, group))
            members |= _members(rows)
            found += rows
        asked |= left
    return sorted(found, key=lambda row: _string(row, "sk"))


def each_row_of(client: Any, table: str, user: str, group: str) -> Iterator[Item]:
    """Return a user's rows in a group as they are now."""
    return _query(
        client,
        table,
        KeyConditionExpression="pk = :pk",
        FilterExpression="message_group_uuid = :group",
        ExpressionAttributeValues={":pk": {"S": ROW + user}, ":group": {"S": group}},
        ConsistentRead=True,
    )


def newest_message(client: Any, table: str, group: str) -> Item | None:
    """Return the newest message of a group as it is now."""
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
    """Return the uuid of the user whose row it is."""
    return _string(row, "pk")[len(ROW) :]


@functools.cache
def _client() -> Any:
    """Make the client of this process, once: Lambda keeps it between calls. No call outlasts RESERVE_S."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": 2}
    return boto3.client("dynamodb", config=Config(connect_timeout=1, read_timeout=3, retries=retries))


def _settled(client: Any, table: str, group: str, records: list[Mapping[str, Any]], share_s: float) -> tuple[int, str]:
    """Settle a group; an error is this group's alone, so that those behind it in the batch get their turn."""
    if share_s <= 0:
        return 0, "the groups before it took all the time of the batch"
    senders = {_string(record["dynamodb"].get("NewImage", {}), "user_uuid") for record in records} - {""}
    patience_s = min(share_s, BATCH_PATIENCE_S)
    try:
        changed_at = _changed_at(records)
        return sum(settle(client, table, group, known=senders, changed_at=changed_at, patience_s=patience_s)), ""
    except Exception as error:  # noqa: BLE001 - reported as a failed record, which is tried again and kept in the end
        return 0, f"{type(error).__name__}: {error}"


def _changed_at(records: Iterable[Mapping[str, Any]]) -> float | None:
    """Tell when a message was last changed or removed, in seconds since 1970; None where messages only came."""
    changes = [record["dynamodb"] for record in records if record["eventName"] != "INSERT"]
    times = [change.get("ApproximateCreationDateTime", 0.0) for change in changes]
    return max((at.timestamp() if isinstance(at, datetime) else float(at) for at in times), default=None)


def _refuse_taken(client: Any, table: str, refused: Iterable[Item]) -> None:
    """Raise Taken where another group's row is at the key of a row to put, so that no further attempt helps."""
    for row in (action["Put"]["Item"] for action in refused if "Put" in action):
        key = {":pk": row["pk"], ":sk": row["sk"]}
        there = {"KeyConditionExpression": "pk = :pk AND sk = :sk", "ExpressionAttributeValues": key}
        for found in _query(client, table, **there, ConsistentRead=True):
            other, sk = _string(found, "message_group_uuid"), _string(row, "sk")
            if found.get("message_group_uuid") != row["message_group_uuid"]:
                raise Taken(
                    f"at {sk} user {owner_of(row)} has the row of group {other}: "
                    "the rows of this one move with its next message"
                )


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
