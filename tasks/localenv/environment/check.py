"""Checks that the three stores agree: the users, the pool's subs, and the items that name users.

Only reads, and holds one page of items in memory; the app's part knows what they mean. A scan is not a snapshot, so
anything that looks wrong is checked again before it becomes a finding: safe during concurrent writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..cognito import sync
from ..cognito.matching import Match, Unmatched
from ..cognito.sync import Comparison, Queries
from ..dynamodb import schema
from ..dynamodb.client import connect
from ..dynamodb.scan import scan
from ..hints import Command, commands_of, either, inv
from ..machine.parallel import side_by_side
from ..machine.words import counted
from ..settings.people import Person
from .app import App, Fault, Reference, Survey
from .findings import SHELL, SUBJECTS, Case, Finding, grouped

if TYPE_CHECKING:
    from ..settings import Settings

NOTHING_TO_COMPARE = "nothing to compare: this app has neither pool users nor a part that knows its items"
SEED = Command("db.seed", "--force")
ADD_SIGNED_UP = Command("cognito.sync-ids", "--create")
ADD_ROWS = "add a row for each of them to the users of the database: they are not in the seeds"
WITHOUT_THEM = Command("db.setup", "--force", when=f"for a database without them; {inv('undo')} goes back")
FOLLOW = Command("ddb.stream", "--once")


@dataclass(frozen=True)
class Report:
    """What was checked, and the first findings. None: the app has no such thing.

    `total` counts the findings, which are causes, and `concerned` the users and items that they are about.
    """

    users: int | None
    pool_users: int | None
    items: int | None
    findings: tuple[Finding, ...]
    total: int
    concerned: int = 0

    @property
    def sentence(self) -> str:
        counts = {"user": self.users, "pool user": self.pool_users, "item": self.items}
        *first, last = [counted(count, what) for what, count in counts.items() if count is not None] or [
            NOTHING_TO_COMPARE
        ]
        return f"{', '.join(first)} and {last} agree" if first else last

    @property
    def counted(self) -> str:
        """Return how many findings there are, and of how many users and items: "3 findings (108 items)"."""
        found = counted(self.total, "finding")
        return found if self.concerned == self.total else f"{found} ({counted(self.concerned, 'item')})"

    def lines(self) -> list[str]:
        """Return the findings with their hints, and how many are not shown."""
        more = self.total - len(self.findings)
        lines = [line for finding in self.findings for line in finding.lines()]
        return lines + ([f"and {more:,} more"] if more else [])

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "findings": [finding.as_dict() for finding in self.findings]}


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


def examine(
    settings: Settings,
    app: App | None,
    queries: Queries | None,
    people: Sequence[Person],
    *,
    at_most: int = 20,
    subjects: int = SUBJECTS,
) -> Report:
    """Compare database, pool and items both ways; keep the first findings and subjects of each, and count all.

    `people` are those of the seeds: what a seed does not have, no command of ours brings back.
    Raises LocalEnvError or ServiceFailed if a store, table or pool does not exist.
    """
    survey = app.survey() if app else None
    jobs: list[Any] = [lambda: _read_users(settings, queries), lambda: _scan_items(settings, app, survey)]
    both: list[Any] = side_by_side(jobs)
    users: _Users = both[0]
    named: _Referenced = both[1]
    findings = grouped(_cases(settings, app, queries, people, users, named, survey), subjects=subjects)
    return Report(
        None if users.handles is None else len(users.handles),
        users.compared.pool_users if users.compared else None,
        named.items if app else None,
        tuple(findings[: max(at_most, 0)]),
        len(findings),
        sum(finding.count for finding in findings),
    )


def link_cases(match: Match, people: Sequence[Person], queries: Queries, *, is_emulated: bool) -> Iterator[Case]:
    """Yield a case for each user and pool user without a match.

    Pool users without a handle, and those who have not confirmed their sign-up, are none. Nor are those who signed up
    in the emulated pool of an app without the function that adds a row: nothing here could give them one.
    """
    for pair in match.changes:
        text = f"id {pair.user.sub} in the database, sub {pair.pool_user.sub} in the pool"
        what = "users whose id in the database is not the sub in the pool"
        yield Case("unlinked", what, f"user {pair.user.handle}", text, Command("cognito.sync-ids"))
    seeded = {person.handle for person in people}
    for row in match.users:
        yield _case_of_row(row, seeded)
    for user in match.pool_users:
        if user.handle and not user.is_normal and not (is_emulated and user.lacks_row and queries.create is None):
            yield _case_of_pool_user(user, seeded, can_add=queries.create is not None)


def _case_of_pool_user(user: Unmatched, seeded: Collection[str], *, can_add: bool) -> Case:
    what, subject = "pool users without a user in the database", f"pool user {user.who}"
    if user.handle in seeded:
        return Case("no-user", what, subject, user.reason, either(SEED, "remove the pool users"))
    fix = ADD_SIGNED_UP if can_add and user.lacks_row else f"{ADD_ROWS}; or remove the pool users"
    return Case("signed-up", f"{what} or the seeds", subject, user.reason, fix)


def _case_of_row(row: Unmatched, seeded: Collection[str]) -> Case:
    """Return the case of a user without a pool user; what repairs it tells the cause."""
    subject = f"user {row.who}"
    if row.fix.startswith(SHELL):
        return Case("other-handle", "users whose pool user has another handle", subject, row.reason, row.fix)
    if commands_of(row.fix):
        return Case("same-handle", "handles that several users have", subject, row.reason, row.fix)
    if row.fix and not row.fix.startswith("did you mean"):
        return Case("pool-handle", "handles that several pool users have", subject, row.reason, row.fix)
    reason = f"{row.reason}; {row.fix}" if row.fix else row.reason
    if row.handle in seeded:
        return Case("no-pool-user", "users without a pool user", subject, reason, Command("cognito.seed"))
    what = "users without a pool user or a person in the seeds"
    return Case("not-signed-up", what, subject, reason, either("add the pool users", WITHOUT_THEM))


def reference_cases(
    settings: Settings, app: App, people: Sequence[Person], named: Mapping[Reference, int], handles: Mapping[str, str]
) -> Iterator[Case]:
    """Yield a case for each user in items who is not in the database, or has another handle there.

    `handles` are those of the database, by uuid.
    """
    missing: Counter[str] = Counter()
    renamed: Counter[tuple[str, str]] = Counter()
    called: dict[str, str] = {}
    for (uuid, handle, is_present), count in named.items():
        if uuid not in handles:
            missing[uuid] += count
            called[uuid] = called.get(uuid) or handle
        elif is_present and handle not in ("", handles[uuid]):
            renamed[uuid, handle] += count
    seeded = {str(person.uuid) for person in people}
    pairs = ((uuid, handle) for uuid, handle, _ in named)
    now = app.successors(pairs, handles.items()) if missing and settings.is_local else {}
    for uuid, count in sorted(missing.items()):
        subject = f"user {uuid}" + (f" ({called[uuid]})" if called[uuid] else "")
        text = f"named by {counted(count, 'item')}"
        if uuid in now:
            text = f"{text}, but {now[uuid]} in the database"
            yield _case_of_part(settings, app, app.FORMER, subject, text, count)
        else:
            yield _case_of_missing(uuid in seeded, subject, f"{text}, but not in the database", count)
    for (uuid, handle), count in sorted(renamed.items()):
        text = f"called that by {counted(count, 'item')}, but {handles[uuid]!r} in the database"
        yield _case_of_part(settings, app, app.FOLLOWED, f"user {uuid} ({handle})", text, count)


def _case_of_missing(is_seeded: bool, subject: str, text: str, count: int) -> Case:
    what = "items name users who are not in the database"
    if is_seeded:
        return Case("no-row", what, subject, text, SEED, count)
    return Case("no-person", f"{what} or the seeds", subject, text, ADD_ROWS, count)


def fault_cases(settings: Settings, app: App, faults: Iterable[Fault]) -> Iterator[Case]:
    """Yield a case for each fault of a survey."""
    for fault in faults:
        yield _case_of_part(settings, app, fault.cause, fault.subject, fault.text, fault.count)


def _case_of_part(settings: Settings, app: App, cause: str, subject: str, text: str, count: int) -> Case:
    return Case(cause, app.CAUSES[cause], subject, text, _repair(settings, app, cause), count)


def _cases(
    settings: Settings,
    app: App | None,
    queries: Queries | None,
    people: Sequence[Person],
    users: _Users,
    named: _Referenced,
    survey: Survey | None,
) -> Iterator[Case]:
    if users.compared and queries:
        yield from link_cases(users.compared.match, people, queries, is_emulated=settings.cognito_is_emulated)
    if app and users.handles is not None:
        cases = partial(reference_cases, settings, app, people, named.references)
        if any(cases(users.handles)):  # perhaps of users created meanwhile
            users = _read_users(settings, queries)
        yield from cases(users.handles or {})
    if app and survey:
        faults = app.confirmed(connect(settings), settings.message_table, survey.faults())
        yield from fault_cases(settings, app, faults)


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


def _repair(settings: Settings, app: App, cause: str) -> str:
    """Return the command that repairs all items of a cause."""
    if cause == app.FOLLOWED and settings.is_local:
        return FOLLOW
    return Command("check", "--repair", cause)
