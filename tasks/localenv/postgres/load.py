"""Files applied to an existing database: what each command checks, plans and does, and the ledger's row per file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..hints import Command, either, inv
from ..machine.words import counted
from ..settings.people import PEOPLE, nearest
from . import aside, databases, ledger, migrations, session
from .connection import connect, server_errors
from .decision import due_schema, due_seeds, reason_to_skip_schema, reason_to_skip_seeds, require_ours
from .runner import Outcome, run_file
from .scripts import SCHEMA, SEEDS, Script, read_schema, read_seeds
from .sqlfile import SqlError

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

Say = Callable[[str], None]

ALREADY_THERE = ("42P07", "42710", "42P06", "42723")
"""SQLSTATEs of something that exists: a table, a type or trigger, a schema, a function."""
OF_ANOTHER_SHAPE = ("42703", "42P01", "23502", "42804")
"""SQLSTATEs of a table that is not as the seed wants it: no such column, no such table, a column more, another type."""
TWICE = "23505"
NO_TRANSACTION = "25001"
PARTLY = "kept: what was done before this statement; the file runs from its beginning again"


def check_created(settings: Settings) -> str | None:
    """Return why `create` has nothing to do, or None."""
    return f"{settings.postgres.database} already exists" if ledger.observe(settings.postgres).exists else None


def create(settings: Settings) -> str:
    """Create the database, empty except for its owner's marker. Does nothing if it exists."""
    name = settings.postgres.database
    with databases.maintenance(settings.postgres) as conn:
        if databases.exists(conn, name):
            return f"{name} already exists"
        databases.create(conn, name)
    with _transaction(settings) as conn:
        ledger.prepare(conn, ledger.owner(settings))
    return f"created {name}"


def check_schema(settings: Settings, path: str, *, typed: bool) -> str | None:
    """Return why `apply_schema` has nothing to do, or None."""
    scripts = read_schema(settings, path)
    if not scripts:
        return f"this app has no {SCHEMA}"
    return reason_to_skip_schema(scripts, ledger.observe(settings.postgres), typed=typed)


def plan_schema(settings: Settings, scripts: Sequence[Script], *, again: bool, yes: bool) -> list[str]:
    """Return what `apply_schema` would do, a line each. Raises as it does."""
    observed = ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    due = due_schema(scripts, observed, again=again)
    kept = [f"keep a copy of it for {inv('undo')}, which ends the sessions in it"]
    return [*(kept if due and not observed.is_empty and settings.is_local else ()), *plan_files(due)]


def apply_schema(settings: Settings, path: str, say: Say, *, again: bool = False, yes: bool = False) -> str:
    """Run those of the schema files that are not applied as they are now on the existing database, all or none.

    Raises SqlError with the place.
    """
    scripts, observed = read_schema(settings, path), ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    is_wanted = bool(due_schema(scripts, observed, again=again)) and not observed.is_empty
    with aside.kept_copy(settings, is_wanted=is_wanted), in_place(settings, yes=yes) as conn:
        return f"applied {apply(conn, due_schema(scripts, ledger.read(conn), again=again), say)}"


def check_seeds(settings: Settings, path: str) -> str | None:
    """Return why `apply_seeds` has nothing to do, or None."""
    return reason_to_skip_seeds(read_seeds(settings, path), ledger.observe(settings.postgres))


def plan_seeds(settings: Settings, scripts: Sequence[Script], *, again: bool, yes: bool) -> list[str]:
    """Return what `apply_seeds` would do, a line each. Raises as it does."""
    observed = ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    return plan_files(due_seeds(scripts, observed, again=again))


def apply_seeds(settings: Settings, path: str, say: Say, *, again: bool = False, yes: bool = False) -> str:
    """Run the seed files that are due, all of them or none. Raises as `due_seeds` does."""
    return run_seeds(settings, read_seeds(settings, path), say, again=again, yes=yes)


def run_seeds(
    settings: Settings, scripts: Sequence[Script], say: Say, *, again: bool = False, yes: bool = False
) -> str:
    """Run those of these seeds that are due, all of them or none. Raises as `due_seeds` does."""
    with in_place(settings, yes=yes) as conn:
        due = due_seeds(scripts, ledger.read(conn), again=again)  # read under the lock that preparing it has taken
        if not scripts:
            return f"no seeds in {SEEDS}"
        return f"applied {apply(conn, due, say)}" if due else "applied before, nothing to do"


@contextmanager
def statement_by_statement(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection with autocommit: each statement is a transaction of its own."""
    name = f"database {settings.postgres.database}"
    try:
        with server_errors(name), connect(settings.postgres, autocommit=True) as conn:
            session.reset(conn)
            yield conn
    except SqlError as error:
        error.evidence = "\n".join(part for part in (error.evidence, PARTLY) if part)
        raise


@contextmanager
def in_place(settings: Settings, *, yes: bool) -> Iterator[psycopg.Connection[Any]]:
    """Open a transaction on a database that we may write to, with the ledger prepared in it."""
    try:
        with _transaction(settings) as conn:
            require_ours(ledger.read(conn), settings, yes=yes)
            ledger.prepare(conn, ledger.owner(settings))
            yield conn
    except SqlError as error:
        kept = error.kept or f"kept: database {settings.postgres.database} is unchanged"
        error.evidence = "\n".join(part for part in (error.evidence, kept) if part)
        raise


@contextmanager
def _transaction(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Open one transaction: committed at the end, rolled back on an error. The commit can fail too."""
    with server_errors(f"database {settings.postgres.database}"), connect(settings.postgres) as conn:
        session.reset(conn)
        yield conn


def plan_files(scripts: Sequence[Script]) -> list[str]:
    """Return what `apply` would do with these files, a line each."""
    together, last = _sorted_out(scripts)
    return [f"apply {_outside(script) if script.alone else script.file.name}" for script in (*together, *last)]


def apply(conn: psycopg.Connection[Any], scripts: Sequence[Script], say: Say, *, was_empty: bool = False) -> str:
    """Run files one after the other in the open transaction, record each in the ledger, and return a summary.

    For a migration that cannot run in a transaction it is committed, and another one begun; other such files come last.
    Each of their statements runs by itself. `was_empty`: nothing of the app was in the database before.
    """
    together, last = _sorted_out(scripts)
    done = []
    for script in together:
        if script.alone:
            conn.commit()
            conn.autocommit = True
            done += _apply_alone(conn, [script], say)
            conn.autocommit = False
        else:
            done.append(apply_one(conn, script, say, was_empty=was_empty))
    if last:
        conn.commit()
        conn.autocommit = True
        done += _apply_alone(conn, last, say)
    return summary(scripts, done)


def summary(scripts: Sequence[Script], done: Sequence[Outcome]) -> str:
    """Return which files ran, and what they did."""
    statements, rows = sum(outcome.statements for outcome in done), sum(outcome.rows for outcome in done)
    names = ", ".join(script.file.name for script in scripts[:3]) + (", …" if len(scripts) > 3 else "")
    return f"{names} ({counted(statements, 'statement')}, {counted(rows, 'row')})"


def _sorted_out(scripts: Sequence[Script]) -> tuple[list[Script], list[Script]]:
    """Return the files that run in their order, and those that cannot run in a transaction and come last.

    A migration that cannot stays in its place: those after it may need what it makes.
    """
    last = [script for script in scripts if script.alone and not script.blocks]
    return [script for script in scripts if script not in last], last


def _apply_alone(conn: psycopg.Connection[Any], scripts: Sequence[Script], say: Say) -> list[Outcome]:
    """Run files over a connection with autocommit, each of their statements by itself."""
    done = []
    for script in scripts:
        say(_outside(script))
        try:
            done.append(apply_one(conn, script, say, was_empty=False))
        except SqlError as error:
            error.kept = PARTLY
            raise
    return done


def _outside(script: Script) -> str:
    return f"{script.file.name}{'' if script.blocks else ' last'}, outside of the transaction: {script.alone}"


def apply_one(conn: psycopg.Connection[Any], script: Script, say: Say, *, was_empty: bool) -> Outcome:
    """Run a file and record it. A migration that the schema contains already (a dump says so) does not run."""
    if script.version and script.version in migrations.applied_in(conn):
        return Outcome()
    before = ledger.filled_tables(conn)
    outcome = run_script(conn, script, say, was_empty=was_empty)
    filled = ledger.filled_tables(conn)
    with conn.transaction():
        if script.version:
            migrations.add_version(conn, script.version)
        ledger.record(conn, script.entry, [table for table in filled if filled[table] > before.get(table, 0)])
    return outcome


def run_script(conn: psycopg.Connection[Any], script: Script, say: Say, *, was_empty: bool) -> Outcome:
    """Run a file in a clean session, and say what it warns of."""
    if script.people:
        session.provide_people(conn, script.people, PEOPLE)
    outcome = _run(conn, script, was_empty=was_empty)
    session.check_constraints(conn, script.file.name)
    for warning in outcome.warnings:
        say(warning)
    if not outcome.statements:
        say(f"{script.file.name}: it has no statements")
    session.reset(conn)
    return outcome


def _run(conn: psycopg.Connection[Any], script: Script, *, was_empty: bool) -> Outcome:
    try:
        return run_file(conn, script.file, by_psql=not script.blocks)
    except SqlError as error:
        if error.unknown_person:
            error.hint = nearest(script.people, error.unknown_person)
        elif script.blocks and error.sqlstate == NO_TRANSACTION:
            error.hint = "add transaction:false to its line `-- migrate:`: then each statement runs by itself"
        elif script.entry.step == "seed" and not was_empty:
            error.hint = _hint_for_seed(error)
        elif error.sqlstate in ALREADY_THERE and not error.hint and was_empty:
            error.hint = "the project's files create it twice: remove one of the two"
        elif error.sqlstate in ALREADY_THERE and not error.hint:
            error.hint = either(
                Command("db.setup", "--force", when="to build a new database beside this one"),
                Command("db.reset", when="to empty it first"),
            )
        raise


def _hint_for_seed(error: SqlError) -> str:
    """Return the way out where a seed meets what others have made of its tables."""
    if error.sqlstate == TWICE:
        return either(error.hint, Command("db.reset", when="to reset the contents to the seeds"))
    if error.sqlstate in OF_ANOTHER_SHAPE:
        rebuild = Command("db.setup", "--force", when="to build a new one, where something else has changed the table")
        return either(error.hint or "correct the line", rebuild)
    return error.hint
