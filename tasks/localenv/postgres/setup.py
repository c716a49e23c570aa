"""A database built beside the old one and swapped in once all of it worked; and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError
from ..hints import Command, inv
from ..machine.ages import ago
from . import databases, ledger, load, migrating
from .connection import connect, server_errors
from .databases import Session, describe_ended, sibling_name
from .decision import Decision, decide, require_ours
from .ledger import Observed
from .load import Say
from .scripts import Script, of_step, read_scripts

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings


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
    name = settings.postgres.database
    swap = f"rename it to {name}; the old one, if there is one, is kept as {sibling_name(name, 'undo')}"
    return [f"create {sibling_name(name, 'new')}: {decision.reason}", *load.plan_files(scripts), swap]


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


def _build(settings: Settings, scripts: Sequence[Script], observed: Observed, say: Say) -> str:
    name = settings.postgres.database
    new, kept, gone = sibling_name(name, "new"), sibling_name(name, "undo"), sibling_name(name, "gone")
    with databases.maintenance(settings.postgres) as conn:
        for leftover in (new, gone):  # of an interrupted run
            databases.drop(conn, leftover)
        databases.create(conn, new)
        with _dropped_on_failure(conn, new, f"database {name} is unchanged" if observed.exists else "nothing was made"):
            done = _fill(settings, new, scripts, say)
        keeps_old = observed.exists and not observed.is_empty
        pairs = [(name, kept if keeps_old else gone)] if observed.exists else []
        if keeps_old and databases.exists(conn, kept):
            pairs.insert(0, (kept, gone))
        ended = databases.rename(conn, settings.postgres, [*pairs, (new, name)])
        databases.drop(conn, gone)
    old = f"; the old one is kept, {inv('db.undo')} brings it back" if keeps_old else ""
    return f"{name} made from {done}{old}{describe_ended(ended)}"


def _fill(settings: Settings, new: str, scripts: Sequence[Script], say: Say) -> str:
    with server_errors(f"database {new}"), connect(settings.postgres, database=new) as conn:
        ledger.prepare(conn, ledger.owner(settings))
        return load.apply(conn, scripts, say, was_empty=True)


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
    """Drop the database and end its sessions. Keeps the one that db.undo would bring back."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        if not databases.exists(conn, name):
            return f"there is no {name}"
        ended = databases.drop(conn, name)
        kept = databases.exists(conn, sibling_name(name, "undo"))
    return f"dropped {name}{describe_ended(ended)}" + (
        f"; {inv('db.undo')} brings back the one before it" if kept else ""
    )


def read_sessions(settings: Settings, *, kill: bool = False) -> list[Session]:
    """Return the sessions in the database; `kill` ends them."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        return databases.terminate(conn, [name]) if kill else databases.sessions(conn, name)
