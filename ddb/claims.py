"""The right to start something that only one may start: an item with a known key that comes and goes.

DynamoDB can make a write depend on an item, not on the absence of any in a partition. A claim is such an item.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .items import Item
from .streams.transactions import UNSURE_CODES, Attempts, commit, error_code, is_refusal

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STALE_S = 3.0
"""A claim that stays for so long was left by a sender who died."""


class Claim:
    """The right of one sender to start the group of two users: an item that all who try agree on.

    As a context: whatever happens within, it is given back in the end.
    """

    def __init__(self, client: DynamoDBClient, table: str, *users: str) -> None:
        self._client: Any = client
        self._table = table
        self._key: Item = {"pk": {"S": "NEW#" + "#".join(sorted(users))}, "sk": {"S": "NEW"}}
        self._mine = {"S": str(uuid.uuid4())}
        self._seen: tuple[Item | None, float] = (None, 0.0)
        self.is_held = False
        self._is_there = False

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        """Give it back unused. Where even that fails, what happened before is what counts; others take it over."""
        if self._is_there:
            with suppress(Exception):
                commit(self._client, [self._removal()])

    def take(self, tries: Attempts | None = None) -> None:
        """Try to get it, also from somebody who has had it for too long.

        Where nobody knows whether the call was performed, the next try tells: it goes through where this one did.
        """
        claimed, since = self._seen
        is_stale = claimed is not None and time.monotonic() - since > STALE_S
        self._is_there = True  # perhaps, also when no answer comes
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**self._key, "claim": self._mine},
                ConditionExpression="attribute_not_exists(pk) OR claim = :taken",
                ExpressionAttributeValues={":taken": claimed if is_stale else self._mine},
            )
            self.is_held = True
        except Exception as error:
            if tries:
                tries.refused(error)
            if error_code(error) in UNSURE_CODES:
                return
            if not is_refusal(error):
                raise
            found = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item", {})
            self._is_there = found.get("claim") == self._mine
            if found.get("claim") != claimed:
                self._seen = (found.get("claim"), time.monotonic())

    def spend(self, actions: list[Item], tries: Attempts) -> dict[str, Any] | None:
        """Perform the actions and end it, in one transaction. Returns None when all must be decided anew, it too."""
        answer = commit(self._client, [*actions, self._removal()], tries)
        self._is_there, self.is_held = answer is None, False
        return answer

    def _removal(self) -> Item:
        """Return the action that ends it, and that fails where somebody else has it by now."""
        condition = {"ConditionExpression": "claim = :mine", "ExpressionAttributeValues": {":mine": self._mine}}
        return {"Delete": {"TableName": self._table, "Key": self._key, **condition}}
