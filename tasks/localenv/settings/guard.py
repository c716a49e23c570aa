"""The guard: what a step may do to which store. A pure decision issues the permit that every change needs.

A step declares its effect; the store's owner is read; `decide` returns a Permit, or raises. Stores open read-only
unless their settings carry a permit (postgres/connection.py, wire.py), and no other module creates any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..errors import ConfirmationNeeded, UsageError

if TYPE_CHECKING:
    from . import Settings, Target

Kind = Literal["reads", "writes", "destroys"]


@dataclass(frozen=True)
class Effect:
    """What a step does to data. `undoable`: another command restores what it replaced or removed."""

    kind: Kind
    undoable: bool = False

    @property
    def reads(self) -> bool:
        return self.kind == "reads"

    def __str__(self) -> str:
        return self.kind + ("" if self.reads else ", undoable" if self.undoable else ", not undoable")


READS = Effect("reads")
WRITES = Effect("writes")
"""Adds or changes rows, items, users, tables or settings."""
REPLACES = Effect("destroys", undoable=True)
"""Replaces or removes whole stores, tables or databases, and keeps the old ones."""
DESTROYS = Effect("destroys")
"""Replaces or removes whole stores, tables or databases for good."""


@dataclass(frozen=True)
class Observed:
    """The store that a step would change, as observed: a database, a table, a rule called `name`.

    `owner` is the project in a database's marker, None without one. `holds` describes the contents of a database,
    empty if it has none. `account` is the AWS account of the credentials, empty where none are used.
    """

    name: str
    owner: str | None = None
    holds: str = ""
    account: str = ""


_seal = object()


@dataclass(frozen=True)
class Permit:
    """The permission to change the stores of a target. Only the guard issues it."""

    target: Target
    effect: Effect
    observed: Observed
    seal: object

    def __post_init__(self) -> None:
        if self.seal is not _seal:
            raise TypeError("only the guard makes permits")


def decide(
    settings: Settings,
    effect: Effect,
    observed: Observed,
    *,
    consent: str | None = None,
    yes: bool = False,
    accepts: str = "",
) -> Permit:
    """Return the permit for an effect on the observed store, or raise. Touches nothing.

    `consent` is the name that the user typed to confirm (None: no terminal to ask): needed for production, and for a
    local store with another project's marker, where `yes` is enough. `accepts` is the option that stands for `yes`.
    Raises ConfirmationNeeded, or UsageError for another account than PROD_AWS_ACCOUNT_ID.
    """
    if effect.reads:
        raise TypeError(f"a step that reads asks to change {observed.name}")
    if settings.is_local:
        if consent and consent != observed.name:
            raise UsageError(
                f"--confirm {consent!r} is not the name of what would change: {observed.name}",
                hint="correct --confirm, or leave it out",
            )
        require_ours(settings, observed, yes=yes or bool(consent), accepts=accepts)
    else:
        require_account(settings, observed.account)
        _require_name(observed.name, consent)
    return Permit(settings.target, effect, observed, _seal)


def decide_at_aws(settings: Settings, effect: Effect, observed: Observed) -> Permit:
    """Return the permit to change a resource at AWS that the settings name. Raises UsageError for another account.

    It is for production's account, whatever the target.
    """
    if effect.reads:
        raise TypeError(f"a step that reads asks to change {observed.name}")
    require_account(settings, observed.account)
    return Permit("prod", effect, observed, _seal)


def permitted(settings: Settings, permit: Permit) -> Settings:
    """Return the settings with the permit, which open the target's stores for writing."""
    return replace(settings, permit=permit, postgres=replace(settings.postgres, permit=permit))


def require_account(settings: Settings, account: str, arn: str = "") -> None:
    """Raise UsageError for another account than PROD_AWS_ACCOUNT_ID, where that is set. `arn` is the caller's."""
    if settings.prod_account and account != settings.prod_account:
        whose = f"{account} ({arn})" if arn else account
        raise UsageError(
            f"the credentials are those of account {whose}, and PROD_AWS_ACCOUNT_ID is {settings.prod_account}",
            hint="choose the profile or keys of that account",
        )


def _require_name(name: str, consent: str | None) -> None:
    again = f"run the same command with --confirm {name}"
    if consent is None:
        raise ConfirmationNeeded(f"{name} is production data, and nobody is here to confirm", hint=again)
    if consent != name:
        raise ConfirmationNeeded(f"nothing was changed: {consent!r} is not {name}", hint=again)


def require_ours(settings: Settings, observed: Observed, *, yes: bool, accepts: str = "") -> None:
    """Raise ConfirmationNeeded for a local database that has contents but not this project's marker."""
    if not settings.is_local or yes or not observed.holds or observed.owner == settings.project_id:
        return
    raise ConfirmationNeeded(
        f"database {observed.name} {describe_owner(observed, settings.project_id)}",
        hint=f"pass {accepts or '--yes'} to use it as this project's own",
    )


def describe_owner(observed: Observed, project_id: str) -> str:
    """Describe the owner or contents of a database without this project's marker."""
    if observed.owner:
        return f"belongs to project {observed.owner}, not to {project_id}"
    return f"holds {observed.holds} that this project did not make"
