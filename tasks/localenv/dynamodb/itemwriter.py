"""Reads and writes items in bulk: concurrent batches, with unprocessed items retried.

DynamoDB Local commits each item of a batch to disk by itself, and a transaction once: there many go in transactions of
100, ten times as fast (measured on a disk that takes 10 ms to sync), but not where the table has a stream: then a
transaction is slower. At AWS transactions would cost twice the capacity.

Source: Amazon DynamoDB API Reference, BatchWriteItem: a call may succeed and still return UnprocessedItems, to be
retried with exponential backoff; BatchGetItem does the same with UnprocessedKeys.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..aws.wire import AwsError
from ..errors import TimedOut
from ..machine.parallel import side_by_side
from ..machine.progress import progress
from ..machine.waiting import waiting

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_SIZE, TRANSACTION_SIZE = 25, 100
REFUSED = ("ValidationException", "TransactionCanceledException", "TransactionConflictException")
LOCAL_ARN = ":ddblocal:"
"""In the ARN of a table of DynamoDB Local."""
BATCHES_AT_ONCE = 4
STALLED_S = 60.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0

VALUES_AT_ONCE = 20_000
T = TypeVar("T")
Request = dict[str, Any]
"""A write request of BatchWriteItem: {"PutRequest": {"Item": …}} or {"DeleteRequest": {"Key": …}}."""


def puts(items: Iterable[Any]) -> Iterator[Request]:
    """Return the requests to put these items (DynamoDB JSON)."""
    return ({"PutRequest": {"Item": item}} for item in items)


def deletes(keys: Iterable[Any]) -> Iterator[Request]:
    """Return the requests to delete the items with these keys (DynamoDB JSON)."""
    return ({"DeleteRequest": {"Key": key}} for key in keys)


def write(
    client: DynamoDBClient,
    table: str,
    requests: Iterable[Request],
    *,
    total: int | None = None,
    at_once: int = BATCHES_AT_ONCE,
    by_transaction: bool = False,
    stalled_s: float = STALLED_S,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Send every request and return how many there were. No two may have the same key.

    Holds `at_once` batches in memory, so there may be any number of requests. `by_transaction` is for a table of which
    `takes_transactions` says that it gains. `total` is how many there are, where that is known, for the progress.
    Raises TimedOut if a batch makes no progress for `stalled_s`.
    """
    batches = _Batches(requests, TRANSACTION_SIZE if by_transaction else BATCH_SIZE)

    def work() -> None:
        for batch in batches:
            if not by_transaction or not _transact(client, table, batch):
                for start in range(0, len(batch), BATCH_SIZE):
                    _write_batch(client, table, batch[start : start + BATCH_SIZE], stalled_s, sleep)
            written.add(len(batch))

    with progress(f"writing {table}", total, "items") as written:
        try:
            workers = 1 if by_transaction else at_once  # several transactions at once are no faster
            side_by_side([work] * workers, at_once=workers)
        finally:
            batches.close()
        return written.done


def take_batch(source: Iterator[T], at_most: int) -> list[T]:
    """Return the next `at_most`, fewer if they hold many values, which take a hundred times their size in memory."""
    found: list[T] = []
    values = 0
    for one in itertools.islice(source, at_most):
        found.append(one)
        values += _values(one)
        if values > VALUES_AT_ONCE:
            break
    return found


def _values(data: Any) -> int:
    if isinstance(data, dict):
        return len(data) + sum(map(_values, data.values()))
    return len(data) + sum(map(_values, data)) if isinstance(data, list) else 0


class _Batches:
    """Hands out batches to several threads; none after `close`."""

    def __init__(self, requests: Iterable[Request], size: int) -> None:
        self._requests = iter(requests)
        self._size = size
        self._lock = threading.Lock()
        self._closed = False

    def __iter__(self) -> Iterator[list[Request]]:
        try:
            while batch := self._next():
                yield batch
        except BaseException:
            self.close()
            raise

    def _next(self) -> list[Request]:
        with self._lock:
            return [] if self._closed else take_batch(self._requests, self._size)

    def close(self) -> None:
        self._closed = True


def fetch(
    client: DynamoDBClient,
    table: str,
    keys: list[Any],
    *,
    stalled_s: float = STALLED_S,
    sleep: Callable[[float], None] = time.sleep,
) -> list[dict[str, Any]]:
    """Return the items with these keys, at most 100, in any order, with consistent reads. Raises TimedOut."""
    backoff = _Backoff(f"table {table} returned no more items", "read", stalled_s, sleep)
    found, left = _get(client, table, keys)
    if left:
        with waiting(f"read capacity of table {table}, up to {stalled_s:.0f} s without progress"):
            while left:
                backoff.wait(moved=len(left) < len(keys))
                keys = left
                items, left = _get(client, table, keys)
                found += items
    return found


@dataclass
class _Backoff:
    """Waits longer each time without progress, and gives up after `stalled_s`."""

    what: str
    capacity: str
    stalled_s: float
    sleep: Callable[[float], None]
    pause_s: float = FIRST_PAUSE_S
    moved_at: float = field(default_factory=time.monotonic)

    def wait(self, *, moved: bool) -> None:
        if moved:
            self.moved_at, self.pause_s = time.monotonic(), FIRST_PAUSE_S
        if time.monotonic() - self.moved_at > self.stalled_s:
            raise TimedOut(
                f"{self.what} for {self.stalled_s:.0f} s: its {self.capacity} capacity is used up",
                hint=f"run the same command again, or give the table more {self.capacity} capacity",
            )
        # Full jitter: a random pause up to the bound, so that parallel batches do not retry at once.
        self.sleep(random.uniform(0, self.pause_s))
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)


def takes_transactions(client: DynamoDBClient, table: str) -> bool:
    """Return whether many items are written faster in transactions: DynamoDB Local, and no stream."""
    stream = client.describe_table(TableName=table)["Table"].get("StreamSpecification", {})
    return is_dynamodb_local(client, table) and not stream.get("StreamEnabled")


def is_dynamodb_local(client: DynamoDBClient, table: str) -> bool:
    """Return whether a table is one of Amazon's DynamoDB Local."""
    return LOCAL_ARN in client.describe_table(TableName=table)["Table"].get("TableArn", "")


def _transact(client: DynamoDBClient, table: str, batch: list[Request]) -> bool:
    """Write a batch in one transaction; return whether it was taken: it may be too large, or meet another writer."""
    parts: Any = [
        {name.removesuffix("Request"): {"TableName": table, **content}}
        for request in batch
        for name, content in request.items()
    ]
    try:
        client.transact_write_items(TransactItems=parts, ClientRequestToken=str(uuid.uuid4()))
    except AwsError as error:
        if error.aws_code not in REFUSED:
            raise
        return False
    return True


def _write_batch(
    client: DynamoDBClient, table: str, batch: list[Request], stalled_s: float, sleep: Callable[[float], None]
) -> None:
    left = _send(client, table, batch)
    if not left:
        return
    backoff = _Backoff(f"table {table} accepted no more items", "write", stalled_s, sleep)
    with waiting(f"write capacity of table {table}, up to {stalled_s:.0f} s without progress"):
        while left:
            backoff.wait(moved=len(left) < len(batch))
            batch, left = left, _send(client, table, left)


def _send(client: DynamoDBClient, table: str, batch: list[Request]) -> list[Request]:
    """Send a batch and return the unprocessed requests."""
    requests: Any = {table: batch}
    answer: Any = client.batch_write_item(RequestItems=requests)
    rest: list[Request] = answer.get("UnprocessedItems", {}).get(table, [])
    return rest


def _get(client: DynamoDBClient, table: str, keys: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the items of these keys, and the unprocessed keys."""
    answer: Any = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
    return answer["Responses"].get(table, []), (answer.get("UnprocessedKeys") or {}).get(table, {}).get("Keys", [])
