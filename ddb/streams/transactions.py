"""Writes that hold together: one transaction, decided anew and tried again where others were faster.

Part of the function behind the message table's stream, and deployed with it: nothing but the standard library.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

Item = dict[str, Any]
"""An item in DynamoDB JSON, or an action of a transaction."""

PATIENCE_S = 20.0
"""How long somebody who is refused again and again tries on."""
MOST_ACTIONS = 100
"""So many actions a transaction may have: Amazon DynamoDB API Reference, "TransactWriteItems"."""

REFUSED = {"ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons for a cancelled transaction that may have passed when it is decided anew."""
SHORT = {
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
}
"""What a table, or an account, says that is short of capacity."""
BUSY_CODES = {"ConditionalCheckFailedException", "TransactionConflictException", *SHORT}
UNSURE_CODES = {"InternalServerError", "TransactionInProgressException"}
"""After these the same request under the same token tells what became of the first."""


class Busy(Exception):
    """Others wrote to the same group all the time, or the table was short of capacity."""


class Attempts:
    """The attempts of one sender, with a pause of growing, random length before each but the first, and an end.

    They are told why each was refused, for the error in the end.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self.refusal: Exception | None = None

    def __iter__(self) -> Iterator[int]:
        """Count from 0. Raises Busy in the end."""
        deadline = time.monotonic() + self._patience_s
        number = 0
        while True:
            yield number
            if time.monotonic() > deadline:
                tries = f"the table refused {number + 1} attempts in {self._patience_s:.2g} s"
                raise Busy(f"{tries}: {cause_of(self.refusal)}") from self.refusal
            time.sleep(random.uniform(0, min(0.01 * 2**number, 0.5)))
            number += 1

    def refused(self, error: Exception) -> None:
        """Note why one was refused."""
        self.refusal = error


def cause_of(error: Exception | None) -> str:
    """Return why a write was refused: for want of capacity, or because others were faster."""
    short = sorted((_reasons(error) if error else set()) & SHORT)
    return f"it is short of capacity ({', '.join(short)})" if short else "others write to the same group"


def commit(client: Any, actions: list[Item], tries: Attempts | None = None) -> dict[str, Any] | None:
    """Perform the actions, all or none of them. Returns DynamoDB's answer, or None when they must be decided anew.

    `tries` are told why. Under one ClientRequestToken, so that a request that is sent twice is performed once.
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
                if tries:
                    tries.refused(error)
                return None
            if error_code(error) not in UNSURE_CODES or number == 3:
                raise
        time.sleep(0.05 * 2**number)
    return None


def error_code(error: Exception) -> str:
    """Return AWS's name for a refusal: of a botocore ClientError, or whatever else has its `response`; else ""."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_refusal(error: Exception) -> bool:
    """Return whether a write was refused for a reason that may have passed when it is decided anew."""
    if error_code(error) != "TransactionCanceledException":
        return error_code(error) in BUSY_CODES
    reasons = _reasons(error)
    return bool(reasons) and reasons <= REFUSED


def _reasons(error: Exception) -> set[str]:
    """Name why a write was refused: the reasons of a cancelled transaction, else the one code."""
    if error_code(error) != "TransactionCanceledException":
        return {error_code(error)}
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return {reason.get("Code", "None") for reason in response.get("CancellationReasons", ())} - {"None"}


def failed_conditions(error: Exception | None) -> set[int]:
    """Return which actions of a cancelled transaction, by their number from 0, found an item that was not as wanted."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    reasons = enumerate(response.get("CancellationReasons", ()))
    return {number for number, reason in reasons if reason.get("Code") == "ConditionalCheckFailed"}


def is_too_large(error: Exception) -> bool:
    """Return whether a write was refused for the size of an item: as a whole, or as the reason of a cancellation."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    told = [response.get("Error", {}), *response.get("CancellationReasons", ())]
    return any("item size" in str(one.get("Message", "")).lower() for one in told)
