"""A database built beside the old one and swapped in once all of it worked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..hints import inv
from . import aside, databases, ledger, load, migrating, properties, sealedcopy
from .connection import connect
from .databases import Session, describe_ended, sibling_name
from .decision import Decision, decide, require_ours
from .ledger import Observed
from .load import Say
from .scripts import Script, of_step, read_scripts

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

Prove = Callable[["psycopg.Connection[Any]"], None]


def read_decision(settings: Settings, *, typed: bool, refill: bool = True) -> Decision:
    """Read the files, observe the database, and decide. Changes nothing."""
    return _decided(settings, typed=typed, refill=refill)[2]


def plan(settings: Settings, *, typed: bool, force: bool = False, yes: bool = False, refill: bool = True) -> list[str]:
    """Return what `setup` would do, one step a line. Raises as it does."""
    scripts, observed, decision = _decided(settings, typed=typed, force=force, refill=refill)
    if decision.action == "keep":
        return [decision.reason]
    if decision.action != "build":
        seeds = [script for script in of_step(scripts, "seed") if observed.awaits(script.entry)]
        return load.plan_files([*observed.pending(scripts), *seeds])
    require_ours(observed, settings, yes=yes)
    new = sibling_name(settings.postgres.database, "new")
    return [f"create {new}: {decision.reason}", *sealedcopy.plan_build(settings, scripts), _swap_planned(settings)]


def setup(
    settings: Settings, say: Say, *, typed: bool, force: bool = False, yes: bool = False, refill: bool = True
) -> str:
    """Do what `decide` says. Raises ConfirmationNeeded before it replaces another project's database without `yes`.

    An interrupted run leaves the old database in place; the next run drops the unfinished one.
    """
    scripts, observed, decision = _decided(settings, typed=typed, force=force, refill=refill)
    if decision.action == "build":
        require_ours(observed, settings, yes=yes)
        return _build(settings, scripts, observed, say)
    done = [decision.reason] if decision.action == "keep" else []
    if decision.action == "migrate":
        done = [migrating.migrate(settings, say)]
        decision = read_decision(settings, typed=False, refill=refill)
    if decision.action == "seed":
        done.append(load.run_seeds(settings, of_step(scripts, "seed"), say))
    return "; ".join(done)


def _decided(
    settings: Settings, *, typed: bool, force: bool = False, refill: bool = True
) -> tuple[list[Script], Observed, Decision]:
    """Return what is wanted, what was observed, and what is to be done."""
    scripts = read_scripts(settings)
    observed = ledger.observe(settings.postgres)
    decided = decide(observed, scripts, settings.project_id, typed=typed, force=force, refill=refill)
    return scripts, observed, decided


def plan_reset(settings: Settings, *, yes: bool) -> list[str]:
    """Return what `reset` would do, a line each. Raises as it does."""
    require_ours(ledger.observe(settings.postgres), settings, yes=yes)
    return [*sealedcopy.plan(settings, read_scripts(settings)), _swap_planned(settings)]


def reset(
    settings: Settings, say: Say, *, yes: bool = False, prove: Prove | None = None, keeps_empty: bool = False
) -> str:
    """Replace the database by one as the files make it; the old one is kept, as `setup` does.

    With `keeps_empty` also one without content, or that there was none: other stores go back with it.
    `prove` looks at the new one before the swap: what it raises leaves everything as it was.
    """
    scripts, observed = read_scripts(settings), ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    make = partial(sealedcopy.make, settings=settings, scripts=scripts, say=say)
    keeps_old = keeps_empty or not observed.is_empty
    return _replace(settings, observed, say, lambda conn, new: make(conn, new=new), prove, keeps_old=keeps_old)


def _build(settings: Settings, scripts: Sequence[Script], observed: Observed, say: Say) -> str:
    make = partial(sealedcopy.build, settings=settings, scripts=scripts, say=say)
    keeps_old = not observed.is_empty
    return _replace(settings, observed, say, lambda conn, new: make(conn, new=new), keeps_old=keeps_old)


def _replace(
    settings: Settings,
    observed: Observed,
    say: Say,
    make: Callable[[psycopg.Connection[Any], str], str],
    prove: Prove | None = None,
    *,
    keeps_old: bool,
) -> str:
    """Make a database beside the present one, with its properties, and swap the two."""
    name = settings.postgres.database
    new = sibling_name(name, "new")
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, new)  # of an interrupted run
        with _dropped_on_failure(conn, new, f"database {name} is unchanged" if observed.exists else "nothing was made"):
            done = make(conn, new)
            if observed.exists:
                for line in properties.apply(conn, new, properties.fetch(conn, name)):
                    say(f"not taken over: {line}")
            if prove:
                with connect(settings.postgres, database=new, autocommit=True) as inside:
                    prove(inside)
        ended = aside.replace_by(conn, settings, new, keeps_old=keeps_old)
    return f"{name} made from {done}{describe_ended(ended)}"


def _swap_planned(settings: Settings) -> str:
    return f"rename it to {settings.postgres.database}; the old one, if there is one, is kept for {inv('undo')}"


@contextlib.contextmanager
def _dropped_on_failure(conn: psycopg.Connection[Any], new: str, kept: str) -> Iterator[None]:
    try:
        yield
    except LocalEnvError as error:
        error.evidence = "\n".join(part for part in (error.evidence, f"kept: {kept}") if part)
        with contextlib.suppress(LocalEnvError):  # the first error is the one to report; the next run drops it too
            databases.drop(conn, new)
        raise


def drop(settings: Settings) -> str:
    """Put the database aside, where `undo` finds it, and end its sessions; one without content is dropped."""
    name, observed = settings.postgres.database, ledger.observe(settings.postgres)
    if not observed.exists:
        return f"there is no {name}"
    with databases.maintenance(settings.postgres) as conn:
        ended = aside.replace_by(conn, settings, "", keeps_old=not observed.is_empty)
    return f"dropped {name}{describe_ended(ended)}"


def read_sessions(settings: Settings, *, kill: bool = False) -> list[Session]:
    """Return the sessions in the database; `kill` ends them."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        return databases.terminate(conn, [name]) if kill else databases.sessions(conn, name)
