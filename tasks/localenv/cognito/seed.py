"""Seeds the emulated user pool with the people of the seeds: decides what differs, then applies it.

A person's user has the person's name in the seeds as its Username, which never changes; handle, display name and e-mail
are attributes, so changing them keeps the `sub`. Other users are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..aws.wire import Api, AwsError, api
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..settings import emulated_pool_file
from ..settings.people import Person
from .users import Pool, PoolUser, find_pool, look_for_pool, noted_pools, pages

if TYPE_CHECKING:
    from ..settings import Settings

PASSWORD = "Local-pass-1"
"""Every seeded user's password. It satisfies a pool's default policy."""

CLIENT = "app"


@dataclass(frozen=True)
class Change:
    """A change to one user: creation, attributes to set, a permanent password."""

    username: str
    create: bool
    attributes: tuple[tuple[str, str], ...]
    password: bool

    def __str__(self) -> str:
        if self.create:
            return f"create user {self.username}: not in the pool"
        named = [f"{name} {value!r}" for name, value in self.attributes]
        return f"update user {self.username}: {', '.join([*named, *(['permanent password'] if self.password else [])])}"


@dataclass(frozen=True)
class Seeded:
    """The state of the pool against the seeds. `pool` is None before it is created."""

    pool: Pool | None
    client_id: str
    noted: bool
    users: int
    changes: tuple[Change, ...]

    @property
    def is_complete(self) -> bool:
        return bool(self.pool and self.client_id and self.noted) and not self.changes

    @property
    def sentence(self) -> str:
        return f"{self.users} users in pool {self.pool.id if self.pool else 'not created yet'}, unchanged"

    def plan(self) -> list[str]:
        """Return what seeding would do, a line each."""
        lines = [] if self.pool else ["create user pool: there is none with this project's name"]
        lines += [] if self.client_id else ["create app client: the pool has none"]
        return lines + [str(change) for change in self.changes]


def examine(settings: Settings, people: Iterable[Person]) -> Seeded:
    """Compare the emulated pool with the people. Changes nothing."""
    people = list(people)
    pool = look_for_pool(settings)
    if pool is None:
        return Seeded(None, "", False, 0, plan_changes(people, []))
    users = list(pool.users())
    changes = plan_changes(people, users)
    return Seeded(pool, find_client(pool), noted_pools(settings)[:1] == [pool.id], len(users), changes)


def apply(settings: Settings, people: Iterable[Person]) -> str:
    """Create or update the pool, its app client and its users; return a sentence.

    Side effect: notes the pool's id in the state folder. A second call changes nothing.
    """
    found = examine(settings, people)
    pool = found.pool or _create_pool(settings)
    note_pool(settings, pool.id)
    if not found.client_id:
        _create_client(pool)
    side_by_side([lambda change=change: _apply(pool, change) for change in found.changes])  # type: ignore[misc]
    created = sum(change.create for change in found.changes)
    changed = len(found.changes) - created
    done = [f"{created} created" if created else "", f"{changed} changed" if changed else ""]
    return f"{found.users + created} users in pool {pool.id}, {', '.join(filter(None, done)) or 'unchanged'}"


def plan_changes(people: Iterable[Person], users: Iterable[PoolUser]) -> tuple[Change, ...]:
    """Return the changes after which every person has a confirmed user with the right attributes."""
    by_username = {user.username: user for user in users}
    found = (_change(person, by_username.get(person.person)) for person in people)
    return tuple(change for change in found if change)


def unseeded_users(settings: Settings, people: Iterable[Person]) -> list[PoolUser]:
    """Return the users of the emulated pool who are not in the seeds."""
    pool = look_for_pool(settings)
    ours = {person.person for person in people}
    return [user for user in pool.users() if user.username not in ours] if pool else []


def remove(settings: Settings, users: Iterable[PoolUser]) -> None:
    """Delete these users from the emulated pool, if they still exist."""
    for user in users:
        _delete_user(find_pool(settings), user)


def find_client(pool: Pool) -> str:
    """Return the id of the pool's app client; empty if there is none."""
    for answer in pages(pool.call, "ListUserPoolClients", "NextToken", UserPoolId=pool.id, MaxResults=60):
        for client in answer.get("UserPoolClients", ()):
            if client["ClientName"] == CLIENT:
                return str(client["ClientId"])
    return ""


def _change(person: Person, user: PoolUser | None) -> Change | None:
    wanted = {
        "email": person.email,
        "email_verified": "true",
        "preferred_username": person.handle,
        "name": person.display_name,
    }
    if user is None:
        return Change(person.person, True, tuple(wanted.items()), password=True)
    found = {
        "email": user.email,
        "email_verified": "true" if user.email_verified else "false",
        "preferred_username": user.handle,
        "name": user.name,
    }
    different = {name: value for name, value in wanted.items() if found[name] != value}
    if "email" in different:
        different["email_verified"] = "true"  # Cognito unverifies a changed address unless told otherwise
    password = user.status != "CONFIRMED"
    return Change(person.person, False, tuple(different.items()), password) if different or password else None


def _apply(pool: Pool, change: Change) -> None:
    attributes = [{"Name": name, "Value": value} for name, value in change.attributes]
    who = {"UserPoolId": pool.id, "Username": change.username}
    if change.create:
        _create_user(pool.call, who, attributes)
    elif attributes:
        pool.call("AdminUpdateUserAttributes", **who, UserAttributes=attributes)
    if change.password:
        pool.call("AdminSetUserPassword", **who, Password=PASSWORD, Permanent=True)


def _create_user(call: Api, who: dict[str, str], attributes: list[dict[str, str]]) -> None:
    try:
        call("AdminCreateUser", **who, UserAttributes=attributes, MessageAction="SUPPRESS")
    except AwsError as error:
        if error.aws_code != "UsernameExistsException":  # created by a call whose response was lost
            raise


def _delete_user(pool: Pool, user: PoolUser) -> None:
    try:
        pool.call("AdminDeleteUser", UserPoolId=pool.id, Username=user.username)
    except AwsError as error:
        if error.aws_code != "UserNotFoundException":
            raise


def _create_pool(settings: Settings) -> Pool:
    call = api(settings, "cognito-idp")
    answer = call(
        "CreateUserPool",
        PoolName=settings.project_id,
        AliasAttributes=["email", "preferred_username"],
        AutoVerifiedAttributes=["email"],
    )
    return Pool(answer["UserPool"]["Id"], call)


def _create_client(pool: Pool) -> None:
    pool.call(
        "CreateUserPoolClient",
        UserPoolId=pool.id,
        ClientName=CLIENT,
        GenerateSecret=False,
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )


def note_pool(settings: Settings, pool_id: str) -> None:
    """Note the pool's id, before those that it replaced, which .env may still have. Writes atomically."""
    before = noted_pools(settings)
    if before[:1] == [pool_id]:
        return
    file = emulated_pool_file(settings.state_dir)
    with disk_errors(settings.state_dir):
        private.make_folder(file.parent)
        private.write(file, "\n".join([pool_id, *(other for other in before if other != pool_id)]) + "\n")
