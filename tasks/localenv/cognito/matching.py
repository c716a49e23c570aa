"""Decides which pool user belongs to which row of the database, and why the others have no match. Connects to nothing.

Users match if preferred_username = handle, case-sensitively. An equal e-mail address only leads to a hint: anybody can
claim an address, and the app looks users up by handle. Of several pool users with one handle it is the one whose sub
the row has, or in the emulated pool the one that the seeds made; else they are reported, not matched, as several rows
are. A disabled pool user yields to an enabled one, since nobody can sign in with it.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..hints import Command, either
from .users import PoolUser

T = TypeVar("T")


@dataclass(frozen=True)
class DatabaseUser:
    """A row of the users table. `sub` is the pool user's id in that row, or a placeholder."""

    uuid: str
    handle: str
    email: str
    sub: str


@dataclass(frozen=True)
class Pair:
    """A row and its pool user."""

    user: DatabaseUser
    pool_user: PoolUser

    @property
    def is_set(self) -> bool:
        return self.user.sub == self.pool_user.sub


@dataclass(frozen=True)
class Unmatched:
    """A user without a counterpart: who, why, and what to do about it (empty: unknown).

    `handle` is empty for a pool user without one. `lacks_row` is the pool user who is confirmed, and whose handle is
    free: a row can be added. `is_normal`: they have not confirmed their sign-up yet, or were refused the handle then.
    """

    handle: str
    who: str
    reason: str
    fix: str = ""
    lacks_row: PoolUser | None = None
    is_normal: bool = False

    def __str__(self) -> str:
        return f"{self.who}: {self.reason}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Match:
    """The result: pairs in the order of the rows, and the unmatched users on either side."""

    pairs: tuple[Pair, ...]
    users: tuple[Unmatched, ...]
    pool_users: tuple[Unmatched, ...]

    @property
    def changes(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if not pair.is_set)


def match(
    users: Iterable[DatabaseUser],
    pool_users: Iterable[PoolUser],
    *,
    set_handle: Callable[[PoolUser, str], str],
    seeded: Collection[str] = (),
    is_emulated: bool = False,
) -> Match:
    """Match rows with pool users. `set_handle` returns the command that sets a pool user's preferred_username.

    `seeded` are the people of the seeds, whose rows those bring back with the id that everything else names. Only in
    the emulated pool is a user with such a name known to be that person.
    """
    preferred = seeded if is_emulated else ()
    rows = group(users, lambda user: user.handle)
    pool = group(pool_users, lambda user: user.handle or "")
    pairs = {}
    for handle, here in rows.items():
        there = _linked(here, pool.get(handle, [])) or _candidates(pool.get(handle, []), preferred)
        if handle and len(here) == len(there) == 1:
            pairs[handle] = Pair(here[0], there[0])
    matched = {pair.pool_user.sub for pair in pairs.values()}
    free = [user for there in pool.values() for user in there if user.sub not in matched]
    hints = _Hints(rows, pool, free, set(pairs), seeded, set_handle, is_emulated=is_emulated)
    return Match(
        tuple(pairs.values()),
        tuple(hints.about_row(handle, here) for handle, here in rows.items() if handle not in pairs),
        tuple(hints.about_pool_user(user) for user in free),
    )


def group(values: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Group values by key, in the order of each key's first value."""
    found: dict[str, list[T]] = defaultdict(list)
    for value in values:
        found[key(value)].append(value)
    return dict(found)


def _linked(rows: list[DatabaseUser], users: list[PoolUser]) -> list[PoolUser]:
    """Return the pool user whose sub the row has: somebody else may take the same handle later."""
    return [user for user in users if [user.sub] == [row.sub for row in rows]]


def _candidates(users: list[PoolUser], preferred: Collection[str] = ()) -> list[PoolUser]:
    enabled = [user for user in users if user.enabled] or users
    return [user for user in enabled if user.person in preferred] or enabled


class _Hints:
    """Explains why a user has no counterpart, from the users on both sides."""

    def __init__(
        self,
        rows: Mapping[str, list[DatabaseUser]],
        pool: Mapping[str, list[PoolUser]],
        free: list[PoolUser],
        linked: set[str],
        seeded: Collection[str],
        set_handle: Callable[[PoolUser, str], str],
        *,
        is_emulated: bool,
    ) -> None:
        self._is_emulated = is_emulated
        self._rows = rows
        self._pool = pool
        self._linked = linked
        self._seeded = seeded
        self._set_handle = set_handle
        self._free_handles = [user.handle for user in free if user.handle and user.handle not in rows]
        self._by_email = group(free, lambda user: (user.email or "").lower())
        self._by_folded = group((user for user in free if user.handle), lambda user: str(user.handle).casefold())
        self._rows_by_folded = {handle.casefold(): handle for handle in rows}
        self._rows_by_email = {row.email.lower(): row for here in rows.values() for row in here}

    def about_row(self, handle: str, rows: list[DatabaseUser]) -> Unmatched:
        """Return why the rows of a handle have no pool user."""
        row = rows[0]
        who = f"{handle or f'user {row.uuid}'} (id in the database: {row.sub or 'none'})"
        if not handle:
            others = f", nor {'has' if len(rows) == 2 else 'have'} {len(rows) - 1} more" if len(rows) > 1 else ""
            return Unmatched(handle, who, f"its row has no handle{others}", "give it one in the database")
        same = _candidates(self._pool.get(handle, []))
        if len(rows) > 1:
            return Unmatched(
                handle,
                who,
                f"{len(rows)} rows have this handle",
                either("remove all but one", Command("db.setup", "--force")),
            )
        if len(same) > 1:
            named = ", ".join(f"{user} {user.sub}" for user in same)
            return Unmatched(
                handle, who, f"{len(same)} pool users have this preferred_username: {named}", "change all but one"
            )
        for user in self._by_folded.get(handle.casefold(), []):
            reason = f"pool user {user} has preferred_username {user.handle!r}, which differs in case"
            return Unmatched(handle, who, reason, self._set_handle(user, handle))
        for user in self._by_email.get(row.email.lower(), []) if row.email else []:
            has = "no preferred_username" if user.handle is None else f"preferred_username {user.handle!r}"
            return Unmatched(
                handle, who, f"pool user {user} has the same e-mail address and {has}", self._set_handle(user, handle)
            )
        near = difflib.get_close_matches(handle, self._free_handles, n=1)
        return Unmatched(
            handle, who, "no pool user has this preferred_username", f"did you mean {near[0]!r}?" if near else ""
        )

    def about_pool_user(self, user: PoolUser) -> Unmatched:
        """Return why a pool user has no row."""
        who = f"{user}{'' if user.enabled else ', disabled'}"
        if user.handle is None:
            row = self._rows_by_email.get(user.email.lower()) if user.email else None
            row = row if row and row.handle else None
            also = f", but the e-mail address of {row.handle}" if row else ""
            return Unmatched(
                "",
                who,
                f"no preferred_username{also}",
                self._set_handle(user, row.handle) if row else "",
            )
        if user.handle in self._rows:
            is_linked = user.handle in self._linked
            reason = f"shares preferred_username {user.handle!r} with another pool user or several rows"
            reason = f"the handle {user.handle!r} is another pool user's" if is_linked else reason
            return Unmatched(user.handle, who, reason, is_normal=is_linked)
        differing = self._rows_by_folded.get(user.handle.casefold())
        if differing and differing not in self._linked:
            return Unmatched(user.handle, who, f"preferred_username {user.handle!r} differs in case from {differing!r}")
        reason = f"no user in the database has the handle {user.handle!r}"
        if user.status != "CONFIRMED":
            return Unmatched(user.handle, who, f"{reason}; status {user.status}", is_normal=True)
        same = [other for other in _candidates(self._pool[user.handle]) if other.status == user.status]
        first = min(same, key=lambda other: other.created_s, default=user)
        if self._is_emulated and user is not first:  # the rows are gone, and with them who had got the handle
            return Unmatched(
                user.handle, who, f"pool user {first} took the handle {user.handle!r} first", is_normal=True
            )
        can_be_added = user.enabled and user.email and (len(same) == 1 or self._is_emulated)
        can_be_added = can_be_added and user.person not in self._seeded
        return Unmatched(user.handle, who, reason, lacks_row=user if can_be_added else None)
