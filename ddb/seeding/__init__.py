"""Conversations into a table: observed, decided, written. A second time nothing changes.

Nothing is needed but the standard library: who reads the files, knows the people and writes in batches is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from .. import messages
from ..messages import Busy, Item, User
from .conversation import Conversation, FindPerson, Mistake, read_conversations
from .stored import SPACING, Seed, Stored, are_rows_right, is_as_seeded, observe, time_of, why_not_as_seeded

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Say = Callable[[str], None]
FindUsers = Callable[[Mapping[str, str]], Mapping[str, User]]
"""Takes handles with the place in a file that names each; gives the users by handle, or raises."""


class Write(Protocol):
    """Performs any number of write requests of BatchWriteItem, `total` of them if known, and returns their number."""

    def __call__(self, client: DynamoDBClient, table: str, requests: Iterable[Any], *, total: int | None) -> int: ...


ITEM_LIMIT_BYTES = 400 * 1024
EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True)
class Plan:
    """What makes a conversation right. `last_at` is None where the messages stay as they are.

    `old_rows` are keys. `why` says what is wrong with the messages. `kept` counts the messages that somebody sent.
    """

    seed: Seed
    last_at: datetime | None
    why: str
    old_messages: list[str]
    new_rows: list[Item]
    old_rows: list[Item]
    kept: int

    def new_messages(self) -> Iterator[Item]:
        """Make the messages to write, oldest first, as they are asked for."""
        if self.last_at is not None:
            for index in range(self.seed.size):
                yield self.seed.message(index, self.last_at)

    def removals(self) -> Iterator[Item]:
        """Yield the keys of the old messages, but for those that new ones have taken."""
        if self.last_at is not None and self.old_messages:
            new = {messages.format_time(self.last_at - SPACING * index) for index in range(self.seed.size)}
            for sort_key in self.old_messages:
                if sort_key not in new:
                    yield messages.message_key(self.seed.group, sort_key)


@dataclass
class Seeding:
    """The conversations of one run with everything they need: users, table, and the time it is now."""

    client: DynamoDBClient
    table: str
    seeds: list[Seed]
    write: Write
    ago: Callable[[float], str]
    """Writes an age in seconds the short way."""
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    anew: bool = False
    """Write the messages even where they are right."""

    def check(self) -> str | None:
        """Say that everything is there as it should be; None when something is not."""
        newest: list[datetime] = []
        for seed in self.seeds:
            stored = observe(self.client, self.table, seed)
            if not is_as_seeded(seed, stored, self.now) or stored.last_at is None:
                return None
            newest.append(stored.last_at)
        count = sum(seed.size for seed in self.seeds)
        age = self.ago((self.now - max(newest)).total_seconds())
        return f"{count:,} messages and {2 * len(self.seeds)} group rows unchanged, last one {age}"

    def plans(self) -> Iterator[Plan]:
        """Decide for each conversation in turn what is to be done; the earlier ones must be written by then."""
        for seed in self.seeds:
            yield self._plan(seed)

    def plan_lines(self) -> list[str]:
        """Return what `seed` would do."""
        return [line for plan in self.plans() for line in _told(plan)]

    def seed(self, say: Say) -> str:
        """Make every conversation right and say what was done.

        New messages go in before old ones go out, and nothing that somebody sent is touched, so that a run that is cut
        short loses nothing and the next one ends right. The rows come last, from the messages that are there by then:
        users may send while this runs.
        """
        written = rows = removed = kept = 0
        for plan in self.plans():
            written += self._write("Put", "Item", plan.new_messages(), plan.seed.size)
            removed += self._write("Delete", "Key", plan.removals())
            if plan.new_rows or plan.old_rows:
                put, gone = self._settle(plan.seed)
                rows, removed = rows + put, removed + gone
            kept += plan.kept
        done = [
            f"{written:,} messages written, the last one now" if written else "",
            f"{_counted(rows, 'group row')} written" if rows else "",
            f"{_counted(removed, 'old item')} removed" if removed else "",
            f"{_counted(kept, 'sent message')} kept" if kept else "",
        ]
        return ", ".join(filter(None, done)) or "nothing to do"

    def _write(self, verb: str, what: str, items: Iterable[Item], total: int | None = None) -> int:
        requests = ({f"{verb}Request": {what: item}} for item in items)
        return self.write(self.client, self.table, requests, total=total)

    def _settle(self, seed: Seed) -> tuple[int, int]:
        try:
            return messages.settle_rows(self.client, self.table, seed.group, seed.users)
        except Busy as error:
            raise Busy(f"the messages are there, the group rows are not: {error}") from error

    def _plan(self, seed: Seed) -> Plan:
        stored = observe(self.client, self.table, seed)
        why = why_not_as_seeded(seed, stored, self.now) or ("anew, as asked for" if self.anew else "")
        if not why and are_rows_right(seed, stored):
            return Plan(seed, None, "", [], [], [], len(stored.sent))
        rows = [row for user in seed.users for row in messages.each_group_row_of(self.client, self.table, user.uuid)]
        own = [row for row in rows if messages.group_of(row) == seed.group]
        others = {messages.sort_key_of(row) for row in rows if row not in own}
        last_at = free_time(seed, stored, others, self.now) if why else None
        wanted = seed.group_rows(_last_message(seed, stored, last_at))
        keys = [messages.key_of(row) for row in wanted]
        return Plan(
            seed=seed,
            last_at=last_at,
            why=why,
            old_messages=stored.seeded if why else [],
            new_rows=[row for row in wanted if row not in own],
            old_rows=_without(keys, [*stored.group_rows, *own]),
            kept=len(stored.sent),
        )


def prepare(
    client: DynamoDBClient,
    table: str,
    files: Iterable[tuple[str, bytes]],
    *,
    find_person: FindPerson,
    find_users: FindUsers,
    write: Write,
    ago: Callable[[float], str],
    anew: bool = False,
) -> Seeding:
    """Read the conversations and look up their people: everything that can be wrong is found here.

    `files` are names, as messages give them, and contents. Raises Mistake with the place in the file.
    """
    conversations = read_conversations(files, find_person)
    users = find_users({handle: place for talk in conversations for handle, place in talk.handles()})
    seeding = Seeding(client, table, [_seed(talk, users) for talk in conversations], write, ago, anew=anew)
    for seed in seeding.seeds:
        check_sizes(seed, seeding.now)
    return seeding


def check_sizes(seed: Seed, now: datetime) -> None:
    """Raise Mistake at the first message that makes an item of more than 400 KB.

    Amazon DynamoDB Developer Guide, "Item size": the bytes of all names and values.
    """
    for index, line in enumerate(seed.conversation.lines):
        if len(line.text) * 4 + 4096 < ITEM_LIMIT_BYTES:
            continue
        message = seed.message(index, now)
        size = max(_size(item) for item in (message, *seed.group_rows(message)))
        if size > ITEM_LIMIT_BYTES:
            raise Mistake(
                f"{seed.conversation.shown}:{line.number}: an item of {size:,} bytes, and DynamoDB takes "
                f"{ITEM_LIMIT_BYTES:,} at most",
                hint="shorten this message",
            )


def free_time(seed: Seed, stored: Stored, others: set[str], now: datetime) -> datetime:
    """Return the last message a time, now or a few microseconds ago, at which no key of the seed is taken.

    `others` are the sort keys of the two users' rows in other groups. A sent message is in the way when it lies whole
    minutes before the last one; one that the app wrote in another offset is avoided as well.
    """
    times = (time_of(sort_key) for sort_key in stored.sent)
    taken = {_within_spacing(at) for at in times if at is not None}
    last_at = now
    while messages.format_time(last_at) in others or _within_spacing(last_at) in taken:
        last_at -= timedelta(microseconds=1)
    return last_at


def _seed(conversation: Conversation, users: Mapping[str, User]) -> Seed:
    first, second = conversation.people
    return Seed(conversation, (users[first.handle], users[second.handle]))


def _last_message(seed: Seed, stored: Stored, last_at: datetime | None) -> Item:
    """Return the message that will be the newest one: stored already, sent by somebody, or about to be written."""
    if last_at is None:
        assert stored.newest is not None
        return stored.newest
    seeded = seed.message(seed.size - 1, last_at)
    sent = stored.newest_sent
    key = messages.sort_key_of
    return sent if sent is not None and key(sent) > key(seeded) else seeded


def _without(keys: list[Item], items: list[Item]) -> list[Item]:
    """Return the keys of the items, each once, but for these."""
    found: list[Item] = []
    for key in map(messages.key_of, items):
        if key not in keys and key not in found:
            found.append(key)
    return found


def _told(plan: Plan) -> list[str]:
    name = plan.seed.conversation.shown
    counted = (
        ("+", plan.seed.size if plan.last_at is not None else 0, "message"),
        ("-", len(plan.old_messages), "old message"),
        ("+", len(plan.new_rows), "group row"),
        ("-", len(plan.old_rows), "old group row"),
    )
    why = f" ({plan.why})" if plan.why else ""
    return [f"{mark} {_counted(count, what)} of {name}{why}" for mark, count, what in counted if count]


def _within_spacing(at: datetime) -> timedelta:
    return (at - EPOCH) % SPACING


def _size(item: Item) -> int:
    return sum(len(name.encode()) + len(str(value["S"]).encode()) for name, value in item.items())


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
