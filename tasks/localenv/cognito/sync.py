"""Writes the ids of the pool's users into the database: reads both sides, lets matching decide, updates once.

The database is reached by two queries of the app's, given as files, so that no table or column is named here.
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
from .matching import DatabaseUser, Match, match
from .users import Pool, PoolUser, find_pool

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings
    from ..settings.people import Person


@dataclass(frozen=True)
class Queries:
    """The app's two queries, as files.

    `read` gives uuid, handle, e-mail and pool user's id of every user, in that order. `write` takes the arrays
    `handles` and `subs` and updates the users of those handles.
    """

    read: Path
    write: Path


@dataclass(frozen=True)
class Comparison:
    """Both sides at one time, and how they match. `handles` are those of the database, by uuid."""

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
        there = sum(pair.is_set for pair in self.match.pairs)
        return f"{there} of {self.users} users have their sub"

    def lines(self) -> list[str]:
        """Say who is linked how, and who is not and why: what --plan and the command itself print."""
        changes = [
            f"update {pair.user.handle}: id {pair.user.sub} -> {pair.pool_user.sub}"
            + ("" if pair.pool_user.enabled else " (the pool user is disabled)")
            for pair in self.match.changes
        ]
        kept = [f"keep {pair.user.handle}: has its sub {pair.user.sub}" for pair in self.match.pairs if pair.is_set]
        return [*changes, *kept, *self.unmatched()]

    def unmatched(self) -> list[str]:
        """Say who is not linked, on either side, and why."""
        return [
            *(f"no pool user for {row}" for row in self.match.users),
            *(f"no database user for pool user {user}" for user in self.match.pool_users),
        ]


def compare(settings: Settings, queries: Queries) -> Comparison:
    """Read the database and the whole pool side by side and match them. Changes nothing."""
    both: list[Any] = side_by_side([lambda: _pool_and_users(settings), lambda: fetch_users(settings, queries)])
    (pool, pool_users), users = both
    matched = match(users, pool_users, set_handle=handle_command(settings, pool))
    return Comparison(pool, {user.uuid: user.handle for user in users}, len(pool_users), matched)


def apply(settings: Settings, queries: Queries, comparison: Comparison) -> int:
    """Write the ids that differ, in one UPDATE of one transaction; return how many rows it changed.

    Raises LocalEnvError when nobody matched: an app that runs on such a database answers with errors only.
    """
    _refuse_nobody(comparison)
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
                hint="run the same command again: somebody changed the users meanwhile",
            )
    return len(changes)


def fetch_users(settings: Settings, queries: Queries) -> list[DatabaseUser]:
    """Read every user of the target's database."""
    with connect(settings.postgres) as connection:
        return _read_users(settings, queries, connection)


def require_match(
    settings: Settings, queries: Queries, connection: psycopg.Connection[Any], people: Iterable[Person]
) -> None:
    """Raise LocalEnvError where none of the users whom a connection sees will have a pool user.

    The emulated pool is taken as it will be: with the people of the seeds.
    """
    users, is_emulated = _read_users(settings, queries, connection), settings.cognito_is_emulated
    pool_users = list(map(_pool_user, people)) if is_emulated else list(find_pool(settings).users())
    if not match(users, pool_users, set_handle=lambda user, handle: "").pairs:
        raise LocalEnvError(
            f"none of {len(users)} users that the seeds make has a user in the pool",
            hint="give them the handles or e-mail addresses of the pool's users",
        )


def _pool_user(person: Person) -> PoolUser:
    name, email = person.display_name, person.email
    return PoolUser("", person.person, person.handle, name, email, True, "CONFIRMED", True)


def _read_users(settings: Settings, queries: Queries, connection: psycopg.Connection[Any]) -> list[DatabaseUser]:
    with server_errors(_shown(settings, queries.read)):
        return [
            DatabaseUser(*("" if value is None else str(value) for value in row))
            for row in _execute(connection, queries.read).fetchall()
        ]


def handle_command(settings: Settings, pool: Pool) -> Any:
    """Return a function that writes the AWS CLI's command to set a pool user's preferred_username."""
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


def _refuse_nobody(comparison: Comparison) -> None:
    if comparison.match.pairs:
        return
    if not comparison.users:
        raise LocalEnvError("nobody is in the database's users", hint=Command("db.seed", "--force"))
    raise LocalEnvError(
        f"none of {comparison.users} users in the database has a user in pool {comparison.pool.id}, "
        f"which holds {comparison.pool_users}",
        hint=Command("cognito.list-users", when=": a pool user needs a handle as its preferred_username"),
        evidence=list(_some(comparison.match.users)),
    )


def _some(lines: Iterable[object], at_most: int = 10) -> list[str]:
    shown = [str(line) for line in lines]
    more = len(shown) - at_most
    return shown[:at_most] + ([f"and {more} more"] if more > 0 else [])


def _execute(
    connection: psycopg.Connection[tuple[Any, ...]], file: Path, parameters: dict[str, Any] | None = None
) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(file.read_bytes(), parameters)


def _shown(settings: Settings, file: Path) -> str:
    return str(file.relative_to(settings.root)) if file.is_relative_to(settings.root) else str(file)
