"""The app's users by their handles, read with the app's own queries: the uuid and display name behind each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, UsageError
from ..hints import Command, either
from ..machine.reading import read_bytes
from .connection import connect, server_errors

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings


@dataclass(frozen=True)
class User:
    """A user's row."""

    uuid: str
    handle: str
    display_name: str


@dataclass(frozen=True)
class Lookup:
    """The app's queries for users: `by_handles` (handles → uuid, handle, display_name), `handles` (all of them)."""

    by_handles: Path
    handles: Path


def fetch_users(
    settings: Settings,
    lookup: Lookup,
    wanted: Mapping[str, str],
    say: Callable[[str], None],
    *,
    inside: psycopg.Connection[Any] | None = None,
) -> dict[str, User]:
    """Look up users by handle, in one query; `wanted` has the place in a seed file that names each handle.

    Where two users share a handle the first row counts, and `say` hears of it. Raises LocalEnvError at the place of
    the one whom the database does not know, with the nearest handle that it does. `inside` is a connection to use.
    """
    found, known = _look_up(settings, lookup, list(wanted), say, inside)
    missing = [handle for handle in wanted if handle not in found]
    if missing:
        raise LocalEnvError(f"{wanted[missing[0]]}: {_nobody(settings, missing[0])}", hint=_way_out(missing[0], known))
    return found


def find_users(settings: Settings, lookup: Lookup, given: Mapping[str, str], say: Callable[[str], None]) -> list[User]:
    """Look up the users whose handles were given, in one query; `given` has them by the option that says so.

    Raises UsageError for the first whom the database does not know, with the nearest handle that it does.
    """
    found, known = _look_up(settings, lookup, list(given.values()), say)
    for option, handle in given.items():
        if handle not in found:
            near = difflib.get_close_matches(handle, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "give a handle of the users table"
            raise UsageError(
                f"{option}: {_nobody(settings, handle)}",
                hint=hint if known else Command("db.seed", when=": it has no users"),
            )
    return [found[handle] for handle in given.values()]


def fetch_everybody(settings: Settings, query: Path) -> list[User]:
    """Read every user with an app's query: uuid, handle, display name."""
    with connect(settings.postgres) as connection, server_errors(query.name):
        rows = connection.execute(_query(query)).fetchall()
    return [User(str(uuid), handle, display_name) for uuid, handle, display_name in rows]


def _look_up(
    settings: Settings,
    lookup: Lookup,
    handles: list[str],
    say: Callable[[str], None],
    inside: psycopg.Connection[Any] | None = None,
) -> tuple[dict[str, User], list[str]]:
    """Find users by handle; where somebody is missing, give every handle that there is as well."""
    found: dict[str, User] = {}
    opened = nullcontext(inside) if inside else connect(settings.postgres)
    with opened as connection, server_errors(lookup.by_handles.name):
        rows = connection.execute(_query(lookup.by_handles), {"handles": handles}).fetchall()
        for uuid, handle, display_name in rows:
            if handle in found:
                say(f"two users have the handle {handle!r}; {found[handle].uuid} counts")
            found.setdefault(handle, User(str(uuid), handle, display_name))
        if found.keys() >= set(handles):
            return found, []
        return found, [handle for (handle,) in connection.execute(_query(lookup.handles)).fetchall()]


def _nobody(settings: Settings, handle: str) -> str:
    return f"no user has the handle {handle!r} in database {settings.postgres.database}"


def _query(path: Path) -> bytes:
    return read_bytes(path, path.name)


def _way_out(handle: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(handle, list(known), n=1, cutoff=0.5)
    if near:
        return either(
            f"did you mean {near[0]!r}? then correct seeds/people.csv",
            Command("db.seed", "--force", first="add the user"),
        )
    return either(Command("db.seed", "--force"), "correct the handle in seeds/people.csv")
