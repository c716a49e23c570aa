"""Shape and contents into a database: which files, what changed since, and how they are applied in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ConfirmationNeeded
from ..hints import Command, either, inv
from ..settings import guard
from ..settings.people import PEOPLE, nearest
from . import databases, ledger, session
from .connection import connect, server_errors
from .ledger import Observed
from .runner import Outcome, run_file
from .scripts import SCHEMA, SEEDS, Script, read_schema, read_scripts, read_seeds
from .sqlfile import SqlError

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

Say = Callable[[str], None]

ALREADY_THERE = ("42P07", "42710", "42P06", "42723")
"""SQLSTATEs of something that exists: a table, a type or trigger, a schema, a function."""


def drift(settings: Settings) -> list[str]:
    """Say in what the files of the project differ from what the database was made from; nothing when they agree.

    Raises ServiceFailed when the server does not answer. A database that is not there differs in everything.
    """
    scripts = read_scripts(settings)
    return differences(scripts, ledger.observe(settings.postgres))


def differences(scripts: Sequence[Script], observed: Observed) -> list[str]:
    """Say in what these files differ from what was applied."""
    return ledger.differences([s.entry for s in scripts], observed, PEOPLE, f"{SEEDS}/")


def create(settings: Settings) -> str:
    """Create the database, empty but for the marker that says whose it is. Does nothing where it is there already."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        if databases.exists(conn, name):
            return f"{name} is there already"
        databases.create(conn, name)
    with _transaction(settings) as conn:
        ledger.prepare(conn, owner(settings))
    return f"created {name}"


def is_created(settings: Settings) -> str | None:
    """Say that the database is there, or None."""
    return f"{settings.postgres.database} is there already" if ledger.observe(settings.postgres).exists else None


def is_shaped(settings: Settings, path: str, *, typed: bool) -> str | None:
    """Say why the schema is not to be applied, or None. Nobody but who types it runs it over what is there."""
    script = read_schema(settings, path)
    observed = ledger.observe(settings.postgres)
    same = ledger.unchanged([script.entry], observed)
    if same or typed or observed.is_empty:
        return same
    if observed.applied:
        return f"kept as it is: {', '.join(differences([script], observed))} ({inv('db.setup')} rebuilds it)"
    return f"kept as it is: it holds {objects(observed)} that this project did not make"


def is_seeded(settings: Settings, path: str) -> str | None:
    """Say that every seed was applied as it is now, or None; one of which nothing is left is to be applied again."""
    entries, observed = [script.entry for script in read_seeds(settings, path)], ledger.observe(settings.postgres)
    return None if any(map(observed.waits_for, entries)) else ledger.unchanged(entries, observed)


def plan_schema(settings: Settings, script: Script, *, yes: bool) -> list[str]:
    """Return what `apply_schema` would do, a line each. Raises as it does."""
    require_ours(ledger.observe(settings.postgres), settings, yes=yes)
    return [f"apply {script.file.name}"]


def apply_schema(settings: Settings, path: str, say: Say, *, yes: bool = False) -> str:
    """Run the schema file on the database as it is. Raises SqlError with the place, the database unchanged then."""
    script = read_schema(settings, path)
    with _in_place(settings, yes=yes) as conn:
        return f"applied {_apply(conn, [script], say)}"


def plan_seeds(settings: Settings, scripts: Sequence[Script], *, again: bool, yes: bool) -> list[str]:
    """Return what `apply_seeds` would do, a line each. Raises as it does."""
    observed = ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    return [f"apply {script.file.name}" for script in _waiting(scripts, observed, again=again)]


def apply_seeds(settings: Settings, path: str, say: Say, *, again: bool = False, yes: bool = False) -> str:
    """Run the seed files that were not applied yet, all of them or none.

    Raises ConfirmationNeeded for one that changed since it was applied, unless `again`: run twice, most seeds
    double their rows.
    """
    scripts = read_seeds(settings, path)
    with _in_place(settings, yes=yes) as conn:
        waiting = _waiting(scripts, ledger.read(conn), again=again)
        if not scripts:
            return f"no seeds in {SEEDS}"
        return f"applied {_apply(conn, waiting, say)}" if waiting else "applied before, nothing to do"


def plan_reset(settings: Settings, *, yes: bool) -> list[str]:
    """Return what `reset` would do, a line each. Raises as it does."""
    require_ours(ledger.observe(settings.postgres), settings, yes=yes)
    name = settings.postgres.database
    return [f"drop every table of {name}, then apply {SCHEMA} and {SEEDS}/*.sql, in one transaction"]


def reset(settings: Settings, say: Say, *, yes: bool = False) -> str:
    """Put the contents back to schema and seeds, in place and in one transaction: it all works, or nothing changed."""
    scripts = read_scripts(settings)
    with _in_place(settings, yes=yes) as conn:
        with server_errors("reset"):
            session.empty(conn)
        ledger.clear(conn)
        return f"{settings.postgres.database} is back to {_apply(conn, scripts, say, anew=True)}"


def fill(conn: psycopg.Connection[Any], settings: Settings, scripts: Sequence[Script], say: Say) -> str:
    """Mark a new database and run the files in it, inside the open transaction."""
    ledger.prepare(conn, owner(settings))
    return _apply(conn, scripts, say, anew=True)


def require_ours(observed: Observed, settings: Settings, *, yes: bool) -> None:
    """Raise ConfirmationNeeded for a local database that holds something and does not carry our marker."""
    guard.require_ours(settings, seen(observed, settings), yes=yes)


def seen(observed: Observed, settings: Settings) -> guard.Observed:
    """Return what the guard has to know of the database."""
    holds = "" if observed.is_empty else objects(observed)
    return guard.Observed(settings.postgres.database, observed.project_id, holds)


def owner(settings: Settings) -> str:
    """Name whose a database is in its marker. Production belongs to no checkout."""
    return settings.project_id if settings.is_local else settings.target


def objects(observed: Observed) -> str:
    """Count what the app has in a database, in words."""
    return f"{observed.objects} table{'s' if observed.objects != 1 else ''} or routines"


def _waiting(scripts: Sequence[Script], observed: Observed, *, again: bool) -> list[Script]:
    """Return the seeds that are not applied yet, or all of them. Raises ConfirmationNeeded for one that changed."""
    changed = [s.file.name for s in scripts if observed.find(s.entry) and not observed.has(s.entry)]
    if changed and not again:
        raise ConfirmationNeeded(
            f"{', '.join(changed)}: applied before, and changed since (the file, or {PEOPLE})",
            hint=either(
                Command("db.reset", when="to put the contents back to the seeds"),
                Command("db.seed", "--force", when="to run them once more"),
            ),
        )
    return [s for s in scripts if again or observed.waits_for(s.entry)]


@contextmanager
def _in_place(settings: Settings, *, yes: bool) -> Iterator[psycopg.Connection[Any]]:
    """Open a transaction on a database that we may write to, with the ledger ready in it."""
    try:
        with _transaction(settings) as conn:
            require_ours(ledger.read(conn), settings, yes=yes)
            ledger.prepare(conn, owner(settings))
            yield conn
    except SqlError as error:
        kept = f"kept: database {settings.postgres.database} is unchanged"
        error.evidence = "\n".join(part for part in (error.evidence, kept) if part)
        raise


@contextmanager
def _transaction(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Open one transaction: committed at the end, rolled back on an error. A commit can fail too."""
    with server_errors(f"database {settings.postgres.database}"), connect(settings.postgres) as conn:
        session.fresh(conn)
        yield conn


def _apply(conn: psycopg.Connection[Any], scripts: Sequence[Script], say: Say, *, anew: bool = False) -> str:
    """Run files one after the other, each with its row of the ledger, and say what that came to.

    `anew` says that the database was empty before.
    """
    statements = rows = 0
    for script in scripts:
        before = ledger.filled_tables(conn)
        if script.people:
            session.provide(conn, script.people, PEOPLE)
        outcome = _run(conn, script, anew=anew)
        session.settle(conn, script.file.name)
        for warning in outcome.warnings:
            say(warning)
        if not outcome.statements:
            say(f"{script.file.name}: there is no statement in it")
        session.fresh(conn)
        filled = ledger.filled_tables(conn)
        ledger.record(conn, script.entry, [table for table in filled if filled[table] > before.get(table, 0)])
        statements, rows = statements + outcome.statements, rows + outcome.rows
    names = ", ".join(script.file.name for script in scripts[:3]) + (", …" if len(scripts) > 3 else "")
    return f"{names} ({statements} statement{'s' if statements != 1 else ''}, {rows} row{'s' if rows != 1 else ''})"


def _run(conn: psycopg.Connection[Any], script: Script, *, anew: bool) -> Outcome:
    try:
        return run_file(conn, script.file)
    except SqlError as error:
        if error.unknown_person:
            error.hint = nearest(script.people, error.unknown_person)
        elif error.sqlstate in ALREADY_THERE and not error.hint and anew:
            error.hint = "the files of the project make it twice: take one of the two out"
        elif error.sqlstate in ALREADY_THERE and not error.hint:
            error.hint = either(
                Command("db.setup", "--force", when="to build the database anew beside this one"),
                Command("db.reset", when="to empty it first"),
            )
        raise
