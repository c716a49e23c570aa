"""Items in bulk: batches of 25, several at once, and what DynamoDB did not take tried again.

Source: Amazon DynamoDB API Reference, BatchWriteItem: a call may succeed and still give items back as
UnprocessedItems, to be sent again after a pause that grows; BatchGetItem the same, with UnprocessedKeys.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import TimedOut
from ..machine.parallel import side_by_side
from ..machine.waiting import waiting

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_SIZE = 25
BATCHES_AT_ONCE = 4
STALLED_S = 60.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0

VALUES_AT_ONCE = 20_000
_Dealt = TypeVar("_Dealt")
Request = dict[str, Any]
"""A write request of BatchWriteItem: {"PutRequest": {"Item": …}} or {"DeleteRequest": {"Key": …}}."""


def puts(items: Iterable[Any]) -> Iterator[Request]:
    """Ask for these items (DynamoDB JSON) to be written."""
    return ({"PutRequest": {"Item": item}} for item in items)


def deletes(keys: Iterable[Any]) -> Iterator[Request]:
    """Ask for the items with these keys (DynamoDB JSON) to be deleted."""
    return ({"DeleteRequest": {"Key": key}} for key in keys)


def write(
    client: DynamoDBClient,
    table: str,
    requests: Iterable[Request],
    *,
    on_written: Callable[[int], None] = lambda count: None,
    at_once: int = BATCHES_AT_ONCE,
    stalled_s: float = STALLED_S,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write every request and return how many there were. No two of them may have the same key.

    Takes the requests as they come, `at_once` batches of them, so that any number fits in memory. `on_written` hears
    how many went through so far, from several threads. Raises TimedOut when a batch gets nowhere for `stalled_s`.
    """
    waiting = _Batches(requests)
    counting = threading.Lock()
    written = 0

    def work() -> None:
        nonlocal written
        for batch in waiting:
            _write_batch(client, table, batch, stalled_s, sleep)
            with counting:
                written += len(batch)
                on_written(written)

    try:
        side_by_side([work] * at_once, at_once=at_once)
    finally:
        waiting.close()
    return written


def dealt(source: Iterator[_Dealt], at_most: int) -> list[_Dealt]:
    """Take the next ones, fewer of those that hold many values: in memory these take a hundred times their size."""
    found: list[_Dealt] = []
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
    """Deals out batches to several threads; after `close` there are none left."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = iter(requests)
        self._dealing = threading.Lock()
        self._closed = False

    def __iter__(self) -> Iterator[list[Request]]:
        try:
            while batch := self._next():
                yield batch
        except BaseException:
            self.close()
            raise

    def _next(self) -> list[Request]:
        with self._dealing:
            return [] if self._closed else dealt(self._requests, BATCH_SIZE)

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
    """Return the items that have one of at most 100 keys, as they are now, in any order. Raises TimedOut."""
    patience = _Patience(f"table {table} gave no further item", "read", stalled_s, sleep)
    found, left = _get(client, table, keys)
    if left:
        with waiting(f"read capacity of table {table}, {stalled_s:.0f} s at most without a further item"):
            while left:
                patience.wait(moved=len(left) < len(keys))
                keys = left
                items, left = _get(client, table, keys)
                found += items
    return found


@dataclass
class _Patience:
    """Waits longer each time that nothing moved, and gives up after `stalled_s` of that."""

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
        # Full jitter: any pause up to the bound, so that parallel batches do not knock again together.
        self.sleep(random.uniform(0, self.pause_s))
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)


def _write_batch(
    client: DynamoDBClient, table: str, batch: list[Request], stalled_s: float, sleep: Callable[[float], None]
) -> None:
    left = _send(client, table, batch)
    if not left:
        return
    patience = _Patience(f"table {table} took no further item", "write", stalled_s, sleep)
    with waiting(f"write capacity of table {table}, {stalled_s:.0f} s at most without a further item"):
        while left:
            patience.wait(moved=len(left) < len(batch))
            batch, left = left, _send(client, table, left)


def _send(client: DynamoDBClient, table: str, batch: list[Request]) -> list[Request]:
    """Send a batch and return what was not taken of it."""
    requests: Any = {table: batch}
    answer: Any = client.batch_write_item(RequestItems=requests)
    rest: list[Request] = answer.get("UnprocessedItems", {}).get(table, [])
    return rest


def _get(client: DynamoDBClient, table: str, keys: list[Any]) -> tuple[list[Any], list[Any]]:
    """Ask for the items of these keys, and return what came, and the keys that were not looked at."""
    answer: Any = client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
    return answer["Responses"].get(table, []), (answer.get("UnprocessedKeys") or {}).get(table, {}).get("Keys", [])
