"""The production guard: shows whose data it is, and lets nobody write there by accident."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import ConfirmationNeeded, UsageError

if TYPE_CHECKING:
    from .settings import Settings


def allow_write(
    settings: Settings,
    *,
    name: str,
    confirm: str = "",
    ask: Callable[[str], str] | None = None,
    say: Callable[[str], None],
) -> None:
    """Return when the database or table called `name` may be written to, else raise.

    The local target always may. For prod `say` first gets account, region and host; then `confirm` (the value of
    --confirm), or else the answer to `ask`, must be the name itself. `ask` is None where nobody is there to answer.
    Raises ConfirmationNeeded, or UsageError when the account cannot be found out.
    """
    if settings.is_local:
        if confirm:
            raise UsageError("--confirm is for --target prod", hint="leave --confirm out, or add --target prod")
        return
    for line in whereabouts(settings):
        say(line)
    again = f"run the same command with --confirm {name}"
    if confirm:
        if confirm != name:
            raise ConfirmationNeeded(f"--confirm {confirm!r} is not the name of what would change: {name}", hint=again)
        return
    if ask is None:
        raise ConfirmationNeeded(f"{name} is production data, and nobody is here to confirm", hint=again)
    given = ask(f"Type {name} to change this production data: ").strip()
    if given != name:
        raise ConfirmationNeeded(f"nothing was changed: {given!r} is not {name}", hint=again)


def whereabouts(settings: Settings) -> list[str]:
    """Say whose data the prod target is: account, region and hosts, without a secret. Calls STS.

    Raises UsageError for another account than PROD_AWS_ACCOUNT_ID, where that is set.
    """
    from .aws import aws_errors, client

    sts = client(settings, "sts")
    with aws_errors("AWS account"):
        caller = sts.get_caller_identity()
    if settings.prod_account and caller["Account"] != settings.prod_account:
        raise UsageError(
            f"the credentials are those of account {caller['Account']} ({caller['Arn']}), and PROD_AWS_ACCOUNT_ID is "
            f"{settings.prod_account}",
            hint="choose the profile or keys of that account",
        )
    return [
        f"target prod: account {caller['Account']} ({caller['Arn']}), region {settings.region}",
        f"hosts: dynamodb.{settings.region}.amazonaws.com, postgres {settings.postgres}",
    ]
