"""Changes of single items, many at a time: each is made only where the item is still as it was read.

A batch is one transaction. Where an item of it has changed meanwhile, the others are tried again without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .items import Item, key_of
from .streams.transactions import MOST_ACTIONS, PATIENCE_S, Attempts, Busy, commit, failed_conditions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_BYTES = 1_000_000
"""So much of items goes into a batch. Amazon DynamoDB API Reference, "TransactWriteItems": 4 MB, with the old items."""
MOST_COMPARED = 50
SCALARS = {"S", "N", "B", "BOOL"}
Action = dict[str, Any]
Change = list[Action]
"""Actions of TransactWriteItems that make one change: all of them or none."""


class Performed(NamedTuple):
    """How many changes were made, and why others were not: empty where all are."""

    done: int
    error: str = ""


def perform(client: DynamoDBClient, changes: Iterable[Change], *, patience_s: float = PATIENCE_S) -> Performed:
    """Make the changes. Holds one batch in memory; ends early when a batch gets nowhere for so long."""
    done = left = 0
    try:
        for batch in _batches(changes):
            made = _perform(client, batch, patience_s)
            done, left = done + made, left + len(batch) - made
    except Busy as error:
        return Performed(done, str(error))
    changed = f"{left:,} {'item' if left == 1 else 'items'} changed meanwhile, and left as found"
    return Performed(done, changed if left else "")


def delete(table: str, item: Item) -> Change:
    """Return the change that removes an item."""
    return [{"Delete": {"TableName": table, "Key": key_of(item), **_unchanged(item)}}]


def replace(table: str, item: Item, new: Item, *, over_group: bool = False) -> Change:
    """Return the change that puts `new`, of another key, in the place of an item.

    Nothing may be at the new key; with `over_group`, nothing of another group.
    """
    free: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
    if over_group:
        free["ConditionExpression"] += " OR message_group_uuid = :group"
        free["ExpressionAttributeValues"] = {":group": new["message_group_uuid"]}
    return [{"Put": {"TableName": table, "Item": new, **free}}, *delete(table, item)]


def rewrite(table: str, item: Item, new: Item) -> Change:
    """Return the change that puts `new`, of the same key, over an item."""
    return [{"Put": {"TableName": table, "Item": new, **_unchanged(item)}}]


def _perform(client: DynamoDBClient, batch: list[Change], patience_s: float) -> int:
    """Make the changes of a batch, without those whose items have changed; return how many were made."""
    for _ in (tries := Attempts(patience_s)):
        actions = [(number, action) for number, change in enumerate(batch) for action in change]
        if not actions or commit(client, [action for _, action in actions], tries):
            return len(batch)
        refused = {actions[at][0] for at in failed_conditions(tries.refusal)}
        batch = [change for number, change in enumerate(batch) if number not in refused]
    raise AssertionError


def _batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Part the changes into transactions: each with a bound of actions and bytes, and no key twice."""
    batch: list[Change] = []
    keys: set[str] = set()
    actions = size = 0
    for change in changes:
        own, bytes_ = {_key(action) for action in change}, sum(map(_size, change))
        if batch and (actions + len(change) > MOST_ACTIONS or size + bytes_ > BATCH_BYTES or own & keys):
            yield batch
            batch, keys, actions, size = [], set(), 0, 0
        batch.append(change)
        keys |= own
        actions, size = actions + len(change), size + bytes_
    if batch:
        yield batch


def _key(action: Action) -> str:
    (what,) = action.values()
    return repr(sorted(key_of(what.get("Item") or what["Key"]).items()))


def _size(action: Action) -> int:
    return len(str(action))


def _unchanged(item: Item) -> dict[str, Any]:
    """Return the condition that an item is there as it was read: its first attributes with one value each."""
    names = [name for name, value in sorted(item.items()) if name not in ("pk", "sk") and value.keys() <= SCALARS]
    names = names[:MOST_COMPARED]
    if not names:
        return {"ConditionExpression": "attribute_exists(pk)"}
    return {
        "ConditionExpression": " AND ".join(f"#{number} = :{number}" for number in range(len(names))),
        "ExpressionAttributeNames": {f"#{number}": name for number, name in enumerate(names)},
        "ExpressionAttributeValues": {f":{number}": item[name] for number, name in enumerate(names)},
    }
