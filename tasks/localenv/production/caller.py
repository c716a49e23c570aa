"""What --target prod shows before it changes anything: the caller, account, region and hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings import guard

if TYPE_CHECKING:
    from ..settings import Settings

Caller = tuple[str, str]
"""An AWS account's id, and the ARN of the caller."""


def fetch_caller(settings: Settings) -> Caller:
    """Fetch the account and ARN of the credentials from STS. Raises UsageError if they are missing or expired."""
    from ..aws.boto import aws_errors, client
    from ..machine.waiting import waiting

    sts = client(settings, "sts")
    with aws_errors("AWS account"), waiting("AWS (sts GetCallerIdentity)"):
        caller = sts.get_caller_identity()
    return caller["Account"], caller["Arn"]


def whereabouts(settings: Settings, caller: Caller) -> list[str]:
    """Return account, region and hosts in two lines, without secrets."""
    account, arn = caller
    return [
        f"target prod: account {account} ({arn}), region {settings.region}",
        f"hosts: dynamodb.{settings.region}.amazonaws.com, postgres {settings.postgres}",
    ]


def describe(settings: Settings) -> list[str]:
    """Fetch the caller and return the lines of `whereabouts`. Raises UsageError for another account."""
    caller = fetch_caller(settings)
    guard.require_account(settings, *caller)
    return whereabouts(settings, caller)
