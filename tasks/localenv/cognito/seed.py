"""Seeds the emulated user pool with the people of the seeds: decides what differs, then applies it.

A person's user has the person's name in the seeds as an attribute of our own, or as its Username; it never changes.
Handle, display name and e-mail are other attributes, so changing them keeps the `sub`. Other users are left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..aws.emulatordoor import door_to, function_variables
from ..aws.wire import Api, AwsError, api
from ..errors import ConfirmationNeeded, LocalEnvError, UsageError
from ..hints import Command, inv
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..machine.words import counted
from ..settings import emulated_pool_file
from ..settings.guard import keeper_of
from ..settings.people import Person
from .shape import FIXED, FIXED_OF_CLIENT, MARK, SHAPE_TAG, Shape, read_shape
from .users import Pool, PoolUser, emulated_pools, find_pool, look_for_pool, noted_pools, pages

if TYPE_CHECKING:
    from ..settings import Settings

PASSWORD = "Local-pass-1"
"""Every seeded user's password. It satisfies a pool's default policy."""
ANEW = Command("cognito.seed", "--force", when="to make another pool, without the users that signed up")

CLIENT = "app"


@dataclass(frozen=True)
class Change:
    """A change to one user: creation, attributes to set, a permanent password. `username` is as the API wants it."""

    person: str
    username: str
    create: bool
    attributes: tuple[tuple[str, str], ...]
    password: bool

    def __str__(self) -> str:
        if self.create:
            return f"create user {self.person}: not in the pool"
        named = [f"{name} {value!r}" for name, value in self.attributes]
        return f"update user {self.person}: {', '.join([*named, *(['permanent password'] if self.password else [])])}"


@dataclass(frozen=True)
class Seeded:
    """The state of the pool against the seeds. `pool` is None before it is created.

    `noted`: its id is; `told`: its function knows the database. `reshaped` is empty where it has the wanted shape, else
    "can" or "cannot" be changed to it. `strangers` are the users who are not in the seeds.
    """

    shape: Shape
    pool: Pool | None
    client_id: str
    noted: bool
    told: bool
    users: tuple[PoolUser, ...]
    changes: tuple[Change, ...]
    reshaped: str = ""
    strangers: tuple[PoolUser, ...] = ()

    @property
    def is_complete(self) -> bool:
        return (
            bool(self.pool and self.client_id and self.noted and self.told)
            and not self.changes
            and self.reshaped != "can"
        )

    @property
    def sentence(self) -> str:
        sentence = (
            f"{counted(len(self.users), 'user')} in pool {self.pool.id if self.pool else 'not created yet'}, unchanged"
        )
        return sentence + (f"; {self.unlike}: {ANEW}" if self.reshaped == "cannot" else "")

    @property
    def unlike(self) -> str:
        return f"the pool was made before {self.shape.shown or 'its present default'} said what it is"

    def plan(self, *, anew: bool = False) -> list[str]:
        """Return what seeding would do, a line each; `anew`: with --force, which replaces a pool of another shape."""
        if anew and self.reshaped == "cannot":
            return [f"replace pool {self.pool.id if self.pool else ''}: {self.unlike}", *self._lost()]
        lines = [] if self.pool else ["create user pool: there is none with this project's name"]
        lines += [] if self.client_id else ["create app client: the pool has none"]
        lines += [f"update user pool: {self.shape.shown or 'its default'} changed"] if self.reshaped == "can" else []
        lines += [] if self.told else ["tell the pool's function where the database is"]
        return lines + [str(change) for change in self.changes]

    def _lost(self) -> list[str]:
        return [f"remove pool user {user}" for user in self.strangers]

    def require_yes(self) -> None:
        """Raise ConfirmationNeeded where another pool would lose users who are not in the seeds."""
        if lost := self._lost():
            raise ConfirmationNeeded(
                f"another pool loses {len(lost)} {'user' if len(lost) == 1 else 'users'} who signed up",
                hint=Command("cognito.seed", "--force", "--yes", when=f"to do it; {inv('undo')} brings them back"),
                evidence=lost[:10],
            )


def examine(settings: Settings, people: Iterable[Person]) -> Seeded:
    """Compare the emulated pool with its file and the people. Changes nothing. Raises UsageError for a bad file."""
    people, shape, pool = list(people), read_shape(settings), look_for_pool(settings)
    if pool is None:
        shape.checked()
        told = door_to(settings).knows(function_variables(settings))
        return Seeded(shape, None, "", False, told, (), plan_changes(people, [], shape))
    users = tuple(pool.users())
    changes, reshaped = plan_changes(people, users, shape), _reshaped(pool, shape)
    if reshaped:
        shape.checked()
    noted, told = noted_pools(settings)[:1] == [pool.id], door_to(settings).knows(function_variables(settings))
    return Seeded(shape, pool, find_client(pool), noted, told, users, changes, reshaped, _strangers(users, people))


def _reshaped(pool: Pool, shape: Shape) -> str:
    """Return whether a pool "can" or "cannot" be changed to a shape; empty where it has it.

    One that an earlier version made has no tag: where the app says nothing, it is kept as it is.
    """
    found = pool.call("DescribeUserPool", UserPoolId=pool.id)["UserPool"].get("UserPoolTags", {}).get(SHAPE_TAG, "")
    if found == shape.fingerprint or not (found or shape.shown):
        return ""
    return "can" if found.partition("-")[0] == shape.fixed_fingerprint else "cannot"


def apply(settings: Settings, people: Iterable[Person], *, anew: bool = False, yes: bool = False) -> str:
    """Create or update the pool, its app client and its users; return a sentence.

    `anew` replaces a pool of another shape; `yes` also one with users of its own. Raises ConfirmationNeeded. The old
    pool goes when the new one is complete.
    Side effect: notes the pool's id in the state folder. A second call changes nothing.
    """
    people, found = list(people), examine(settings, people)
    replaces = anew and found.reshaped == "cannot"
    if replaces:
        if not yes:
            found.require_yes()
        found = Seeded(found.shape, None, "", False, found.told, (), plan_changes(people, (), found.shape))
        if keeper := keeper_of(settings):
            keeper.pool()
    if found.pool:
        _fill(found.pool, found)
    pool = found.pool or _create(settings, found)
    note_pool(settings, pool.id)
    if not found.told:
        door_to(settings).tell(function_variables(settings))
    if replaces:
        for other in emulated_pools(settings):
            if other != pool.id:
                pool.call("DeleteUserPool", UserPoolId=other)
    return _sentence(found, pool)


def _create(settings: Settings, found: Seeded) -> Pool:
    """Create the pool with all that is in it; one that cannot be completed is deleted again."""
    pool = _create_pool(settings, found.shape)
    try:
        _fill(pool, found)
    except LocalEnvError:
        with contextlib.suppress(LocalEnvError):  # the first error is the one to report
            pool.call("DeleteUserPool", UserPoolId=pool.id)
        raise
    return pool


def _fill(pool: Pool, found: Seeded) -> None:
    if found.reshaped == "can":
        _update_pool(pool, found)
    if not found.client_id:
        _create_client(pool, found.shape)
    side_by_side([lambda change=change: _apply(pool, change, found.shape) for change in found.changes])  # type: ignore[misc]


def _sentence(found: Seeded, pool: Pool) -> str:
    created = sum(change.create for change in found.changes)
    changed = len(found.changes) - created
    done = [
        f"{created} created" if created else "",
        f"{changed} changed" if changed else "",
        f"the pool changed as {found.shape.shown or 'its default'} says" if found.reshaped == "can" else "",
    ]
    count = counted(len(found.users) + created, "user")
    return f"{count} in pool {pool.id}, {', '.join(filter(None, done)) or 'unchanged'}"


def plan_changes(people: Iterable[Person], users: Iterable[PoolUser], shape: Shape) -> tuple[Change, ...]:
    """Return the changes after which every person has a confirmed user with the right attributes."""
    by_person = {user.person: user for user in users}
    same_email = {user.email: user for user in by_person.values() if user.person == user.username}
    found = []
    for person in people:
        signed_up = same_email.get(person.email) if shape.signs_in_by_email else None
        found.append(_change(person, by_person.get(person.person) or signed_up, shape))
    return tuple(change for change in found if change)


def unseeded_users(settings: Settings, people: Iterable[Person]) -> list[PoolUser]:
    """Return the users of the emulated pool who are not in the seeds."""
    pool = look_for_pool(settings)
    return list(_strangers(pool.users(), people)) if pool else []


def _strangers(users: Iterable[PoolUser], people: Iterable[Person]) -> tuple[PoolUser, ...]:
    ours = {person.person for person in people}
    return tuple(user for user in users if user.person not in ours)


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


def _change(person: Person, user: PoolUser | None, shape: Shape) -> Change | None:
    wanted = {
        "email": person.email,
        "email_verified": "true",
        "preferred_username": person.handle,
        "name": person.display_name,
    }
    if user is None:
        name = person.email if shape.signs_in_by_email else person.person
        return Change(person.person, name, True, (*wanted.items(), *_mark(person, shape)), password=True)
    found = {
        "email": user.email,
        "email_verified": "true" if user.email_verified else "false",
        "preferred_username": user.handle,
        "name": user.name,
    }
    different = {name: value for name, value in wanted.items() if found[name] != value}
    if "email" in different:
        different["email_verified"] = "true"  # Cognito unverifies a changed address unless told otherwise
    if user.person != person.person:
        different.update(_mark(person, shape))
    password = user.status != "CONFIRMED"
    if not different and not password:
        return None
    return Change(person.person, user.username, False, tuple(different.items()), password)


def _mark(person: Person, shape: Shape) -> list[tuple[str, str]]:
    return [(f"custom:{MARK}", person.person)] if shape.signs_in_by_email else []


def _apply(pool: Pool, change: Change, shape: Shape) -> None:
    attributes = [{"Name": name, "Value": value} for name, value in change.attributes]
    who = {"UserPoolId": pool.id, "Username": change.username}
    try:
        if change.create:
            _create_user(pool.call, who, attributes)
        elif attributes:
            pool.call("AdminUpdateUserAttributes", **who, UserAttributes=attributes)
        if change.password:
            pool.call("AdminSetUserPassword", **who, Password=PASSWORD, Permanent=True)
    except AwsError as error:
        if error.aws_code != "InvalidPasswordException":
            raise
        raise UsageError(
            f"{shape.shown or 'the pool'}: its PasswordPolicy refuses the password of the seeds, {PASSWORD}: "
            f"{error.response['Error']['Message']}",
            hint="relax the policy in this file: it is that of the emulated pool alone",
        ) from error


def _create_user(call: Api, who: dict[str, str], attributes: list[dict[str, str]]) -> None:
    try:
        call("AdminCreateUser", **who, UserAttributes=attributes, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS")
    except AwsError as error:
        if error.aws_code != "UsernameExistsException":  # created by a call whose response was lost
            raise


def _delete_user(pool: Pool, user: PoolUser) -> None:
    try:
        pool.call("AdminDeleteUser", UserPoolId=pool.id, Username=user.username)
    except AwsError as error:
        if error.aws_code != "UserNotFoundException":
            raise


def _create_pool(settings: Settings, shape: Shape) -> Pool:
    call, (wanted, _) = api(settings, "cognito-idp"), shape.checked()
    answer = call("CreateUserPool", PoolName=settings.project_id, UserPoolTags=_tags(shape), **wanted)
    return Pool(answer["UserPool"]["Id"], call)


def _update_pool(pool: Pool, found: Seeded) -> None:
    wanted, client = found.shape.checked()
    if found.client_id:
        changed = {name: value for name, value in client.items() if name not in FIXED_OF_CLIENT}
        pool.call("UpdateUserPoolClient", UserPoolId=pool.id, ClientId=found.client_id, ClientName=CLIENT, **changed)
    changed = {name: value for name, value in wanted.items() if name not in FIXED}
    pool.call("UpdateUserPool", UserPoolId=pool.id, UserPoolTags=_tags(found.shape), **changed)


def _tags(shape: Shape) -> dict[str, str]:
    return {SHAPE_TAG: shape.fingerprint}


def _create_client(pool: Pool, shape: Shape) -> None:
    _, wanted = shape.checked()
    pool.call("CreateUserPoolClient", UserPoolId=pool.id, ClientName=CLIENT, **wanted)


def note_pool(settings: Settings, pool_id: str) -> None:
    """Note the pool's id, before those that it replaced, which .env may still have. Writes atomically."""
    before = noted_pools(settings)
    if before[:1] == [pool_id]:
        return
    file = emulated_pool_file(settings.state_dir)
    with disk_errors(settings.state_dir):
        private.make_folder(file.parent)
        private.write(file, "\n".join([pool_id, *(other for other in before if other != pool_id)]) + "\n")
