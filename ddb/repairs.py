"""Puts right what a survey found among the group rows: for the time when nobody followed the table's stream.

A stream loses its records after a day, and a local engine's may be empty after a restart. What was put meanwhile shows
in the table alone, and so do rows with names that a user no longer has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .consistency import Group, Survey
from .items import Item, User, sort_key_of, text_of, user_attributes
from .streams import group_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Repaired:
    """What became of a group, or of items without one. `moved` counts the changes; `error` says what is left."""

    group: str
    moved: int
    error: str = ""


@dataclass(frozen=True)
class Repair:
    """Something to repair: the lines that say what would be changed, and what does it. Both read it as it is then."""

    lines: Callable[[], Iterable[str]]
    perform: Callable[[], Repaired]


def repair(client: DynamoDBClient, table: str, survey: Survey, users: Iterable[User]) -> Iterator[Repaired]:
    """Settle each group whose rows are not as they should be, and tell it.

    `users` have the names that the rows should show; of anybody else the items tell. Safe beside others who write.
    """
    return (one.perform() for one in row_repairs(client, table, survey, users))


def row_repairs(client: DynamoDBClient, table: str, survey: Survey, users: Iterable[User]) -> Iterator[Repair]:
    """Yield the repair of each group whose rows are not as they should be."""
    present = {user.uuid: user_attributes(user) for user in users}
    for name, group in survey.groups.items():
        others = _others(group, present)
        rows = sorted((row for own in group.rows.values() for row in own), key=sort_key_of)
        if actions := group_rows.plan_rows(table, name, rows, group.newest, others, only=others is not None):
            line = f"~ rows of group {name}: {len(actions)} {'change' if len(actions) == 1 else 'changes'}"
            yield Repair(partial(list, [line]), partial(settled, client, table, name, group, others))


def settled(
    client: DynamoDBClient, table: str, name: str, group: Group, others: Mapping[str, Item] | None = None
) -> Repaired:
    """Settle a group; an error is this group's alone, so that the others get their turn."""
    known = group.members | group.senders.keys()
    patience_s = group_rows.BATCH_PATIENCE_S
    try:
        moved = sum(group_rows.settle(client, table, name, known=known, others=others, patience_s=patience_s))
    except Exception as error:  # noqa: BLE001 - told with its group, so that the others get their turn
        return Repaired(name, 0, f"{type(error).__name__}: {error}")
    return Repaired(name, moved)


def _others(group: Group, present: Mapping[str, Item]) -> dict[str, Item] | None:
    """Return each of the two what their row tells of the other one; None where that is not known."""
    if group.pair is None:
        return None
    found: dict[str, Item] = {}
    for owner, other in (group.pair, group.pair[::-1]):
        rows = sorted(group.rows.get(owner, []), key=sort_key_of)
        told = next((row for row in reversed(rows) if text_of(row, "user_uuid") == other), {})
        names = present.get(other) or (None if told else _names(group, other))
        if not told and names is None:
            return None
        found[owner] = {**told, **(names or {})}
    return found


def _names(group: Group, user_uuid: str) -> Item | None:
    """Return what a user's newest message tells of them."""
    message = group.senders.get(user_uuid)
    names = ("user_uuid", "user_display_name", "user_handle")
    return {name: message[name] for name in names if name in message} if message else None
