"""The guard: what a step may do to which store. A pure decision issues the permit that every change needs.

A step declares its effect; the store's owner is read; `decide` returns a Permit, or raises. Stores open read-only
unless their settings carry a permit (postgres/connection.py, wire.py), and no other module creates any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..errors import ConfirmationNeeded, UsageError
from ..hints import inv

if TYPE_CHECKING:
    import psycopg

    from . import Settings, Target

Kind = Literal["reads", "writes", "destroys"]


@dataclass(frozen=True)
class Effect:
    """What a step does to data. `undoable`: what it replaces or removes locally is kept, and `undo` brings it back."""

    kind: Kind
    undoable: bool = False

    @property
    def reads(self) -> bool:
        return self.kind == "reads"

    @property
    def word(self) -> str:
        """Name it in one word: reads, writes, replaces (what undo brings back) or destroys (what nothing does)."""
        return "replaces" if self.undoable else self.kind

    @property
    def sentence(self) -> str:
        return {
            "reads": "only reads",
            "writes": "adds or changes data",
            "replaces": f"replaces or removes data, and {inv('undo')} brings that back",
            "destroys": "removes data for good, after its name was typed or given as --confirm NAME",
        }[self.word]


READS = Effect("reads")
WRITES = Effect("writes")
"""Adds or changes rows, items, users, tables or settings."""
REPLACES = Effect("destroys", undoable=True)
"""Replaces or removes whole stores, tables or databases, and keeps the old local ones (snapshot/keeper.py)."""
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


class Keeper(Protocol):
    """Keeps what a run is about to replace or remove, as it was before the run: what is kept already stays as it is."""

    def database(self, conn: psycopg.Connection[Any], *, copy: bool = False) -> str:
        """Return the name that the present database is to get, empty where one is kept; with `copy` a copy has it."""

    def tables(self, names: Iterable[str]) -> None:
        """Keep these tables, also that one is not there."""

    def pool(self) -> None:
        """Keep the state of the emulated pools."""


_seal = object()


@dataclass(frozen=True)
class Permit:
    """The permission to change the stores of a target. Only the guard issues it.

    `keeper` is called for the run's keeper by whoever replaces or removes; None where the effect is not undoable.
    """

    target: Target
    effect: Effect
    observed: Observed
    seal: object
    keeper: Callable[[Settings], Keeper] | None = None

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


def permitted(settings: Settings, permit: Permit, keeper: Callable[[Settings], Keeper] | None = None) -> Settings:
    """Return the settings with the permit, which open the target's stores for writing.

    `keeper` goes with it where what the effect replaces locally can be brought back.
    """
    permit = replace(permit, keeper=keeper if settings.is_local and permit.effect.undoable else None)
    return replace(settings, permit=permit, postgres=replace(settings.postgres, permit=permit))


def keeper_of(settings: Settings) -> Keeper | None:
    """Return what keeps whatever a step with these settings replaces or removes; None where nothing is kept."""
    permit = settings.permit
    return permit.keeper(settings) if permit and permit.keeper else None


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
