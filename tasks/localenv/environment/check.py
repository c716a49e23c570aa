"""Checks that the three stores agree: the users, the pool's subs, and the items that name users.

Only reads, and holds one page of items in memory; the app's part knows what they mean. A scan is not a snapshot, so
anything that looks wrong is checked again before it becomes a finding: safe during concurrent writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..cognito import sync
from ..cognito.matching import Match
from ..cognito.sync import Comparison, Queries
from ..dynamodb import schema
from ..dynamodb.client import connect
from ..dynamodb.scan import scan
from ..hints import Command, either
from ..machine.parallel import side_by_side
from .app import App, Fault, Item, Reference, Survey

if TYPE_CHECKING:
    from ..settings import Settings

NOTHING_TO_COMPARE = "nothing to compare: this app has neither pool users nor a part that knows its items"
SEED_AGAIN = either(Command("db.seed", "--force"), "add a row for a user who is not in the seeds")
FOLLOW = Command("ddb.stream", "--once")
FOLLOW_AWS = "read the log of the table's stream function, which keeps these up to date"


@dataclass(frozen=True)
class Finding:
    """An inconsistency, and the command that repairs it."""

    subject: str
    text: str
    fix: str

    def lines(self) -> list[str]:
        return [f"{self.subject}: {self.text}", f"  hint: {self.fix}"]


@dataclass(frozen=True)
class Report:
    """What was checked, the first findings, and how many there are in total. None: the app has no such thing."""

    users: int | None
    pool_users: int | None
    items: int | None
    findings: tuple[Finding, ...]
    total: int

    @property
    def sentence(self) -> str:
        counts = {"users": self.users, "pool users": self.pool_users, "items": self.items}
        *first, last = [f"{count:,} {what}" for what, count in counts.items() if count is not None] or [
            NOTHING_TO_COMPARE
        ]
        return f"{', '.join(first)} and {last} agree" if first else last

    def lines(self) -> list[str]:
        """Return the findings, two lines each, and how many are not shown."""
        more = self.total - len(self.findings)
        lines = [line for finding in self.findings for line in finding.lines()]
        return lines + ([f"and {more:,} more"] if more else [])

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "findings": [vars(finding) for finding in self.findings]}


@dataclass(frozen=True)
class _Users:
    """The handles of the database's users, by uuid, and how they match the pool; None if the app has no such thing."""

    handles: dict[str, str] | None
    compared: Comparison | None


@dataclass
class _Referenced:
    """The number of items, and how often they name each user."""

    items: int = 0
    references: Counter[Reference] = field(default_factory=Counter)


def examine(settings: Settings, app: App | None, queries: Queries | None, *, at_most: int = 20) -> Report:
    """Compare database, pool and items both ways; keep the first `at_most` findings and count the others.

    Raises LocalEnvError or ServiceFailed if a store, table or pool does not exist.
    """
    survey = app.survey() if app else None
    jobs: list[Any] = [lambda: _read_users(settings, queries), lambda: _scan_items(settings, app, survey)]
    both: list[Any] = side_by_side(jobs)
    users: _Users = both[0]
    named: _Referenced = both[1]
    kept, total = [], 0
    for finding in _findings(settings, app, queries, users, named, survey):
        total += 1
        if total <= at_most:
            kept.append(finding)
    return Report(
        None if users.handles is None else len(users.handles),
        users.compared.pool_users if users.compared else None,
        named.items if app else None,
        tuple(kept),
        total,
    )


def link_findings(match: Match) -> Iterator[Finding]:
    """Yield a finding for each user and pool user without a match.

    Pool users without a handle, and those who have not confirmed their sign-up, are no finding.
    """
    for pair in match.changes:
        text = f"id {pair.user.sub} in the database, sub {pair.pool_user.sub} in the pool"
        yield Finding(f"user {pair.user.handle}", text, Command("cognito.sync-ids"))
    for row in match.users:
        yield Finding(f"user {row.who}", row.reason, row.fix or either(Command("cognito.seed"), "add the pool user"))
    for user in match.pool_users:
        if user.handle and not user.is_normal:
            fix = (
                Command("cognito.sync-ids")
                if user.lacks_row
                else either(Command("db.seed", "--force"), "remove the pool user")
            )
            yield Finding(f"pool user {user.who}", user.reason, user.fix or fix)


def reference_findings(
    settings: Settings, named: Mapping[Reference, int], handles: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield a finding for each user in items who is not in the database, or has another handle there.

    `handles` are those of the database, by uuid.
    """
    missing: Counter[tuple[str, str]] = Counter()
    renamed: Counter[tuple[str, str]] = Counter()
    for (uuid, handle, is_present), count in named.items():
        if uuid not in handles:
            missing[uuid, handle] += count
        elif is_present and handle not in ("", handles[uuid]):
            renamed[uuid, handle] += count
    for (uuid, handle), count in sorted(missing.items()):
        text = f"named by {_items(count)}, but not in the database"
        yield Finding(f"user {uuid}" + (f" ({handle})" if handle else ""), text, SEED_AGAIN)
    for (uuid, handle), count in sorted(renamed.items()):
        text = f"called that by {_items(count)}, but {handles[uuid]!r} in the database"
        yield Finding(f"user {uuid} ({handle})", text, _repair(settings))


def fault_findings(settings: Settings, faults: Iterable[Fault]) -> Iterator[Finding]:
    """Yield a finding for each fault, with the command that repairs it."""
    for fault in faults:
        fix = _delete_command(settings, [fault.surplus, *fault.others]) if fault.surplus else _repair(settings)
        yield Finding(fault.subject, fault.text, fix)


def _findings(
    settings: Settings,
    app: App | None,
    queries: Queries | None,
    users: _Users,
    named: _Referenced,
    survey: Survey | None,
) -> Iterator[Finding]:
    if users.compared:
        yield from link_findings(users.compared.match)
    if users.handles is not None:
        if any(reference_findings(settings, named.references, users.handles)):  # perhaps of users created meanwhile
            users = _read_users(settings, queries)
        yield from reference_findings(settings, named.references, users.handles or {})
    if app and survey:
        faults = app.confirmed(connect(settings), settings.message_table, survey.faults())
        yield from fault_findings(settings, faults)


def _read_users(settings: Settings, queries: Queries | None) -> _Users:
    if queries is None:
        return _Users(None, None)
    if "cognito" not in settings.services:
        return _Users({user.uuid: user.handle for user in sync.fetch_users(settings, queries)}, None)
    compared = sync.compare(settings, queries)
    return _Users(compared.handles, compared)


def _scan_items(settings: Settings, app: App | None, survey: Survey | None) -> _Referenced:
    named = _Referenced()
    if app is None or survey is None:
        return named
    client = connect(settings)
    schema.refuse_half_replaced(client, settings.message_table)
    for item in scan(client, settings.message_table):
        named.items += 1
        survey.add(item)
        named.references.update(app.references(item))
    return named


def _repair(settings: Settings) -> str:
    return FOLLOW if settings.is_local else FOLLOW_AWS


def _delete_command(settings: Settings, keys: Sequence[Item]) -> str:
    """Return the shell command that deletes items: a statement each, on one line."""
    words = [word for key in keys for word in ("ddb.query", *_delete_arguments(settings, key))]
    return Command(*words, when=f", which removes {len(keys)} of them" if len(keys) > 1 else "")


def _delete_arguments(settings: Settings, key: Item) -> list[str]:
    table = settings.message_table
    quoted = table.replace('"', '""')
    where = " AND ".join(f"{name} = ?" for name in key)
    params = [word for value in key.values() for word in ("--param", _param(value))]
    target = [] if settings.is_local else ["--target", "prod", "--confirm", table]
    return [f'DELETE FROM "{quoted}" WHERE {where}', *params, "--write", *target]


def _param(value: dict[str, str]) -> str:
    """Return a key's value as --param takes it: plain text unchanged, all else typed."""
    text = value.get("S", "")
    return text if text[:1].isalnum() and text.isprintable() else json.dumps(value)


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"
