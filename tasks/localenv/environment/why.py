"""Explains an id across the stores: what it is, where it is, whether the stores agree, and what to run if not.

Only reads. The app's part knows what ids mean in items and in its other tables.
"""

from __future__ import annotations

import difflib
import uuid as uuids
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cognito import sync
from ..cognito.matching import DatabaseUser, match
from ..cognito.sync import Queries
from ..cognito.users import Pool, PoolUser, look_for_pool
from ..dynamodb import schema
from ..dynamodb.client import connect as connect_dynamodb
from ..dynamodb.scan import plain_item
from ..errors import LocalEnvError, UsageError
from ..hints import Command, inv
from ..machine.parallel import side_by_side
from ..postgres.connection import connect, server_errors
from ..settings.parts import lacks
from ..settings.people import PEOPLE, Person
from .app import App, Fault, Mention, Reference, See
from .check import NOTHING_TO_COMPARE, fault_cases, link_cases, reference_cases
from .findings import Case, Finding, grouped

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..settings import Settings


@dataclass(frozen=True)
class Fact:
    """Something that a store has under the id."""

    store: str
    what: str
    text: str


@dataclass
class Why:
    """What the id is, the facts about it, and the inconsistencies among them."""

    name: str
    kinds: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        return f"{self.name} is {' and '.join(dict.fromkeys(self.kinds))}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "is": list(dict.fromkeys(self.kinds)),
            "facts": [vars(fact) for fact in self.facts],
            "agrees": not self.findings,
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class _Users:
    """The users in all stores, or those whom an id identifies."""

    rows: list[DatabaseUser]
    pool_users: list[PoolUser]
    people: list[Person]

    def identified_by(self, names: set[str]) -> _Users:
        """Return those whom one of these lower-case names identifies."""
        return _Users(
            [row for row in self.rows if names & _names_of_row(row)],
            [user for user in self.pool_users if names & _names_of_pool_user(user)],
            [person for person in self.people if names & _names_of_person(person)],
        )

    def related(self, name: str) -> _Users:
        """Return those whom a name identifies, and their counterparts in the other stores."""
        found = self.identified_by({name.lower()})
        names = {each for row in found.rows for each in _names_of_row(row)}
        names |= {each for user in found.pool_users for each in _names_of_pool_user(user)}
        names |= {each for person in found.people for each in _names_of_person(person)}
        return self.identified_by(names)

    def handles(self) -> list[str]:
        everybody: list[Any] = [*self.rows, *self.pool_users, *self.people]
        return sorted({user.handle for user in everybody if user.handle})


def require_id(name: str) -> str:
    """Return an id, stripped. Raises UsageError if it is empty."""
    if not name.strip():
        raise UsageError("why wants an id", hint=f"for example {inv('why', 'HANDLE')}, or a uuid, a sub, an e-mail")
    return name.strip()


def explain(settings: Settings, app: App | None, queries: Queries | None, people: Sequence[Person], name: str) -> Why:
    """Look up an id in all stores. Raises LocalEnvError, with the closest handles, if it is in none."""
    name = require_id(name)
    if not (app or queries or people or "cognito" in settings.services):
        raise UsageError(f"why {name}: {NOTHING_TO_COMPARE}")
    pool, everybody = _fetch_users(settings, queries, people)
    found, why = everybody.related(name), Why(name)
    _explain_users(why, found, name)
    uuids = [row.uuid for row in found.rows] + [str(person.uuid) for person in found.people]
    mentions, faults = _read_items(why, settings, app, uuids) if app else ([], [])
    if not why.kinds:
        raise _not_found(name, everybody.handles())
    references = _count_references(app, mentions, uuids) if app else Counter()
    cases = list(_cases(settings, app, queries, people, pool, everybody, found, references))
    why.findings = grouped([*cases, *(fault_cases(settings, app, faults) if app else ())])
    return why


def _read_items(why: Why, settings: Settings, app: App, uuids: list[str]) -> tuple[list[Mention], list[Fault]]:
    """Add the facts in items about these users, or about the id; return the items and the faults among them."""
    client, table, survey = connect_dynamodb(settings), settings.message_table, app.survey()
    schema.refuse_half_replaced(client, table)
    is_unknown_uuid = _is_uuid(why.name) and not why.kinds
    uuids += [why.name.lower()] if is_unknown_uuid else []
    mentions: list[Mention] = []
    for uuid in dict.fromkeys(uuids):
        of_user = app.of_user(client, table, uuid, see=survey.add, every_row=settings.is_local)
        mentions += _explain_items(why, app, uuid, list(of_user), "the uuid of a user in items")
    if is_unknown_uuid and not mentions:
        mentions += _explain_other(why, settings, app, client, why.name.lower(), survey.add)
    return mentions, list(app.confirmed(client, table, survey.faults())) if why.kinds else []


def _fetch_users(settings: Settings, queries: Queries | None, people: Sequence[Person]) -> tuple[Pool | None, _Users]:
    def pool_users() -> tuple[Pool | None, list[PoolUser]]:
        pool = look_for_pool(settings) if "cognito" in settings.services else None
        return pool, list(pool.users()) if pool else []

    both: list[Any] = side_by_side([pool_users, lambda: sync.fetch_users(settings, queries) if queries else []])
    (pool, users), rows = both
    return pool, _Users(rows, users, list(people))


def _explain_users(why: Why, found: _Users, name: str) -> None:
    """Add the facts about rows, pool users and people, and which of their values the name is."""
    for row in found.rows:
        values = {"uuid": row.uuid, "handle": row.handle, "e-mail": row.email, "sub": row.sub}
        why.facts.append(Fact("postgres", "user", _joined(values)))
        why.kinds += [f"the {what} of a user in the database" for what in _matching_names(values, name)]
    for user in found.pool_users:
        values = {"sub": user.sub, "handle": user.handle or "", "e-mail": user.email or "", "username": user.username}
        status = user.status if user.enabled else f"{user.status}, disabled"
        why.facts.append(Fact("cognito", "pool user", f"{_joined(values)}, {status}"))
        why.kinds += [f"the {what} of a pool user" for what in _matching_names(values, name)[:1]]
    for person in found.people:
        values = {"person": person.person, "uuid": str(person.uuid), "handle": person.handle, "e-mail": person.email}
        why.facts.append(Fact("seeds", "person", f"{_joined(values)} ({PEOPLE})"))
        why.kinds += [f"the {what} of a person in {PEOPLE}" for what in _matching_names(values, name)[:1]]


def _explain_items(why: Why, app: App, uuid: str, mentions: list[Mention], kind: str) -> list[Mention]:
    """Add how many items name a user, or make up a bundle, and in which bundles; return them."""
    counts = Counter(mention.what for mention in mentions)
    bundles = dict.fromkeys(mention.bundle for mention in mentions)
    for what, count in counts.items():
        why.facts.append(Fact("dynamodb", what, f"{count:,} {'item' if count == 1 else 'items'}"))
    if mentions:
        why.facts.append(Fact("dynamodb", f"in {app.BUNDLE}", ", ".join(bundles)))
        if uuid == why.name.lower() and not why.kinds:
            why.kinds.append(kind)
    return mentions


def _explain_other(
    why: Why, settings: Settings, app: App, client: DynamoDBClient, uuid: str, see: See
) -> list[Mention]:
    """Look up an id that is no user's: of a bundle, of a row in another table, and last in all items."""
    table = settings.message_table
    bundle = list(app.of_bundle(client, table, uuid, see=see))
    if bundle:
        return _explain_items(why, app, uuid, bundle, f"the uuid of {_with_article(app.BUNDLE)}")
    for what, query in app.RECORDS:
        if settings.why_left_out("postgres") or lacks(settings.root, query):
            continue
        row = _fetch_record(settings, settings.root / query, uuid)
        if row:
            why.kinds.append(f"the uuid of {_with_article(what)}")
            why.facts.append(Fact("postgres", what, _joined({name: str(value) for name, value in row.items()})))
    mention = None if why.kinds else app.anywhere(client, table, uuid)
    if mention is None:
        return []
    why.kinds.append(f"the uuid of {mention.what}")
    values = {name: str(value) for name, value in plain_item(mention.item).items()}
    why.facts.append(Fact("dynamodb", "item", _joined(values)))
    list(app.of_bundle(client, table, mention.bundle, see=see))  # for the survey
    return [mention]


def _with_article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _fetch_record(settings: Settings, query: Path, uuid: str) -> dict[str, Any]:
    with connect(settings.postgres) as connection, server_errors(query.name):
        cursor = connection.execute(query.read_bytes(), {"uuid": uuid})
        row = cursor.fetchone()
        return dict(zip((column.name for column in cursor.description or ()), row, strict=True)) if row else {}


def _cases(
    settings: Settings,
    app: App | None,
    queries: Queries | None,
    people: Sequence[Person],
    pool: Pool | None,
    everybody: _Users,
    found: _Users,
    references: Counter[Reference],
) -> Iterator[Case]:
    """Yield the cases of `check` for these users."""
    if queries is None:
        return
    if pool:
        seeded = {person.person for person in people}
        matched = match(
            found.rows,
            found.pool_users,
            set_handle=sync.handle_command(settings, pool),
            seeded=seeded,
            is_emulated=settings.cognito_is_emulated,
        )
        yield from link_cases(matched, people, queries, is_emulated=settings.cognito_is_emulated)
    elif found.rows and "cognito" in settings.services:
        yield Case("no-pool", "user pools that do not exist", "user pool", "does not exist", Command("cognito.seed"))
    uuids_there = {row.uuid for row in found.rows}
    for person in found.people:
        if str(person.uuid) not in uuids_there:
            text, what = (
                f"not in the database with uuid {person.uuid}",
                "people of the seeds who are not in the database",
            )
            yield Case("no-row", what, f"person {person.person}", text, Command("db.seed", "--force"))
    if app:
        yield from reference_cases(settings, app, people, references, {row.uuid: row.handle for row in everybody.rows})


def _count_references(app: App, mentions: list[Mention], uuids_asked: Sequence[str]) -> Counter[Reference]:
    """Count the references of items to the users asked for."""
    references = (reference for mention in mentions for reference in app.references(mention.item))
    return Counter(reference for reference in references if reference[0] in uuids_asked)


def _not_found(name: str, handles: list[str]) -> LocalEnvError:
    near = difflib.get_close_matches(name, handles, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(map(repr, near))}?"
        if near
        else Command("cognito.list-users", when="to see all users")
    )
    return LocalEnvError(f"{name!r} not found: no user, pool user, person or item has it", hint=hint)


def _names_of_row(row: DatabaseUser) -> set[str]:
    """Return the ids of a row, without a sub that is not a uuid: several rows may have the same placeholder."""
    return _lower(row.uuid, row.handle, row.email, row.sub if _is_uuid(row.sub) else None)


def _names_of_pool_user(user: PoolUser) -> set[str]:
    return _lower(user.sub, user.username, user.handle, user.email)


def _names_of_person(person: Person) -> set[str]:
    return _lower(person.person, str(person.uuid), person.handle, person.email)


def _lower(*names: str | None) -> set[str]:
    return {name.lower() for name in names if name}


def _matching_names(values: dict[str, str], name: str) -> list[str]:
    return [what for what, value in values.items() if value.lower() == name.lower()]


def _joined(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)


def _is_uuid(text: str) -> bool:
    try:
        uuids.UUID(text)
    except ValueError:
        return False
    return True
