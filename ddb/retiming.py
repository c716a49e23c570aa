"""Gives messages with wrong times right ones: their texts, ids and order stay, and nothing is removed.

The time is part of a message's key, so a message is moved by a new item and the deletion of the old one, in one
transaction. The decisions are about keys alone; the texts are read a page at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from . import batches
from .batches import Performed
from .causes import FUTURE, OFFSET, UNREADABLE
from .items import Item, format_time, message_partition, parse_time, sort_key_of
from .messages import each_item, each_message

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MICROSECOND = timedelta(microseconds=1)
WIDEST_GAP = timedelta(hours=1)
"""Moved messages stay as far apart as they were, up to this: a clock that was wrong for years leaves a gap of years."""
LOOSE = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?\s*(?:Z|UTC|([+-]\d\d):?(\d\d))?", re.IGNORECASE
)
"""A time as other programs write it. Without an offset it is UTC."""

Moves = dict[str, str]
"""The new sort key of each message that moves, by the old one."""


def read_moves(client: DynamoDBClient, table: str, group: str, cause: str) -> Moves:
    """Read a group's keys as they are now, and decide which of its messages get another time."""
    keys = [sort_key_of(message) for message in each_message(client, table, group)]
    return DECISIONS[cause](keys, datetime.now(timezone.utc))


def apply_moves(client: DynamoDBClient, table: str, group: str, moves: Moves) -> Performed:
    """Move messages, the oldest first: whatever cuts it short, those that are left are still the newer ones."""
    return batches.perform(
        client,
        (
            batches.replace(table, message, {**message, "sk": {"S": moves[sort_key_of(message)]}})
            for message in _in_order(client, table, group, moves)
            if sort_key_of(message) in moves
        ),
    )


def out_of_the_future(keys: Sequence[str], now: datetime) -> Moves:
    """Let the newest message be of now, and those before it as far before it as they were. `keys`: newest first.

    A message that is before all of these anyway keeps its time: the conversation of a seed that ran into the future
    moves as a whole, what was said before it stays.
    """
    moves, taken = Moves(), set(keys)
    before, gap_to = now + MICROSECOND, now + MICROSECOND
    for key in keys:
        at = _time(key)
        if at is None or (at.utcoffset() and at <= now):
            continue  # not in its place, which is another cause
        new = at
        if at > now or key >= format_time(before):
            gap = MICROSECOND if before > now else min(max(gap_to - at, MICROSECOND), WIDEST_GAP)
            new = _free(before - gap, taken, -MICROSECOND)
            moves[key] = format_time(new)
        before, gap_to = new.astimezone(timezone.utc), at
    return moves


def into_utc(keys: Sequence[str], now: datetime) -> Moves:
    """Write the same times with the offset +00:00."""
    moves, taken = Moves(), set(keys)
    for key in reversed(keys):
        at = _time(key)
        if at is not None and at.utcoffset() != timedelta(0):
            moves[key] = format_time(_free(_utc(at, now), taken, MICROSECOND))
    return moves


def into_readable(keys: Sequence[str], now: datetime) -> Moves:
    """Write times as the app reads them. What is no time at all comes before the oldest message, so that it is kept."""
    moves, taken = Moves(), set(keys)
    oldest = min((_utc(at, now) for at in map(_time, keys) if at), default=now)
    for key in keys:
        if _time(key) is None:
            at = _guessed(key)
            if at is None:
                new = oldest = _free(min(oldest, now) - MICROSECOND, taken, -MICROSECOND)
            else:
                new = _free(at, taken, MICROSECOND)
            moves[key] = format_time(new)
    return moves


DECISIONS: dict[str, Callable[[Sequence[str], datetime], Moves]] = {
    FUTURE: out_of_the_future,
    OFFSET: into_utc,
    UNREADABLE: into_readable,
}


def _free(at: datetime, taken: set[str], step: timedelta) -> datetime:
    """Return this time, or the next one that no message has, and take it."""
    while format_time(at) in taken:
        at += step
    taken.add(format_time(at))
    return at


def _time(sort_key: str) -> datetime | None:
    try:
        return parse_time(sort_key)
    except ValueError:
        return None


def _guessed(sort_key: str) -> datetime | None:
    """Return the time that was meant by a sort key which the app cannot read; None where it is none."""
    found = LOOSE.fullmatch(sort_key.strip())
    if found is None:
        return None
    day, minute, second, fraction, hours, minutes = found.groups()
    text = f"{day}T{minute}:{second or '00'}.{(fraction or '0'):0<6}{hours or '+00'}:{minutes or '00'}"
    try:
        return parse_time(text).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _utc(at: datetime, now: datetime) -> datetime:
    """Return a time in UTC; now for one at the end of the calendar, which UTC has not got."""
    try:
        return at.astimezone(timezone.utc)
    except OverflowError:
        return now


def _in_order(client: DynamoDBClient, table: str, group: str, moves: Moves) -> Iterator[Item]:
    """Return the messages from the first that moves to the last, as they are now, oldest first."""
    if not moves:  # somebody else has moved them since they were found
        return iter(())
    return each_item(
        client,
        TableName=table,
        KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={
            ":pk": {"S": message_partition(group)},
            ":first": {"S": min(moves)},
            ":last": {"S": max(moves)},
        },
        ConsistentRead=True,
    )
