"""The shape of an existing database, changed in place with its data: migrations, the way back, and accepted edits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, UsageError
from ..hints import Command
from ..machine import wholefile
from . import ledger, load, migrations
from .decision import reason_to_skip_migrations, require_one_way, require_ours, shape_differences
from .ledger import Observed
from .load import Say
from .runner import Outcome
from .scripts import Script, of_step, read_migrations, read_schema
from .sqlfile import SqlError

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

NAME_CHARS = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{NAME_CHARS - 1}}}")


def read_shape(settings: Settings, path: str = "") -> list[Script]:
    """Read what the shape is made from: the schema, or the one file given instead, and the migrations."""
    return [*read_schema(settings, path), *read_migrations(settings)]


def check_migrated(settings: Settings, *, typed: bool) -> str | None:
    """Return why `migrate` has nothing to do, or None."""
    return reason_to_skip_migrations(read_shape(settings), ledger.observe(settings.postgres), typed=typed)


def plan_migrate(settings: Settings, *, yes: bool) -> list[str]:
    """Return what `migrate` would do, a line each. Raises as it does."""
    scripts, observed = read_shape(settings), ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    require_one_way(scripts, observed)
    late = _out_of_order(scripts, observed)
    note = " (out of order: one after it is applied)"
    return [f"apply {s.file.name}{note if s in late else ''}" for s in observed.pending(scripts)]


def migrate(settings: Settings, say: Say, *, yes: bool = False) -> str:
    """Run the pending migrations in the order of their names, each in a transaction of its own.

    Those before one that fails stay applied. Raises SqlError with the place.
    """
    scripts = read_shape(settings)
    with load.in_place(settings, yes=yes) as conn:
        observed = ledger.read(conn)
        require_one_way(scripts, observed)
    for script in _out_of_order(scripts, observed):
        say(f"{script.file.name} is out of order: one after it is applied, and a new database gets them the other way")
    if not observed.pending(scripts):
        return "none pending"
    done: list[tuple[Script, Outcome]] = []
    for script in observed.pending(scripts):
        try:
            done.append((script, _apply(settings, script, say)))
        except SqlError as error:
            before = ", ".join(each.file.name for each, _ in done)
            error.evidence += f"\nkept: applied before it: {before}" if before else ""
            raise
    return f"applied {load.summary([script for script, _ in done], [outcome for _, outcome in done])}"


def _apply(settings: Settings, script: Script, say: Say) -> Outcome:
    if script.blocks and script.blocks.up_outside:
        say(f"{script.file.name}: each statement by itself (transaction:false)")
        with load.statement_by_statement(settings) as conn:
            return load.apply_one(conn, script, say, was_empty=False)
    with load.in_place(settings, yes=True) as conn, _nothing_of_it(script):
        return load.apply_one(conn, script, say, was_empty=False)


@contextmanager
def _nothing_of_it(script: Script) -> Iterator[None]:
    try:
        yield
    except SqlError as error:
        error.kept = f"kept: nothing of {script.file.name} is in the database"
        raise


def _out_of_order(scripts: Sequence[Script], observed: Observed) -> list[Script]:
    """Return the pending migrations whose name comes before that of one that is applied."""
    pending = observed.pending(scripts)
    last = max((s.file.name for s in of_step(scripts, "migration") if s not in pending), default="")
    return [script for script in pending if script.file.name < last]


def plan_rollback(settings: Settings) -> list[str]:
    """Return what `rollback` would do. Raises as it does."""
    return [f"undo {_newest(settings, ledger.observe(settings.postgres))[0].file.name}"]


def rollback(settings: Settings, say: Say, *, yes: bool = False) -> str:
    """Undo the newest of the applied migrations by its down block, in one transaction unless that says otherwise.

    Raises LocalEnvError where there is none, or nothing that undoes it; SqlError with the place.
    """
    with load.in_place(settings, yes=yes) as conn:
        script, down, is_outside = _newest(settings, ledger.read(conn))
        if not is_outside:
            with _nothing_of_it(down):
                _undo(conn, down, say)
    if is_outside:
        with load.statement_by_statement(settings) as conn:
            _undo(conn, down, say)
    return f"undid {script.file.name}"


def _undo(conn: psycopg.Connection[Any], down: Script, say: Say) -> None:
    load.run_script(conn, down, say, was_empty=False)
    with conn.transaction():
        migrations.remove_version(conn, down.version)
        ledger.forget(conn, down.entry)


def _newest(settings: Settings, observed: Observed) -> tuple[Script, Script, bool]:
    """Return the newest migration that is applied, the script that undoes it, and whether this runs by statements."""
    applied = [script for script in read_migrations(settings) if script.version in observed.versions]
    if not applied:
        raise LocalEnvError(
            "no migration is applied, so there is nothing to undo",
            hint=Command("db.migrate", "--plan", when="to see what is pending"),
        )
    newest = applied[-1]
    later = [each for each in observed.versions if each.isdecimal() and int(each) > int(newest.version)]
    if later:
        raise LocalEnvError(
            f"version {later[-1]} is applied after {newest.file.name}, and has no file in {migrations.FOLDER}",
            hint="bring its file back: what undoes it is in there",
        )
    blocks = newest.blocks
    if blocks is None or blocks.down is None:
        raise LocalEnvError(
            f"{newest.file.name} has no down block", hint="write what undoes it below a line `-- migrate:down`"
        )
    return newest, replace(newest, file=blocks.down), blocks.down_outside


def check_accepted(settings: Settings, path: str) -> str | None:
    """Return why `accept` has nothing to do, or None."""
    scripts, observed = read_shape(settings, path), ledger.observe(settings.postgres)
    if not observed.exists:
        return None
    return None if shape_differences(scripts, observed) else "recorded as it is"


def plan_accept(settings: Settings, path: str, *, yes: bool) -> list[str]:
    """Return what `accept` would do, a line each. Raises as it does."""
    observed = ledger.observe(settings.postgres)
    require_ours(observed, settings, yes=yes)
    return [f"record {script.file.name} as applied" for script in _acceptable(settings, path, observed)]


def accept(settings: Settings, path: str, *, yes: bool = False) -> str:
    """Record the schema, and the migrations that are applied, as applied as the files are now. Runs nothing of them."""
    with load.in_place(settings, yes=yes) as conn:
        observed = ledger.read(conn)
        scripts = _acceptable(settings, path, observed)
        for row in observed.applied:
            if row.step != "seed":
                ledger.forget(conn, row)
        for script in scripts:
            ledger.record(conn, script.entry)
    return f"{', '.join(script.file.name for script in scripts)} recorded as applied; nothing was run"


def _acceptable(settings: Settings, path: str, observed: Observed) -> list[Script]:
    if observed.is_empty:
        raise LocalEnvError(
            f"database {settings.postgres.database} is empty: there is nothing to accept", hint=Command("db.setup")
        )
    return [s for s in read_shape(settings, path) if not s.blocks or s.version in observed.versions]


def new_file(root: Path, name: str) -> Path:
    """Return the path of a migration to write, with the time in UTC as its version.

    Raises UsageError for a name that is none.
    """
    if not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:NAME_CHARS]
        hint = f"write {better}" if better else "write what it does, such as add_bio_to_users"
        raise UsageError(f"{name!r} is no name for a migration: letters, digits, _ and - only", hint=hint)
    taken = {migrations.version_of(path.name) for path in migrations.find_files(root)}
    now = datetime.now(timezone.utc)
    versions = ((now + timedelta(seconds=more)).strftime("%Y%m%d%H%M%S") for more in range(len(taken) + 1))
    return migrations.FOLDER / f"{next(one for one in versions if one not in taken)}_{name}.sql"


def write_new(root: Path, path: Path) -> None:
    """Write an empty migration. Raises as `wholefile.write_new` does."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    wholefile.write_new(root / path, migrations.TEMPLATE)
