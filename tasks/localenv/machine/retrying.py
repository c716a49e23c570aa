"""What is retried, and why that is safe: for local engines here, for AWS by botocore, under the same rules.

A throttled call was not performed, so any may be retried. After a server error, or a connection lost in the middle,
that is unknown: then only idempotent calls are retried.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import LocalEnvError, ServiceFailed
from ..hints import LOGS, either
from .waiting import at_most, waiting

T = TypeVar("T")

THROTTLED = (
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "429",
)
BROKEN = (
    "InternalErrorException",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "500",
    "502",
    "503",
    "504",
)
PATIENCE_S = 20.0
LOST_TRIES = 3
LONGEST_PAUSE_S = 2.0

READS = ("AdminGet", "BatchGet", "Describe", "Get", "List", "Query", "Scan")
"""Prefixes of the operations that change nothing."""
REPEATABLE = {
    "AdminCreateUser": "an existing user is refused, which the caller treats as done",
    "AdminDeleteUser": "a missing user is refused, which the caller treats as done",
    "AdminSetUserPassword": "the same password again",
    "AdminUpdateUserAttributes": "the same values again",
    "BatchWriteItem": "puts and deletes of whole items, without conditions",
    "CreateTable": "an existing table is refused, which the caller treats as done",
    "DeleteTable": "a missing table is refused, which the caller treats as done",
    "TagResource": "the same tags again",
    "UntagResource": "the same tags again",
    "UpdateContinuousBackups": "the same setting again",
}
"""The writing operations that may be sent twice, each with the reason. Those below only under a condition."""
NOT_RETRIED = ("TransactWriteItems",)
"""Not retried when throttled: their callers decide again what to write (ddb/streams/transactions)."""
CHECK_FIRST = ("DeleteItem", "ExecuteStatement", "PutItem", "TransactWriteItems", "UpdateItem")
"""Operations of commands that do not check, when run again, whether the change was made."""


class Refused(LocalEnvError):
    """A service refused a call, or failed on it. `aws_code` is its name for the reason, or the HTTP status."""

    aws_code = ""


class Lost(ServiceFailed):
    """A connection ended before the answer was complete: whether the call was performed is unknown."""


def is_repeatable(operation: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether the call is idempotent."""
    if operation.startswith(READS) or operation in REPEATABLE:
        return True
    if operation == "ExecuteStatement":
        return str(parameters.get("Statement", "")).lstrip().upper().startswith("SELECT")
    if operation == "TransactWriteItems":  # DynamoDB performs those of one token once, for ten minutes
        return bool(parameters.get("ClientRequestToken"))
    return operation in ("PutItem", "DeleteItem") and "ConditionExpression" not in parameters


def retry(
    attempt: Callable[[], T],
    operation: str,
    parameters: Mapping[str, Any],
    *,
    subject: str,
    patience_s: float = PATIENCE_S,
) -> T:
    """Return the result of the first attempt that succeeds. `subject` names who is asked for what.

    Without patience there is one attempt, which is treated as the last one.

    Raises Refused for a refusal of the call itself and in the end for a throttled one, ServiceFailed where the server
    keeps failing, or failed on a call that must not be sent twice.
    """
    try:
        return attempt()
    except (Refused, Lost) as error:
        first = error
    _refuse(first, operation, parameters, subject)
    if not patience_s:
        raise _given_up(first, subject, 1) from first
    patience_s = at_most(patience_s)
    end, number = time.monotonic() + patience_s, 1
    with waiting(f"{subject} ({_short(first)}), retrying", patience_s):
        while True:
            time.sleep(random.uniform(0, min(0.05 * 2**number, LONGEST_PAUSE_S)))
            try:
                return attempt()
            except (Refused, Lost) as error:
                number += 1
                _refuse(error, operation, parameters, subject)
                if time.monotonic() > end or (isinstance(error, Lost) and number >= LOST_TRIES):
                    raise _given_up(error, subject, number) from error


def _refuse(error: Refused | Lost, operation: str, parameters: Mapping[str, Any], subject: str) -> None:
    """Raise an error after which another attempt is useless, or not allowed."""
    if isinstance(error, Refused) and error.aws_code in THROTTLED:
        if operation in NOT_RETRIED:
            raise error
        return
    if isinstance(error, Refused) and error.aws_code not in BROKEN:
        raise error
    if not is_repeatable(operation, parameters):
        raise ServiceFailed(
            f"{_message(error, subject)}; whether it was done is not known",
            hint="check whether it was done before you run the command again"
            if operation in CHECK_FIRST
            else "run the same command again: it looks first and does what is missing",
            evidence=error.evidence,
        ) from error


def _given_up(error: Refused | Lost, subject: str, tries: int) -> LocalEnvError:
    if isinstance(error, Refused) and error.aws_code in THROTTLED:
        error.message += _counted(tries)
        error.hint = error.hint or "wait a minute and run the same command again, or give the table more capacity"
        return error
    return ServiceFailed(
        _message(error, subject) + _counted(tries),
        hint=either("run the same command again", LOGS),
        evidence=error.evidence,
    )


def _counted(tries: int) -> str:
    return f", {tries} times" if tries > 1 else ""


def _message(error: Refused | Lost, subject: str) -> str:
    return error.message if isinstance(error, Refused) or subject in error.message else f"{subject}: {error.message}"


def _short(error: Refused | Lost) -> str:
    return error.aws_code if isinstance(error, Refused) else "the connection was lost"
