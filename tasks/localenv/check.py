"""Proves that the three stores belong together: users, the subs of the pool, and the items that name users.

Reads only. The items are looked at as they come, a page in memory; what they mean is told by the app's functions.
A scan is no snapshot: what looks wrong is looked at again before it is a finding, so that users may write meanwhile.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .cognito import sync
from .cognito.matching import Match
from .cognito.sync import Comparison, Queries
from .dynamodb import schema
from .dynamodb.client import connect
from .dynamodb.scan import scan
from .parallel import side_by_side

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from .settings import Settings

Item = dict[str, Any]
SEED_ITEMS = "run `inv ddb.seed`"
FOLLOW = "run `inv ddb.seed`, or `inv ddb.stream --once` for what users sent"


@dataclass(frozen=True)
class Finding:
    """Something that does not fit, and the command that puts it right."""

    subject: str
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}\n  hint: {self.fix}"


class Fault(Protocol):
    """What a survey finds. `surplus` is the key of an item that should not be there."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def surplus(self) -> Item | None: ...


class Survey(Protocol):
    """Looks at each item (DynamoDB JSON), and tells at the end what does not agree among them."""

    def add(self, item: Item) -> None: ...
    def faults(self) -> Iterable[Fault]: ...


@dataclass(frozen=True)
class App:
    """What only the app knows: its queries for users, whom an item names (uuid, handle or ""), how items agree.

    `confirm` gives those of a table's faults that are still there when it is looked at again.
    """

    queries: Queries
    references: Callable[[Item], Iterable[tuple[str, str]]]
    survey: Survey
    confirm: Callable[[DynamoDBClient, str, Iterable[Any]], Iterable[Fault]]


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found: the first findings, and how many there are in all."""

    users: int
    pool_users: int
    items: int
    findings: tuple[Finding, ...]
    total: int

    @property
    def sentence(self) -> str:
        return f"{self.users} users, {self.pool_users} pool users and {self.items:,} items agree"

    def lines(self) -> list[str]:
        """Write the findings, two lines each, and how many are not shown."""
        more = self.total - len(self.findings)
        return [str(finding) for finding in self.findings] + ([f"and {more:,} more"] if more else [])

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "findings": [vars(finding) for finding in self.findings]}


@dataclass
class _Named:
    """The users that items name: each pair of uuid and handle, how often, and the items' number."""

    items: int = 0
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)


def examine(settings: Settings, app: App, *, at_most: int = 20) -> Report:
    """Compare database, pool and items both ways; keep the first `at_most` findings and count the others.

    Raises LocalEnvError or ServiceFailed where a store, table or pool is not there at all.
    """
    both: list[Any] = side_by_side([lambda: sync.compare(settings, app.queries), lambda: _survey(settings, app)])
    compared: Comparison = both[0]
    named: _Named = both[1]
    kept, total = [], 0
    for finding in _findings(settings, app, compared, named):
        total += 1
        if total <= at_most:
            kept.append(finding)
    return Report(compared.users, compared.pool_users, named.items, tuple(kept), total)


def link_findings(match: Match) -> Iterator[Finding]:
    """Tell which users and pool users do not fit each other. Pool users without a handle are nobody's concern."""
    for pair in match.changes:
        text = f"id {pair.user.sub} in the database, sub {pair.pool_user.sub} in the pool"
        yield Finding(f"user {pair.user.handle}", text, "run `inv cognito.sync-ids`")
    for row in match.users:
        yield Finding(f"user {row.who}", row.reason, row.fix or "run `inv cognito.seed`, or add the pool user")
    for user in match.pool_users:
        if user.handle:
            yield Finding(
                f"pool user {user.who}", user.reason, user.fix or "run `inv db.seed`, or remove the pool user"
            )


def reference_findings(named: dict[tuple[str, str], int], handles: dict[str, str]) -> Iterator[Finding]:
    """Tell which users that items name are not in the database. `handles` are those of the database, by uuid."""
    for (uuid, handle), count in sorted(named.items()):
        subject = f"user {uuid}" + (f" ({handle})" if handle else "")
        if uuid not in handles:
            yield Finding(subject, f"named by {count:,} items, and not in the database", SEED_ITEMS)
        elif handle and handle != handles[uuid]:
            text = f"called that by {count:,} items, and {handles[uuid]!r} in the database"
            yield Finding(subject, text, SEED_ITEMS)


def _findings(settings: Settings, app: App, compared: Comparison, named: _Named) -> Iterator[Finding]:
    yield from link_findings(compared.match)
    if any(reference_findings(named.pairs, compared.handles)):  # of users who came meanwhile, perhaps
        compared = sync.compare(settings, app.queries)
    yield from reference_findings(named.pairs, compared.handles)
    for fault in app.confirm(connect(settings), settings.message_table, app.survey.faults()):
        yield Finding(fault.subject, fault.text, _removal(settings, fault.surplus) if fault.surplus else FOLLOW)


def _survey(settings: Settings, app: App) -> _Named:
    named, client = _Named(), connect(settings)
    schema.refuse_half(client, settings.message_table)
    for item in scan(client, settings.message_table):
        named.items += 1
        app.survey.add(item)
        for pair in app.references(item):
            named.pairs[pair] = named.pairs.get(pair, 0) + 1
    return named


def _removal(settings: Settings, key: Item) -> str:
    endpoint = ["--endpoint-url", settings.dynamodb.url] if settings.dynamodb else []
    words = ["aws", "dynamodb", "delete-item", *endpoint, "--region", settings.region]
    return f"run `{shlex.join([*words, '--table-name', settings.message_table, '--key', json.dumps(key)])}`"
