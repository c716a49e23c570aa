"""Reads a table's stream from the oldest record on, shard by shard, and delivers batches as Lambda would.

Keeps no position between runs: a stream holds its records for a day, and handlers must be idempotent anyway.
Source: Amazon DynamoDB Developer Guide, "DynamoDB Streams": a shard's records are in order, and a parent's come before
those of its children.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..aws.wire import Api, AwsError, api
from ..errors import LocalEnvError
from ..hints import Command
from .client import TableMissing, connect

if TYPE_CHECKING:
    from ..settings import Settings

Record = dict[str, Any]

IDLE_S = 0.25
"""Pause before polling again when nothing was new."""
REFRESH_S = 10.0
"""How often to list the shards, and to check that the table still has this stream."""
BATCH_SIZE = 100
RETRIES = 5
FIRST_PAUSE_S = 0.1


class Outcome(Protocol):
    """The outcome of a record; `error` is empty on success."""

    @property
    def sequence_number(self) -> str: ...
    @property
    def error(self) -> str: ...


OutcomeT = TypeVar("OutcomeT", bound=Outcome)


def batches(
    settings: Settings, table: str, *, once: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[Record]]:
    """Yield the records of a table's stream from the oldest on, as they come; with `once` end when there are no more.

    Records are those of a Lambda event: with eventSourceARN. Raises TableMissing, or LocalEnvError if the table has
    no stream or loses it, or if a new table replaces it.
    """
    stream = _Stream(api(settings, "dynamodbstreams"), lambda: _arn(settings, table), table)
    empty = 0
    while not (once and empty > 1):
        empty += 1
        for records in stream.read():
            empty = 0
            yield records
        if empty and not once:
            sleep(IDLE_S)


def outcomes(
    batches: Iterable[list[Record]],
    handle: Callable[[list[Record]], Iterable[OutcomeT]],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[OutcomeT]:
    """Pass each batch to `handle` and yield the outcome of each record once it is final.

    Retries as Lambda does with ReportBatchItemFailures: from the first failed record on, with backoff, and without it
    after five more attempts.
    """
    for records in batches:
        tries = 0
        while records:
            found = list(handle(records))
            failed = {one.sequence_number: one for one in found if one.error}
            first = next((place for place, record in enumerate(records) if _sequence(record) in failed), len(records))
            retried = {_sequence(record) for record in records[first:]}
            yield from (one for one in found if one.sequence_number not in retried)
            records, tries = records[first:], tries + 1 if first == 0 else 1
            if records and tries > RETRIES:
                yield failed[_sequence(records[0])]
                records, tries = records[1:], 0
            elif records:
                sleep(FIRST_PAUSE_S * 2**tries)


def _arn(settings: Settings, table: str) -> str:
    found: Any = connect(settings).describe_table(TableName=table)["Table"]
    if not found.get("StreamSpecification", {}).get("StreamEnabled"):
        raise LocalEnvError(
            f"table {table} has no stream",
            hint=Command("ddb.schema-load", first="add a StreamSpecification to its file in ddb/tables"),
        )
    return str(found["LatestStreamArn"])


class _Stream:
    """The shards of a stream, and how far each has been read."""

    def __init__(self, call: Api, find_arn: Callable[[], str], table: str) -> None:
        self._call = call
        self._find_arn = find_arn
        self._arn = find_arn()
        self._table = table
        self._parents: dict[str, str] = {}
        self._iterators: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._finished: set[str] = set()
        self._refreshed: float | None = None

    def read(self) -> Iterator[list[Record]]:
        """Yield a batch of new records, if any, of each shard whose parent has been read to its end."""
        if self._refreshed is None or time.monotonic() - self._refreshed > REFRESH_S:
            self._refresh()
        for shard, parent in list(self._parents.items()):
            if shard not in self._finished and (parent in self._finished or parent not in self._parents):
                records = self._next(shard)
                if records:
                    yield [{**record, "eventSourceARN": self._arn} for record in records]

    def _refresh(self) -> None:
        """List the shards and forget those that are gone. Raises LocalEnvError if the table has another stream now.

        The stream of a dropped table can be read for another day but gets no new records: so this checks the table.
        """
        try:
            is_same = self._find_arn() == self._arn
        except TableMissing as error:
            raise self._gone() from error
        if not is_same:
            raise self._gone()
        start: dict[str, Any] = {}
        found: dict[str, str] = {}
        while True:
            answer = self._ask("DescribeStream", StreamArn=self._arn, **start)["StreamDescription"]
            found.update({shard["ShardId"]: shard.get("ParentShardId", "") for shard in answer["Shards"]})
            if not answer.get("LastEvaluatedShardId"):
                break
            start = {"ExclusiveStartShardId": answer["LastEvaluatedShardId"]}
        self._parents = found
        self._refreshed = time.monotonic()

    def _next(self, shard: str) -> list[Record]:
        try:
            iterator = self._iterators.get(shard) or self._iterator(shard)
            answer = self._ask("GetRecords", ShardIterator=iterator, Limit=BATCH_SIZE)
        except AwsError as error:
            if error.aws_code not in ("ExpiredIteratorException", "TrimmedDataAccessException"):
                raise
            # No call for 15 minutes, or records dropped after a day: resume after the last record, or at the oldest.
            self._iterators.pop(shard, None)
            if error.aws_code == "TrimmedDataAccessException":
                self._last.pop(shard, None)
            return []
        records: list[Record] = answer["Records"]
        if records:
            self._last[shard] = _sequence(records[-1])
        if answer.get("NextShardIterator"):
            self._iterators[shard] = answer["NextShardIterator"]
        else:
            self._finished.add(shard)
            self._refreshed = None  # fetch its children
        return records

    def _iterator(self, shard: str) -> str:
        last = self._last.get(shard)
        start = {"ShardIteratorType": "TRIM_HORIZON"}
        if last:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last}
        return str(self._ask("GetShardIterator", StreamArn=self._arn, ShardId=shard, **start)["ShardIterator"])

    def _ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            return self._call(operation, **parameters)
        except AwsError as error:
            if error.aws_code != "ResourceNotFoundException":
                raise
            raise self._gone() from error

    def _gone(self) -> LocalEnvError:
        return LocalEnvError(
            f"the stream of table {self._table} is gone: the table was dropped or recreated, or its stream changed",
            hint="run the same command again: it starts with the current stream",
        )


def _sequence(record: Record) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
