"""The guard: what a step may do to which store. A pure decision makes the permit without which no store can be changed.

A step declares its effect; the store is looked at for its owner; `decide` says yes with a Permit, or raises. Stores
open read-only unless their settings carry one (postgres/connection.py, wire.py), and no other module makes any.
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
    """What a step does to data. `undoable`: another command brings back what it replaced or removed."""

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
"""Replaces or removes whole stores, tables or databases, and keeps the former ones."""
DESTROYS = Effect("destroys")
"""Replaces or removes whole stores, tables or databases for good."""


@dataclass(frozen=True)
class Observed:
    """What was seen of the store that a step would change: a database, a table, a rule called `name`.

    `owner` is the project that a database's marker names, None where there is none. `holds` counts in words what is in
    a database, and is empty where nothing is. `account` is the AWS account of the credentials, empty where none are
    used.
    """

    name: str
    owner: str | None = None
    holds: str = ""
    account: str = ""


_seal = object()


@dataclass(frozen=True)
class Permit:
    """Leave to change the stores of a target. Only `decide` makes one."""

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
    """Return the permit for an effect on what was observed, or raise why there is none. Touches nothing.

    `consent` is the name that the user typed for a store which is not this project's own (None: nobody was there to
    ask): production's, or one whose marker is another's; for the latter `yes` does too. `accepts` is the option that
    would have said so. Raises ConfirmationNeeded, or UsageError for another account than PROD_AWS_ACCOUNT_ID.
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
    """Return the permit to change a setting at AWS that the settings name: the account is the right one, or UsageError.

    Whatever the target is: production's account is meant.
    """
    if effect.reads:
        raise TypeError(f"a step that reads asks to change {observed.name}")
    require_account(settings, observed.account)
    return Permit("prod", effect, observed, _seal)


def permitted(settings: Settings, permit: Permit) -> Settings:
    """Return the same settings, which open the target's stores for writing."""
    return replace(settings, permit=permit, postgres=replace(settings.postgres, permit=permit))


def require_account(settings: Settings, account: str, arn: str = "") -> None:
    """Raise UsageError for another account than PROD_AWS_ACCOUNT_ID, where that is set. `arn` is who calls."""
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
    """Raise ConfirmationNeeded for a local database that holds something and does not carry this project's marker."""
    if not settings.is_local or yes or not observed.holds or observed.owner == settings.project_id:
        return
    raise ConfirmationNeeded(
        f"database {observed.name} {whose(observed, settings.project_id)}",
        hint=f"pass {accepts or '--yes'} to use it as this project's own",
    )


def whose(observed: Observed, project_id: str) -> str:
    """Return what a database has that does not carry this project's marker, in words."""
    if observed.owner:
        return f"belongs to project {observed.owner}, not to {project_id}"
    return f"holds {observed.holds} that this project did not make"
