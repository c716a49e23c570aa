"""A database built beside the old one and swapped in once all of it worked; and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..hints import Command, inv
from ..machine.ages import ago
from . import databases, ledger, load, migrating, properties, sealedcopy
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
    return [f"create {new}: {decision.reason}", *load.plan_files(scripts), _swap_planned(settings)]


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


def reset(settings: Settings, say: Say, *, yes: bool = False, prove: Prove | None = None) -> str:
    """Replace the database by one as the files make it; the old one is kept, as `setup` does.

    `prove` looks at the new one before the swap: what it raises leaves everything as it was.
    """
    scripts, observed = read_scripts(settings), ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    make = partial(sealedcopy.make, settings=settings, scripts=scripts, say=say)
    return _replace(settings, observed, say, lambda conn, new: make(conn, new=new), prove=prove)


def _build(settings: Settings, scripts: Sequence[Script], observed: Observed, say: Say) -> str:
    def make(conn: psycopg.Connection[Any], new: str) -> str:
        databases.create(conn, new)
        return sealedcopy.fill(settings, new, scripts, say)

    return _replace(settings, observed, say, make)


def _replace(
    settings: Settings,
    observed: Observed,
    say: Say,
    make: Callable[[psycopg.Connection[Any], str], str],
    prove: Prove | None = None,
) -> str:
    """Make a database beside the present one, with its properties, and swap the two. The old one is kept for `undo`."""
    name = settings.postgres.database
    new, gone = sibling_name(name, "new"), sibling_name(name, "gone")
    with databases.maintenance(settings.postgres) as conn:
        for leftover in (new, gone):  # of an interrupted run
            databases.drop(conn, leftover)
        with _dropped_on_failure(conn, new, f"database {name} is unchanged" if observed.exists else "nothing was made"):
            done = make(conn, new)
            if observed.exists:
                for line in properties.apply(conn, new, properties.fetch(conn, name)):
                    say(f"not taken over: {line}")
            if prove:
                with connect(settings.postgres, database=new, autocommit=True) as inside:
                    prove(inside)
        keeps_old = observed.exists and not observed.is_empty
        ended = databases.rename(conn, settings.postgres, [*_aside(conn, name, keeps_old=keeps_old), (new, name)])
        databases.drop(conn, gone)
    old = f"; the old one is kept, {inv('db.undo')} brings it back" if keeps_old else ""
    return f"{name} made from {done}{old}{describe_ended(ended)}"


def _aside(conn: psycopg.Connection[Any], name: str, *, keeps_old: bool) -> list[tuple[str, str]]:
    """Return the renamings that put a database aside, to keep it for `undo` or to drop it. It need not exist."""
    kept, gone = sibling_name(name, "undo"), sibling_name(name, "gone")
    if not databases.exists(conn, name):
        return []
    if not keeps_old:
        return [(name, gone)]
    return [*([(kept, gone)] if databases.exists(conn, kept) else []), (name, kept)]


def _swap_planned(settings: Settings) -> str:
    name = settings.postgres.database
    return f"rename it to {name}; the old one, if there is one, is kept as {sibling_name(name, 'undo')}"


@contextlib.contextmanager
def _dropped_on_failure(conn: psycopg.Connection[Any], new: str, kept: str) -> Iterator[None]:
    try:
        yield
    except LocalEnvError as error:
        error.evidence = "\n".join(part for part in (error.evidence, f"kept: {kept}") if part)
        with contextlib.suppress(LocalEnvError):  # the first error is the one to report; the next run drops it too
            databases.drop(conn, new)
        raise


def plan_undo(settings: Settings) -> list[str]:
    """Return what `undo` would do. Raises as it does."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        _require_kept(conn, name)
    return [f"swap {name} with the previous one"]


def undo(settings: Settings) -> str:
    """Swap the database with the one kept by the last rebuild; a second undo swaps them back.

    Raises LocalEnvError when none was kept.
    """
    name = settings.postgres.database
    between = sibling_name(name, "swap")
    with databases.maintenance(settings.postgres) as conn:
        kept = _require_kept(conn, name)
        was_there = databases.exists(conn, name)
        pairs = [(name, between), (kept, name), (between, kept)] if was_there else [(kept, name)]
        ended = databases.rename(conn, settings.postgres, pairs)
    restored = ledger.observe(settings.postgres)
    age = f", made {ago(min(row.age_s for row in restored.applied))}" if restored.applied else ""
    back = f"; another {inv('db.undo')} swaps them back" if was_there else ""
    return f"{name} is the previous database{age}{back}{describe_ended(ended)}"


def _require_kept(conn: psycopg.Connection[Any], name: str) -> str:
    kept = sibling_name(name, "undo")
    if not databases.exists(conn, kept):
        raise LocalEnvError(
            f"there is no database {kept}, so there is nothing to go back to",
            hint=Command("snapshot.list", when="to see what else there is"),
        )
    return kept


def drop(settings: Settings) -> str:
    """Put the database aside, where `undo` finds it, and end its sessions; one without content is dropped."""
    name, observed = settings.postgres.database, ledger.observe(settings.postgres)
    with databases.maintenance(settings.postgres) as conn:
        if not observed.exists:
            return f"there is no {name}"
        databases.drop(conn, sibling_name(name, "gone"))
        pairs = _aside(conn, name, keeps_old=not observed.is_empty)
        ended = databases.rename(conn, settings.postgres, pairs)
        databases.drop(conn, sibling_name(name, "gone"))
        kept = databases.exists(conn, sibling_name(name, "undo"))
    which = "brings it back" if not observed.is_empty else "brings back the one before it"
    return f"dropped {name}{describe_ended(ended)}" + (f"; {inv('db.undo')} {which}" if kept else "")


def read_sessions(settings: Settings, *, kill: bool = False) -> list[Session]:
    """Return the sessions in the database; `kill` ends them."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        return databases.terminate(conn, [name]) if kill else databases.sessions(conn, name)
