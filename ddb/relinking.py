"""Gives items the uuid that their user has now: a database that was built anew gives its users others.

A user is known by the handle that the items tell. Where one uuid was called by several, or several users are called so,
nothing tells who it is.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from . import batches
from .batches import Change
from .items import Item, User, group_of, group_partition, sort_key_of, text_of, user_references
from .repairs import Repair, Repaired
from .streams import group_rows
from .streams.transactions import Busy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

AT_ONCE = 1000


def successors(references: Iterable[tuple[str, str]], handles: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the uuid of today for each former one. Both arguments are pairs of uuid and handle: of items, of users."""
    called: dict[str, set[str]] = defaultdict(set)
    for uuid, handle in handles:
        called[handle].add(uuid)
    users = set().union(*called.values())
    found: dict[str, set[str]] = defaultdict(set)
    for uuid, handle in references:
        if uuid not in users:
            found[uuid] |= called.get(handle, set())
    return {former: uuid for former, uuids in found.items() if len(uuids) == 1 for uuid in uuids}


def repairs(
    client: DynamoDBClient, table: str, scan: Callable[[], Iterable[Item]], users: Sequence[User]
) -> Iterator[Repair]:
    """Yield what gives the items their users' uuids, and then what puts the group rows of these right."""
    told = {reference for item in scan() for reference in user_references(item)}
    by_former = successors(told, ((user.uuid, user.handle) for user in users))
    groups: dict[str, set[str]] = defaultdict(set)
    items = (item for item in scan() if any(uuid in by_former for uuid, _ in user_references(item)))
    while some := list(itertools.islice(items, AT_ONCE)):
        for item in some:
            groups[_group(item)] |= {by_former.get(uuid, uuid) for uuid, _ in user_references(item)}
        yield Repair(partial(_tell, some, by_former), partial(_relink, client, table, some, by_former))
    for group, known in groups.items():
        yield Repair(list, partial(_settle, client, table, group, known))


def _tell(items: Sequence[Item], by_former: dict[str, str]) -> Iterator[str]:
    for item in items:
        now = sorted({by_former[uuid] for uuid, _ in user_references(item) if uuid in by_former})
        yield f"~ item {text_of(item, 'pk')} {sort_key_of(item)}: of user {', '.join(now)}"


def _relink(client: DynamoDBClient, table: str, items: Sequence[Item], by_former: dict[str, str]) -> Repaired:
    return Repaired("", *batches.perform(client, (_change(table, item, by_former) for item in items)))


def _change(table: str, item: Item, by_former: dict[str, str]) -> Change:
    new, user = dict(item), text_of(item, "user_uuid")
    if user in by_former:
        new["user_uuid"] = {"S": by_former[user]}
    owner = text_of(item, "pk").removeprefix(group_partition(""))
    if owner not in by_former:
        return batches.rewrite(table, item, new)
    new["pk"] = {"S": group_partition(by_former[owner])}
    return batches.replace(table, item, new, over_group=bool(group_of(item)))


def _settle(client: DynamoDBClient, table: str, group: str, known: set[str]) -> Repaired:
    try:
        group_rows.settle(client, table, group, known=known, patience_s=group_rows.BATCH_PATIENCE_S)
    except Busy as error:
        return Repaired(group, 0, str(error))
    return Repaired(group, 0)


def _group(item: Item) -> str:
    return group_of(item) or text_of(item, "pk").removeprefix("MSG#")
