"""Whether the chat's items agree with each other: what messages.py says of their shapes, held against a whole table.

A survey looks at every item once, in any order. It keeps a few strings for each group and group row, and of all the
messages only the newest of each group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

from .messages import Item, group_of, key_of, parse_time, sort_key_of, user_references

MESSAGE, GROUP_ROW = "MSG#", "GRP#"


@dataclass(frozen=True)
class Fault:
    """Something that does not agree. `surplus` is the key of an item that should not be there, where that is clear."""

    subject: str
    text: str
    surplus: Item | None = None


@dataclass
class _Group:
    messages: int = 0
    newest_at: str = ""
    newest_text: str = ""
    senders: set[str] = field(default_factory=set)
    rows: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))


class Survey:
    """Looks at items one by one, then tells what does not agree. `now` has an offset; later messages are faults."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(timezone.utc)
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
                yield Fault(
                    subject,
                    f"{self._unreadable[group]} of {found.messages} messages have a time that the app cannot read",
                )
            if self._late[group]:
                yield Fault(
                    subject, f"{self._late[group]} of {found.messages} messages lie in the future: new ones do not show"
                )
            yield from _faults_of(subject, found)

    def _add_message(self, group: str, item: Item) -> None:
        found, at = self._groups[group], sort_key_of(item)
        found.messages += 1
        found.senders.update(uuid for uuid, _ in user_references(item))
        if at > found.newest_at:
            found.newest_at, found.newest_text = at, _message(item)
        if group_of(item):
            self._faults.append(Fault(f"message {group} {at}", "carries message_group_uuid: it shows among the groups"))
        try:
            self._late[group] += parse_time(at) > self._now
        except ValueError:
            self._unreadable[group] += 1


def _faults_of(subject: str, group: _Group) -> Iterator[Fault]:
    if not group.rows:
        yield Fault(subject, f"{group.messages} messages and no group row: nobody finds them")
        return
    if not group.messages:
        for rows in group.rows.values():
            yield from (
                Fault(subject, f"group row of user {_owner(row)} without a message", key_of(row)) for row in rows
            )
        return
    members = set(group.rows)
    for owner, rows in sorted(group.rows.items()):
        members.update(uuid for row in rows for uuid, _ in user_references(row))
        yield from _faults_of_rows(subject, owner, rows, group)
    for uuid in sorted(members - set(group.rows)):
        yield Fault(subject, f"user {uuid} is in it and has no group row")
    for uuid in sorted(group.senders - members):
        yield Fault(subject, f"user {uuid} has sent a message and is not in it")


def _faults_of_rows(subject: str, owner: str, rows: list[Item], group: _Group) -> Iterator[Fault]:
    rows = sorted(rows, key=sort_key_of)
    for row in rows[:-1]:
        yield Fault(subject, f"user {owner} has {len(rows)} group rows", key_of(row))
    newest = rows[-1]
    if sort_key_of(newest) != group.newest_at:
        text = f"group row of user {owner} is of {sort_key_of(newest)}, the newest message of {group.newest_at}"
        yield Fault(subject, text)
    elif _message(newest) != group.newest_text:
        yield Fault(subject, f"group row of user {owner} has another text than the newest message")


def _owner(row: Item) -> str:
    return str(row["pk"]["S"])[len(GROUP_ROW) :]


def _message(item: Item) -> str:
    return str(item.get("message", {}).get("S", ""))
