"""The user pool and its users. Only reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..aws.wire import Api, AwsError, api
from ..errors import LocalEnvError, ServiceFailed, UsageError
from ..hints import RESTART, Command
from ..machine.jsonvalues import iso_time
from ..settings import emulated_pool_file
from .shape import MARK

if TYPE_CHECKING:
    from ..settings import Settings

PAGE = 60
"""Users per page. Source: Amazon Cognito API reference, ListUsers: Limit is at most 60."""


@dataclass(frozen=True)
class PoolUser:
    """A user of the pool. `handle` is preferred_username; only `sub` is always set.

    `person` is the name in the seeds of a user who comes from there; else the Username, which may be that name.
    `created_s` is in seconds since 1970.
    """

    sub: str
    username: str
    handle: str | None
    name: str | None
    email: str | None
    email_verified: bool
    status: str
    enabled: bool
    person: str = ""
    created_s: float = 0

    def as_dict(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name != "created_s"}
        return {**told, "created": iso_time(self.created_s)}

    @property
    def name_shown(self) -> str:
        """Return what people call them: where Username is only the sub, the handle or the e-mail address."""
        return self.username if self.username != self.sub else self.handle or self.email or self.sub

    def __str__(self) -> str:
        name = self.name_shown
        return name if self.email in (None, name) else f"{name} ({self.email})"


@dataclass(frozen=True)
class Pool:
    """A user pool of the target, and the API to call for it."""

    id: str
    call: Api

    def users(self) -> Iterator[PoolUser]:
        """Yield every user, page by page, in the pool's order. Raises LocalEnvError if the pool does not exist."""
        try:
            for answer in pages(self.call, "ListUsers", "PaginationToken", UserPoolId=self.id, Limit=PAGE):
                yield from (_pool_user(user) for user in answer.get("Users", ()))
        except AwsError as error:
            if error.aws_code != "ResourceNotFoundException":
                raise
            raise LocalEnvError(
                f"user pool {self.id} does not exist",
                hint="correct AWS_COGNITO_USER_POOL_ID or AWS_DEFAULT_REGION, or unset the former for an emulated pool",
            ) from error


def find_pool(settings: Settings) -> Pool:
    """Return the pool of the target. Raises LocalEnvError if the emulated one does not exist yet."""
    found = look_for_pool(settings)
    if found is None:
        raise LocalEnvError(
            f"no user pool called {settings.project_id} in the emulator at {settings.cognito}",
            hint=Command("cognito.seed"),
        )
    return found


def look_for_pool(settings: Settings) -> Pool | None:
    """Return the pool of the target: the real one by its id, the emulated one by the project's name.

    None if the emulator has no such pool. Raises UsageError if a real pool is needed and not configured.
    """
    if not settings.cognito_is_emulated:
        return Pool(_real_pool_id(settings), api(settings, "cognito-idp"))
    call, known = api(settings, "cognito-idp"), emulated_pools(settings)
    current = noted_pools(settings)[:1]
    found = [pool_id for pool_id in current if pool_id in known] or known
    return Pool(found[0], call) if found else None


def emulated_pools(settings: Settings) -> list[str]:
    """Return the ids of the emulated pools with this project's name: one, and what a killed replacement has left."""
    return [
        str(pool["Id"])
        for answer in pages(api(settings, "cognito-idp"), "ListUserPools", "NextToken", MaxResults=PAGE)
        for pool in answer.get("UserPools", ())
        if pool["Name"] == settings.project_id
    ]


def list_users(settings: Settings) -> Iterator[PoolUser]:
    """Return every user of the target's pool."""
    return find_pool(settings).users()


def noted_pools(settings: Settings) -> list[str]:
    """Return the noted ids of this project's emulated pools: the current one, then those that it replaced."""
    try:
        return emulated_pool_file(settings.state_dir).read_text().split()
    except FileNotFoundError:
        return []


def pages(call: Api, operation: str, token_name: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of an operation until there is no token. An empty page may have a successor."""
    token = None
    while True:
        answer = call(operation, **parameters, **({token_name: token} if token else {}))
        yield answer
        before, token = token, answer.get(token_name)
        if not token:
            return
        if token == before:
            raise ServiceFailed(f"{operation} keeps returning the same page", hint=RESTART)


def _real_pool_id(settings: Settings) -> str:
    if not settings.user_pool_id:
        raise UsageError(
            f"--target {settings.target} needs AWS_COGNITO_USER_POOL_ID, which is not set",
            hint="set it in .env or in the environment",
        )
    if settings.user_pool_id in noted_pools(settings):
        raise UsageError(
            f"AWS_COGNITO_USER_POOL_ID names the emulated pool {settings.user_pool_id}",
            hint=f"set it to the real pool for --target {settings.target}",
        )
    return settings.user_pool_id


def _pool_user(user: Mapping[str, Any]) -> PoolUser:
    attributes = {attribute["Name"]: attribute.get("Value", "") for attribute in user.get("Attributes", ())}
    username = user["Username"]
    return PoolUser(
        # ListUsers always returns `sub` as an attribute; if it is missing, the username is the sub.
        sub=attributes.get("sub", username),
        username=username,
        handle=attributes.get("preferred_username") or None,
        name=attributes.get("name") or None,
        email=attributes.get("email") or None,
        email_verified=attributes.get("email_verified") == "true",
        status=user.get("UserStatus", "UNKNOWN"),
        enabled=user.get("Enabled", True),
        person=attributes.get(f"custom:{MARK}") or username,
        created_s=_seconds(user.get("UserCreateDate", 0)),
    )


def _seconds(at: Any) -> float:
    """Return a time as seconds since 1970: the protocol has a number, boto3 makes a datetime of it."""
    return float(at.timestamp() if hasattr(at, "timestamp") else at)
