"""Repairs what is found among the chat's items, a cause at a time: what would be done as lines, and the doing of it.

Each repair reads again what it is about, and changes an item only where it is still as it was read: so any of them may
be repeated, cut short, and run beside others who write. Texts are kept: a message is removed only where nobody sent or
sees it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from . import batches, relinking, retiming
from .batches import Change
from .causes import CLAIM, FORMER, FUTURE, LISTED, OFFSET, ROWS, STRAY, UNREADABLE
from .claims import STALE_S
from .consistency import Group, Survey, cause_of
from .items import Item, User, sort_key_of, text_of, user_attributes
from .messages import each_message
from .repairs import Repair, Repaired, row_repairs, settled
from .streams import group_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT_ONCE = 1000
"""So many items without a group make one repair."""
LATER = {
    FUTURE: "it becomes now, those before it keep their distance",
    OFFSET: "the same time with +00:00",
    UNREADABLE: "the same time as the app reads it, or before the oldest message where it is none",
}
NAMES = ("user_uuid", "user_display_name", "user_handle")
Scan = Callable[[], Iterable[Item]]


def repairs(
    client: DynamoDBClient,
    table: str,
    cause: str,
    scan: Scan,
    users: Sequence[User],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Repair]:
    """Yield what repairs a cause. `scan` reads all items; `users` are those of the database."""
    if cause in (CLAIM, LISTED, STRAY):
        items = (item for item in scan() if cause_of(item) == cause)
        while some := list(itertools.islice(items, AT_ONCE)):
            yield _of_items(client, table, cause, some, sleep)
        return
    if cause == FORMER:
        yield from relinking.repairs(client, table, scan, users)
        return
    survey = Survey()
    for item in scan():
        survey.add(item)
    if cause == ROWS:
        yield from row_repairs(client, table, survey, users)
        return
    for name in dict.fromkeys(fault.group for fault in survey.faults() if fault.cause == cause):
        group = survey.groups[name]
        if cause in LATER:
            told = partial(_tell_moves, client, table, name, cause, group)
            yield Repair(told, partial(_move, client, table, name, cause, group))
        else:
            yield _seating(client, table, name, group, users)


def _of_items(
    client: DynamoDBClient, table: str, cause: str, items: list[Item], sleep: Callable[[float], None]
) -> Repair:
    """Return the repair of items that are wrong in themselves: all go but messages, which lose one attribute."""
    read_at = time.monotonic()

    def perform() -> Repaired:
        if cause == CLAIM:  # one that is still the same after this time is nobody's
            sleep(max(0.0, read_at + STALE_S - time.monotonic()))
        return Repaired("", *batches.perform(client, (_change(table, cause, item) for item in items)))

    mark = "~ message" if cause == LISTED else "- item"
    end = ", without message_group_uuid" if cause == LISTED else ""
    return Repair(lambda: (f"{mark} {text_of(item, 'pk')} {sort_key_of(item)}{end}" for item in items), perform)


def _change(table: str, cause: str, item: Item) -> Change:
    if cause != LISTED:
        return batches.delete(table, item)
    kept = {name: value for name, value in item.items() if name != "message_group_uuid"}
    return batches.rewrite(table, item, kept)


def _tell_moves(client: DynamoDBClient, table: str, name: str, cause: str, group: Group) -> Iterator[str]:
    moves = retiming.read_moves(client, table, name, cause)
    along = len(moves) - group.wrong[cause]
    if moves:
        counted = _counted(len(moves) - max(along, 0), "message")
        yield f"~ {counted} of group {name}, the newest of {max(moves)}: {LATER[cause]}"
    if along > 0:
        yield f"~ {_counted(along, 'message')} before them, which move along: the order stays"


def _move(client: DynamoDBClient, table: str, name: str, cause: str, group: Group) -> Repaired:
    """Move the messages of a group, and then its rows to the newest one."""
    moves = retiming.read_moves(client, table, name, cause)
    done, error = retiming.apply_moves(client, table, name, moves)
    rows = settled(client, table, name, group)
    return Repaired(name, done, error or rows.error)


def _seating(client: DynamoDBClient, table: str, name: str, group: Group, users: Sequence[User]) -> Repair:
    """Return what lets everybody who is in a group find it: a row each. Of a group that no user is in, what removes it.

    Users are those of the database, whoever has a row already, and beside one of these every sender.
    """
    names = {**_told_names(group), **{user.uuid: user_attributes(user) for user in users}}
    known = {user.uuid for user in users} | group.rows.keys()
    owners = sorted((group.members | group.senders.keys()) & known)
    owners = sorted({*owners, *group.senders}) if owners else []
    if not owners:
        return _removal(client, table, name, group, {user.handle for user in users})
    others = {owner: _other(group, owner, owners, names) for owner in owners}
    added = [f"+ group row of user {owner} in group {name}" for owner in owners if owner not in group.rows]
    lines = added or [f"~ group rows of group {name}: none tells of somebody who is gone"]
    return Repair(partial(list, lines), partial(settled, client, table, name, group, others))


def _told_names(group: Group) -> dict[str, Item]:
    """Return what messages and rows of a group tell of each user."""
    rows = (row for own in group.rows.values() for row in own)
    told = [*group.senders.values(), *rows]
    return {text_of(item, "user_uuid"): {name: item[name] for name in NAMES if name in item} for item in told}


def _other(group: Group, owner: str, owners: Sequence[str], names: dict[str, Item]) -> Item:
    """Return what a user's row tells of another owner: of the one that it tells of now, where that is one."""
    told = [text_of(row, "user_uuid") for row in sorted(group.rows.get(owner, []), key=sort_key_of, reverse=True)]
    ways = [*(uuid for uuid in told if uuid in owners), *(uuid for uuid in owners if uuid != owner), owner]
    return next((names[uuid] for uuid in ways if uuid in names), {})


def _removal(client: DynamoDBClient, table: str, name: str, group: Group, handles: set[str]) -> Repair:
    """Return what removes the messages of a group that no user is in."""

    def lines() -> Iterator[str]:
        for message in each_message(client, table, name):
            yield f"- message of group {name}, which no user is in: {sort_key_of(message)}"

    def perform() -> Repaired:
        if handles & {text_of(message, "user_handle") for message in group.senders.values()}:
            return Repaired(name, 0, "its users have other uuids in the database: that comes first")
        if group_rows.find_rows(client, table, name, group.senders, sure=True):
            return Repaired(name, 0, "somebody has a row in it by now")
        gone = (batches.delete(table, message) for message in each_message(client, table, name))
        return Repaired(name, *batches.perform(client, gone))

    return Repair(lines, perform)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
