"""Whether the chat's items agree with each other: what messages.py says of their shapes, held against a whole table.

A survey looks at every item once, in any order. It keeps a few strings for each group and group row, and of all the
messages only the newest of each group. Items that change while they are read one after the other can look wrong when
they are not: `confirmed` looks at each group in question again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .messages import Item, each_message, group_of, key_of, parse_time, sort_key_of, user_references
from .streams import group_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MESSAGE, GROUP_ROW = "MSG#", "GRP#"
PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.4)
"""When to look again. Together longer than the stream's function takes to follow a message."""
LOOKED_AT_AGAIN = 100
"""So many groups; where more are wrong, traffic is not the reason."""


@dataclass(frozen=True)
class Fault:
    """Something that does not agree. `surplus` is the key of an item that should not be there, where that is clear.

    `sign` is what a fault is known by when its group is looked at again: the text may tell of times that go on.
    """

    subject: str
    text: str
    surplus: Item | None = None
    group: str = field(default="", compare=False)
    sign: str = field(default="", compare=False)


@dataclass
class _Group:
    messages: int = 0
    newest_at: str = ""
    newest_text: str = ""
    senders: set[str] = field(default_factory=set)
    rows: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))


class Survey:
    """Looks at items one by one, then tells what does not agree.

    Messages later than `now`, a time with offset, are faults; by default those of the future when they are looked at.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._faults: list[Fault] = []
        self._late: Counter[str] = Counter()
        self._unreadable: Counter[str] = Counter()

    def add(self, item: Item) -> None:
        """Take note of an item."""
        pk = str(item.get("pk", {}).get("S", ""))
        if pk.startswith(MESSAGE):
            self._add_message(pk[len(MESSAGE) :], item)
        elif pk.startswith(GROUP_ROW) and group_of(item):
            self._groups[group_of(item)].rows[pk[len(GROUP_ROW) :]].append(item)
        else:
            self._faults.append(
                Fault(f"item {pk} {sort_key_of(item)}", "neither a message nor a group row", key_of(item))
            )

    def faults(self) -> Iterator[Fault]:
        """Tell what does not agree, group by group."""
        yield from self._faults
        for group, found in sorted(self._groups.items()):
            subject = f"group {group}"
            if self._unreadable[group]:
                text = f"{self._unreadable[group]} of {found.messages} messages have a time that the app cannot read"
                yield Fault(subject, text, None, group, "unreadable")
            if self._late[group]:
                text = f"{self._late[group]} of {found.messages} messages lie in the future: new ones do not show"
                yield Fault(subject, text, None, group, "future")
            yield from _faults_of(group, found)

    def _add_message(self, group: str, item: Item) -> None:
        found, at = self._groups[group], sort_key_of(item)
        found.messages += 1
        found.senders.update(uuid for uuid, _ in user_references(item))
        if at > found.newest_at:
            found.newest_at, found.newest_text = at, _message(item)
        if group_of(item):
            text = "carries message_group_uuid: it shows among the groups"
            self._faults.append(Fault(f"message {group} {at}", text, None, group, text))
        try:
            self._late[group] += parse_time(at) > (self._now or datetime.now(timezone.utc))
        except ValueError:
            self._unreadable[group] += 1


def confirmed(
    client: DynamoDBClient, table: str, faults: Iterable[Fault], *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Fault]:
    """Give the faults that are still there each time their groups are read again, as they are then.

    A whole table cannot be read at one moment: a row that a message moves meanwhile is seen twice, or not at all.
    """
    suspects = {(fault.subject, fault.sign): fault for fault in faults}
    groups = dict.fromkeys(fault.group for fault in suspects.values())
    beyond = set(list(groups)[LOOKED_AT_AGAIN:])
    certain = {known: fault for known, fault in suspects.items() if fault.group in beyond}
    left = {known: fault for known, fault in suspects.items() if fault.group not in beyond}
    for pause_s in PAUSES_S if left else ():
        sleep(pause_s)
        groups = dict.fromkeys(fault.group for fault in left.values() if fault.group)
        now = {group: _faults_now(client, table, group, left.values()) for group in groups}
        left = {
            known: now[fault.group][known] if fault.group else fault
            for known, fault in left.items()
            if (known in now[fault.group] if fault.group else _is_there(client, table, fault))
        }
    yield from (left.get(known) or certain[known] for known in suspects if known in left or known in certain)


def _faults_now(client: DynamoDBClient, table: str, group: str, known: Iterable[Fault]) -> dict[tuple[str, str], Fault]:
    """Read a group again, also the rows that are known of it, and give all its faults."""
    survey = Survey()
    users = {_owner(fault.surplus) for fault in known if fault.group == group and fault.surplus}
    for message in each_message(client, table, group):
        users.update(uuid for uuid, _ in user_references(message))
        survey.add(message)
    for row in group_rows.find_rows(client, table, group, users, sure=True):
        survey.add(row)
    return {(found.subject, found.sign): found for found in survey.faults()}


def _is_there(client: DynamoDBClient, table: str, fault: Fault) -> bool:
    return bool(fault.surplus and client.get_item(TableName=table, Key=fault.surplus, ConsistentRead=True).get("Item"))


def _faults_of(name: str, group: _Group) -> Iterator[Fault]:
    subject = f"group {name}"
    if not group.rows:
        yield Fault(subject, f"{group.messages} messages and no group row: nobody finds them", None, name, "no row")
        return
    if not group.messages:
        for row in (row for rows in group.rows.values() for row in rows):
            text = f"group row of user {_owner(row)} without a message"
            yield Fault(subject, text, key_of(row), name, f"{text} {sort_key_of(row)}")
        return
    members = set(group.rows)
    for owner, rows in sorted(group.rows.items()):
        members.update(uuid for row in rows for uuid, _ in user_references(row))
        yield from _faults_of_rows(name, owner, rows, group)
    for uuid in sorted(members - set(group.rows)):
        yield Fault(subject, f"user {uuid} is in it and has no group row", None, name, f"no row of {uuid}")
    for uuid in sorted(group.senders - members):
        text = f"user {uuid} has sent a message and is not in it"
        yield Fault(subject, text, None, name, text)


def _faults_of_rows(name: str, owner: str, rows: list[Item], group: _Group) -> Iterator[Fault]:
    subject = f"group {name}"
    rows = sorted(rows, key=sort_key_of)
    for row in rows[:-1]:
        text = f"user {owner} has {len(rows)} group rows"
        yield Fault(subject, text, key_of(row), name, f"one too many of {owner}: {sort_key_of(row)}")
    newest = rows[-1]
    at = sort_key_of(newest)
    if at != group.newest_at:
        text = f"group row of user {owner} is of {at}, the newest message of {group.newest_at}"
        yield Fault(subject, text, None, name, f"row of {owner} still at {at}")
    elif _message(newest) != group.newest_text:
        text = f"group row of user {owner} has another text than the newest message"
        yield Fault(subject, text, None, name, f"{text} {at}")


def _owner(row: Item) -> str:
    return str(row["pk"]["S"])[len(GROUP_ROW) :]


def _message(item: Item) -> str:
    return str(item.get("message", {}).get("S", ""))
