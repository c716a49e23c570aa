"""Whether the chat's items agree with each other: what messages.py says of their shapes, held against a whole table.

A survey looks at every item once, in any order. It keeps the rows of each group, and of all the messages only the
newest of each sender. Items that change while they are read one after the other can look wrong when they are not:
`confirmed` looks at each group in question again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from . import claims
from .causes import CLAIM, FUTURE, LISTED, MEMBERS, OFFSET, ROWS, STRAY, UNFOUND, UNREADABLE
from .items import Item, group_of, key_of, parse_time, sort_key_of, text_of, user_references
from .streams import group_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MESSAGE, GROUP_ROW, START = "MSG#", "GRP#", "NEW#"
PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.4)
"""When to look again. Together longer than the stream's function takes to follow a message."""
LOOKED_AT_AGAIN = 100
"""So many groups, and items that are wrong in themselves; where more are wrong, traffic is not the reason."""
WRONG_TIMES = {
    UNREADABLE: "a time that the app cannot read",
    OFFSET: "another offset than +00:00 in their time: they are not in their place",
    FUTURE: "a time in the future: new ones do not show",
}


@dataclass(frozen=True)
class Fault:
    """Something that does not agree. `cause` is one of causes.py; `count` says of how many items it is.

    `sign` is what a fault is known by when its group is looked at again: the text may tell of times that go on.
    `seen` is the key of the item that shows it, where that is not the newest message; `users` are those of the group.
    """

    subject: str
    text: str
    cause: str
    count: int = 1
    group: str = field(default="", compare=False)
    sign: str = field(default="", compare=False)
    users: frozenset[str] = field(default=frozenset(), compare=False)
    seen: Item | None = field(default=None, compare=False)


@dataclass
class Group:
    """What was seen of a group: its newest message, the newest of each sender, and each user's rows."""

    messages: int = 0
    newest: Item | None = None
    senders: dict[str, Item] = field(default_factory=dict)
    rows: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)
    first_wrong: dict[str, Item] = field(default_factory=dict)

    @property
    def members(self) -> set[str]:
        """The users whom the rows know: whose they are, and whom they are about."""
        rows = (row for own in self.rows.values() for row in own)
        return {*self.rows, *(uuid for row in rows for uuid, _ in user_references(row))}

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two whose group it is: those of the rows, or where these do not tell, with those who sent messages."""
        members = self.members
        found = sorted(members if len(members) > 1 else members | self.senders.keys())
        return (found[0], found[1]) if len(found) == 2 else None


class Survey:
    """Looks at items one by one, then tells what does not agree.

    Messages later than `now`, a time with offset, are faults; by default those of the future when they are looked at.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now
        self.groups: dict[str, Group] = defaultdict(Group)
        self._faults: dict[str, list[Fault]] = defaultdict(list)
        self._further: Counter[str] = Counter()

    def add(self, item: Item) -> None:
        """Take note of an item."""
        pk = text_of(item, "pk")
        cause = cause_of(item)
        if cause:
            self._note(_fault_of(item, cause))
        if pk.startswith(MESSAGE):
            self._add_message(pk[len(MESSAGE) :], item)
        elif not cause:
            self.groups[group_of(item)].rows[pk[len(GROUP_ROW) :]].append(item)

    def faults(self) -> Iterator[Fault]:
        """Tell what does not agree: items that are wrong in themselves, then group by group.

        Of very many such items the last one that is named stands for the further ones.
        """
        for cause, (*first, last) in self._faults.items():
            yield from first
            yield replace(last, count=1 + self._further[cause])
        for group, found in sorted(self.groups.items()):
            yield from _faults_of_messages(group, found)
            yield from _faults_of(group, found)

    def _note(self, fault: Fault) -> None:
        if len(self._faults[fault.cause]) < LOOKED_AT_AGAIN:
            self._faults[fault.cause].append(fault)
        else:
            self._further[fault.cause] += 1

    def _add_message(self, group: str, item: Item) -> None:
        found, at = self.groups[group], sort_key_of(item)
        found.messages += 1
        if found.newest is None or at > sort_key_of(found.newest):
            found.newest = item
        for uuid, _ in user_references(item):
            if uuid not in found.senders or at > sort_key_of(found.senders[uuid]):
                found.senders[uuid] = item
        for wrong in self._wrong(at):
            found.wrong[wrong] += 1
            found.first_wrong.setdefault(wrong, key_of(item))

    def _wrong(self, at: str) -> Iterator[str]:
        try:
            time = parse_time(at)
        except ValueError:
            yield UNREADABLE
            return
        if time.utcoffset() != timedelta(0):
            yield OFFSET
        if time > (self._now or datetime.now(timezone.utc)):
            yield FUTURE


def cause_of(item: Item) -> str:
    """Return what is wrong with an item in itself; empty for a message or a group row as it should be."""
    pk = text_of(item, "pk")
    if pk.startswith(MESSAGE):
        return LISTED if group_of(item) else ""
    if pk.startswith(GROUP_ROW) and group_of(item):
        return ""
    return CLAIM if pk.startswith(START) else STRAY


def _fault_of(item: Item, cause: str) -> Fault:
    pk, sk, key = text_of(item, "pk"), sort_key_of(item), key_of(item)
    if cause == LISTED:
        group, text = pk[len(MESSAGE) :], "carries message_group_uuid: it shows among the groups"
        return Fault(f"message {group} {sk}", text, cause, group=group, sign=text, seen=key)
    if cause == CLAIM:
        text, sign = "a start of a conversation that was cut short", repr(item.get("claim"))
        return Fault(f"item {pk} {sk}", text, cause, sign=sign, seen=key)
    return Fault(f"item {pk} {sk}", "neither a message nor a group row", cause, seen=key)


def references(item: Item) -> list[tuple[str, str, bool]]:
    """Name the users in an item: uuid, handle or "", and whether that must be the present one.

    A group row shows who the other one is; a message keeps the name that its sender had.
    """
    is_row = text_of(item, "pk").startswith(GROUP_ROW)
    return [(uuid, handle, is_row) for uuid, handle in user_references(item)]


def confirmed(
    client: DynamoDBClient, table: str, faults: Iterable[Fault], *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Fault]:
    """Yield the faults that are still there each time their groups are read again.

    A whole table cannot be read at one moment: a row that a message moves meanwhile is seen twice, or not at all.
    """
    suspects = {(fault.subject, fault.sign): fault for fault in faults}
    groups = dict.fromkeys(fault.group for fault in suspects.values())
    beyond = set(list(groups)[LOOKED_AT_AGAIN:])
    certain = {known: fault for known, fault in suspects.items() if fault.group in beyond}
    left = {known: fault for known, fault in suspects.items() if fault.group not in beyond}
    for pause_s in PAUSES_S:
        if left:
            sleep(pause_s)
            left = _still(client, table, left)
    if any(fault.cause == CLAIM for fault in left.values()):
        sleep(claims.STALE_S - sum(PAUSES_S))
        left = {
            known: fault for known, fault in left.items() if fault.cause != CLAIM or _is_there(client, table, fault)
        }
    yield from (left.get(known) or certain[known] for known in suspects if known in left or known in certain)


Known = dict[tuple[str, str], Fault]


def _still(client: DynamoDBClient, table: str, left: Known) -> Known:
    """Look at the groups again, and give those of the faults that are still there."""
    groups = dict.fromkeys(fault.group for fault in left.values() if fault.group)
    now = {group: _faults_now(client, table, group, left.values()) for group in groups}
    return {
        known: fault
        for known, fault in left.items()
        if (known in now[fault.group] if fault.group else _is_there(client, table, fault))
    }


def _faults_now(client: DynamoDBClient, table: str, group: str, left: Iterable[Fault]) -> set[tuple[str, str]]:
    """Read again what the faults of a group are about, and give what those that it has now are known by.

    That is its rows, its newest message, and the messages that show a fault: not thousands of others.
    """
    faults = [fault for fault in left if fault.group == group]
    newest = group_rows.newest_message(client, table, group)
    users = {uuid for fault in faults for uuid in fault.users}
    survey = Survey()
    for item in group_rows.find_rows(client, table, group, users, sure=True):
        survey.add(item)
    for key in {repr(fault.seen): fault.seen for fault in faults if fault.seen}.values():
        item = _item(client, table, key)
        if item and (newest is None or key != key_of(newest)):
            survey.add(item)
    if newest:
        survey.add(newest)
    return {(fault.subject, fault.sign) for fault in survey.faults()}


def _item(client: DynamoDBClient, table: str, key: Item) -> Item:
    return client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})


def _is_there(client: DynamoDBClient, table: str, fault: Fault) -> bool:
    """Return whether the item of a fault is still there; a claim: whether it is still the same one's."""
    found = _item(client, table, fault.seen) if fault.seen else {}
    return bool(found) and (fault.cause != CLAIM or repr(found.get("claim")) == fault.sign)


def _faults_of_messages(name: str, group: Group) -> Iterator[Fault]:
    """Tell of messages with wrong times; the first of each kind shows it when it is looked at again."""
    for cause, wrong in WRONG_TIMES.items():
        if count := group.wrong[cause]:
            text = f"{count:,} of {_counted(group.messages, 'message')} with {wrong}"
            yield Fault(f"group {name}", text, cause, count, name, wrong, seen=group.first_wrong[cause])


def _faults_of(name: str, group: Group) -> Iterator[Fault]:
    subject, users = f"group {name}", frozenset(group.members | group.senders.keys())
    if group.newest is None:
        for row in (row for rows in group.rows.values() for row in rows):
            text = f"group row of user {_owner(row)} without a message"
            yield Fault(subject, text, ROWS, 1, name, f"{text} {sort_key_of(row)}", users)
        return
    if not group.rows:
        text = "messages and no group row: nobody finds them"
        if group.pair:
            yield Fault(subject, text, ROWS, 1, name, "no row", users)
        else:
            text = f"{text}, nor do they tell which two it is of"
            yield Fault(subject, text, UNFOUND, group.messages, name, "no row", users)
        return
    for owner, rows in sorted(group.rows.items()):
        for text, sign in _faults_of_rows(owner, rows, group.newest):
            yield Fault(subject, text, ROWS, 1, name, sign, users)
    yield from _faults_of_members(name, group, users)


def _faults_of_members(name: str, group: Group, users: frozenset[str]) -> Iterator[Fault]:
    """Tell who lacks a row."""
    subject, members, pair = f"group {name}", group.members, group.pair or ()
    for uuid in sorted(members - group.rows.keys()):
        text = f"user {uuid} is in it and has no group row"
        yield Fault(subject, text, ROWS if pair else MEMBERS, 1, name, f"no row of {uuid}", users)
    for uuid in sorted(group.senders.keys() - members):
        text, seen = f"user {uuid} has sent a message and is not in it", key_of(group.senders[uuid])
        yield Fault(subject, text, ROWS if uuid in pair else MEMBERS, 1, name, text, users, seen)


def _faults_of_rows(owner: str, rows: list[Item], last: Item) -> Iterator[tuple[str, str]]:
    """Tell what is wrong with a user's rows: the text and the sign."""
    rows = sorted(rows, key=sort_key_of)
    for row in rows[:-1]:
        yield f"user {owner} has {len(rows)} group rows", f"one too many of {owner}: {sort_key_of(row)}"
    newest = rows[-1]
    at = sort_key_of(newest)
    if at != sort_key_of(last):
        text = f"group row of user {owner} is of {at}, the newest message of {sort_key_of(last)}"
        yield text, f"row of {owner} still at {at}"
    elif _message(newest) != _message(last):
        text = f"group row of user {owner} has another text than the newest message"
        yield text, f"{text} {at}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _owner(row: Item) -> str:
    return str(row["pk"]["S"])[len(GROUP_ROW) :]


def _message(item: Item) -> str:
    return str(item.get("message", {}).get("S", ""))
