"""Signing in to the emulated pool: the tokens that an app's backend verifies, and passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..aws.wire import AwsError
from ..errors import LocalEnvError, UsageError
from ..hints import Command
from .seed import PASSWORD, find_client
from .users import Pool, PoolUser, find_pool

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True)
class Tokens:
    """What a sign-in gives: three tokens, as JSON Web Tokens, and how long the first two are valid, in seconds."""

    username: str
    access_token: str
    id_token: str
    refresh_token: str
    expires_in_s: int


def require_emulated(settings: Settings) -> None:
    """Raise UsageError for a real pool: its users sign in by the app, and their passwords are their own."""
    if not settings.cognito_is_emulated:
        raise UsageError(
            "this is for the emulated user pool alone",
            hint="sign in through the app; `aws cognito-idp admin-set-user-password` sets a password at AWS",
        )


def sign_in(settings: Settings, name: str, password: str = "") -> Tokens:
    """Sign a user in by password, that of the seeds by default. `name` is a handle, username or e-mail address.

    Raises UsageError if nobody is called that, LocalEnvError if the pool refuses the password.
    """
    require_emulated(settings)
    pool = find_pool(settings)
    user = _find_user(pool, name)
    try:
        answer = pool.call(
            "InitiateAuth",
            ClientId=find_client(pool),
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user.username, "PASSWORD": password or PASSWORD},
        )
    except AwsError as error:
        if error.aws_code not in ("NotAuthorizedException", "UserNotConfirmedException"):
            raise
        raise LocalEnvError(
            f"the pool refuses {name}: {error.response['Error']['Message']}",
            hint=Command("cognito.set-password", name, when="to give the password of the seeds"),
        ) from error
    result = answer.get("AuthenticationResult")
    if not result:
        challenge = answer.get("ChallengeName")
        raise LocalEnvError(
            f"{name} has to answer {challenge} first", hint=Command("cognito.set-password", name, when="to end that")
        )
    return Tokens(
        user.username, result["AccessToken"], result["IdToken"], result["RefreshToken"], int(result["ExpiresIn"])
    )


def set_password(settings: Settings, name: str, password: str = "") -> str:
    """Set a user's permanent password, that of the seeds by default; return a sentence. Raises as `sign_in` does."""
    require_emulated(settings)
    pool = find_pool(settings)
    user = _find_user(pool, name)
    wanted = {"UserPoolId": pool.id, "Username": user.username, "Password": password or PASSWORD, "Permanent": True}
    try:
        pool.call("AdminSetUserPassword", **wanted)
    except AwsError as error:
        if error.aws_code not in ("InvalidPasswordException", "InvalidParameterException"):
            raise
        raise UsageError(
            f"--password: {error.response['Error']['Message']}", hint=f"one that is accepted: {PASSWORD}"
        ) from error
    return f"{user.name_shown} signs in with {'the password given' if password else PASSWORD}"


def _find_user(pool: Pool, name: str) -> PoolUser:
    users = list(pool.users())
    for user in users:
        if name in (user.handle, user.username, user.email, user.sub):
            return user
    from difflib import get_close_matches

    known = [user.handle or user.username for user in users]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else Command("cognito.list-users")
    raise UsageError(f"nobody in the pool is called {name!r}", hint=hint)


def issuer(settings: Settings, pool_id: str) -> str:
    """Return the issuer that the pool's tokens name: AWS's own, for the emulated pool too."""
    region = pool_id.partition("_")[0] or settings.region
    return f"https://cognito-idp.{region}.amazonaws.com/{pool_id}"


def jwks_url(settings: Settings, pool_id: str) -> str:
    """Return where the keys are that verify the pool's tokens."""
    base = f"{settings.cognito.url}/{pool_id}" if settings.cognito_is_emulated and settings.cognito else ""
    return f"{base or issuer(settings, pool_id)}/.well-known/jwks.json"
