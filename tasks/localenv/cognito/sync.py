"""Writes the subs of the pool's users to the database: reads both sides, lets matching decide, updates once.

It is also the repair where a sign-up left no row. Uses the app's query files, so no table or column is named here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..hints import Command
from ..machine.parallel import side_by_side
from ..postgres.connection import connect, server_errors
from ..settings.people import read_people
from .matching import DatabaseUser, Match, match
from .users import Pool, PoolUser, find_pool

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from ..settings.people import Person

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('sign-up'))"
"""The lock that the app's own function takes before it adds a row (sql/sign_up/post_confirmation.py)."""


@dataclass(frozen=True)
class Queries:
    """The app's query files.

    `read` returns uuid, handle, e-mail and sub of every user, in that order. `write` takes the arrays `handles` and
    `subs` and updates the users with those handles. `create` adds the row of a pool user, where the app has it.
    """

    read: Path
    write: Path
    create: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """Both sides, and how they match. `handles` are those of the database, by uuid."""

    pool: Pool
    handles: dict[str, str]
    pool_users: int
    match: Match

    @property
    def users(self) -> int:
        return len(self.handles)

    @property
    def sentence(self) -> str:
        """Return how many of the database's users have their sub: "5 of 5 users have their sub"."""
        done = sum(pair.is_set for pair in self.match.pairs)
        return f"{done} of {self.users} users have their sub"

    @property
    def lacking(self) -> list[PoolUser]:
        """Return the confirmed pool users whose row can be added."""
        return [each.lacks_row for each in self.match.pool_users if each.lacks_row]

    def lines(self) -> list[str]:
        """Return who is linked, and who is not and why, for --plan and for the command itself."""
        changes = [
            f"update {pair.user.handle}: id {pair.user.sub} -> {pair.pool_user.sub}"
            + ("" if pair.pool_user.enabled else " (the pool user is disabled)")
            for pair in self.match.changes
        ]
        kept = [f"keep {pair.user.handle}: has its sub {pair.user.sub}" for pair in self.match.pairs if pair.is_set]
        return [*changes, *kept, *self.unmatched()]

    def unmatched(self) -> list[str]:
        """Return who is not linked, on either side, and why."""
        return [
            *(f"no pool user for {row}" for row in self.match.users),
            *(f"no database user for pool user {user}" for user in self.match.pool_users),
        ]


def compare(settings: Settings, queries: Queries) -> Comparison:
    """Read the database and the whole pool concurrently and match them. Changes nothing."""
    both: list[Any] = side_by_side([lambda: _pool_and_users(settings), lambda: fetch_users(settings, queries)])
    (pool, pool_users), users = both
    seeded = {person.person for person in read_people(settings.root)}
    matched = match(
        users,
        pool_users,
        set_handle=handle_command(settings, pool),
        seeded=seeded,
        is_emulated=settings.cognito_is_emulated,
    )
    return Comparison(pool, {user.uuid: user.handle for user in users}, len(pool_users), matched)


def apply(settings: Settings, queries: Queries, comparison: Comparison) -> int:
    """Write the subs that differ, in one UPDATE; return how many rows it changed.

    Raises LocalEnvError if nobody matched: the app could not serve anyone with such a database.
    """
    _require_pairs(comparison)
    changes = comparison.match.changes
    if not changes:
        return 0
    with connect(settings.postgres) as connection, server_errors(_shown(settings, queries.write)):
        done = _execute(
            connection,
            queries.write,
            {"handles": [pair.user.handle for pair in changes], "subs": [pair.pool_user.sub for pair in changes]},
        )
        if done.rowcount != len(changes):
            raise LocalEnvError(
                f"{_shown(settings, queries.write)}: {done.rowcount} rows would change, wanted {len(changes)}",
                hint="run the same command again: the users changed meanwhile",
            )
    return len(changes)


def add_rows(settings: Settings, queries: Queries, comparison: Comparison) -> list[str]:
    """Add the rows of confirmed pool users who have none; return what became of each, a line each.

    One whose values the database refuses is said and left: what one stranger typed must not stop the others. The app's
    query returns no row for a handle or a sub that is taken meanwhile.
    """
    file, lines = queries.create, []
    if file is None or not comparison.lacking:
        return []
    with connect(settings.postgres) as connection, server_errors(_shown(settings, file)):
        connection.execute(ONE_AT_A_TIME)
        for user in comparison.lacking:
            lines.append(f"{_add_row(connection, file, user)} {user}, handle {user.handle}")
    return lines


def _add_row(connection: psycopg.Connection[Any], file: Path, user: PoolUser) -> str:
    import psycopg

    values = {
        "display_name": user.name or user.handle,
        "handle": user.handle,
        "email": user.email,
        "cognito_user_id": user.sub,
    }
    try:
        with connection.transaction():
            created = _execute(connection, file, values).fetchone()
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException) as error:
        return f"the database refuses it ({error.diag.message_primary or error}), no row added for pool user"
    return "added a row for pool user" if created else "taken meanwhile, no row added for pool user"


def fetch_users(settings: Settings, queries: Queries) -> list[DatabaseUser]:
    """Return every user of the target's database."""
    with connect(settings.postgres) as connection:
        return _read_users(settings, queries, connection)


def require_match(
    settings: Settings, queries: Queries, connection: psycopg.Connection[Any], people: Iterable[Person]
) -> None:
    """Raise LocalEnvError if none of the users in a connection's transaction will have a pool user.

    Of the emulated pool, uses its future contents: the people of the seeds.
    """
    users, is_emulated = _read_users(settings, queries, connection), settings.cognito_is_emulated
    pool_users = list(map(_pool_user, people)) if is_emulated else list(find_pool(settings).users())
    if not match(users, pool_users, set_handle=lambda user, handle: "").pairs:
        raise LocalEnvError(
            f"none of the {len(users)} users in the seeds has a user in the pool",
            hint="give them the handles or e-mail addresses of the pool's users",
        )


def _pool_user(person: Person) -> PoolUser:
    name, email = person.display_name, person.email
    return PoolUser("", person.person, person.handle, name, email, True, "CONFIRMED", True, person.person)


def _read_users(settings: Settings, queries: Queries, connection: psycopg.Connection[Any]) -> list[DatabaseUser]:
    with server_errors(_shown(settings, queries.read)):
        return [
            DatabaseUser(*("" if value is None else str(value) for value in row))
            for row in _execute(connection, queries.read).fetchall()
        ]


def handle_command(settings: Settings, pool: Pool) -> Any:
    """Return a function that returns the AWS CLI command to set a pool user's preferred_username."""
    endpoint = ["--endpoint-url", settings.cognito.url] if settings.cognito else []

    def command(user: PoolUser, handle: str) -> str:
        words = [
            *("aws", "cognito-idp", "admin-update-user-attributes", *endpoint, "--region", settings.region),
            *("--user-pool-id", pool.id, "--username", user.username),
            *("--user-attributes", f"Name=preferred_username,Value={handle}"),
        ]
        return f"run `{shlex.join(words)}`"

    return command


def _pool_and_users(settings: Settings) -> tuple[Pool, list[PoolUser]]:
    pool = find_pool(settings)
    return pool, list(pool.users())


def _require_pairs(comparison: Comparison) -> None:
    if comparison.match.pairs:
        return
    if not comparison.users:
        raise LocalEnvError("the database has no users", hint=Command("db.seed", "--force"))
    raise LocalEnvError(
        f"none of the {comparison.users} users in the database has a user in pool {comparison.pool.id}, "
        f"which has {comparison.pool_users}",
        hint=Command("cognito.list-users", when=": a pool user needs the handle as its preferred_username"),
        evidence=_shortened(comparison.match.users),
    )


def _shortened(lines: Iterable[object], at_most: int = 10) -> list[str]:
    shown = [str(line) for line in lines]
    more = len(shown) - at_most
    return shown[:at_most] + ([f"and {more} more"] if more > 0 else [])


def _execute(
    connection: psycopg.Connection[tuple[Any, ...]], file: Path, parameters: dict[str, Any] | None = None
) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(file.read_bytes(), parameters)


def _shown(settings: Settings, file: Path) -> str:
    return str(file.relative_to(settings.root)) if file.is_relative_to(settings.root) else str(file)
