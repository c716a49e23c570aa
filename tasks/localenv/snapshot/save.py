"""Saving a snapshot: the three stores in parallel into a folder and a clone, then the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import VERSION
from ..aws.emulatordoor import door_to, door_to_tables
from ..cognito.users import look_for_pool
from ..dynamodb import copies, rows, schema
from ..dynamodb.client import connect as connect_dynamodb
from ..dynamodb.copies import ROWS, STATE, Files
from ..engines.emulator_server.poolstate import users_of
from ..errors import LocalEnvError, UsageError
from ..hints import Command
from ..machine import private, shell
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..postgres import checksum, databases, dump, properties
from ..postgres.connection import connect
from . import portable
from .manifest import (
    ITEMS,
    POOL_FILE,
    POSTGRES_FILE,
    Database,
    File,
    Manifest,
    Origin,
    Table,
    Users,
    table_files,
)
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings

Say = Callable[[str], None]
NOTHING = Command("initial-setup", when="first")


def save(settings: Settings, name: str, say: Say) -> str:
    """Save the state of all stores under a name, replacing a snapshot of that name. Returns what was done."""
    shelf = Shelf(settings)
    tidy(settings, shelf, say)
    require_possible(settings)
    with tidied(settings, shelf):
        manifest_id, folder = shelf.new()
        manifest = take(settings, shelf, name, manifest_id, folder, say)
        shelf.complete(folder, manifest, shelf.folder / name)
    return f"snapshot {name}: {manifest.sentence}"


def save_file(settings: Settings, name: str, path: Path, say: Say) -> str:
    """Write the state of all stores to one file that every engine can restore. Ends no session."""
    portable.check_path(path)
    if "postgres" not in settings.services:
        raise UsageError(
            f"a file holds the database, and {settings.why_left_out('postgres')}", hint="save it without --file"
        )
    shelf = Shelf(settings)
    tidy(settings, shelf, say)
    require_possible(settings)
    manifest_id, folder = shelf.new()
    try:
        manifest = take(settings, shelf, name, manifest_id, folder, say, as_sql=True)
        portable.pack(folder, manifest, path)
    finally:
        shelf.discard(folder)
    return f"{path}: {manifest.sentence}"


def tidy(settings: Settings, shelf: Shelf, say: Say) -> None:
    """Clean up after a killed command."""
    if "postgres" not in settings.services:
        return
    with databases.maintenance(settings.postgres) as conn:
        for line in shelf.tidy(conn):
            say(line)


@contextmanager
def tidied(settings: Settings, shelf: Shelf) -> Iterator[None]:
    """Clean up after a failure; what cannot be removed now is removed by the next command."""
    try:
        yield
    except LocalEnvError:
        with suppress(LocalEnvError):  # report the first error
            tidy(settings, shelf, lambda line: None)
        raise


def take(
    settings: Settings, shelf: Shelf, name: str, manifest_id: str, folder: Path, say: Say, *, as_sql: bool = False
) -> Manifest:
    """Write every part into the folder, Postgres as a clone or as SQL. Returns the manifest, not written yet."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def postgres() -> Database | None:
        if "postgres" not in settings.services:
            return None
        if as_sql:
            return _dump(settings, folder)
        found = _clone(settings, shelf.clone_name(manifest_id), say)
        if found:
            with databases.maintenance(settings.postgres) as conn:
                shelf.mark(conn, manifest_id, name, created)
        return found

    jobs: list[Callable[[], Any]] = [
        postgres,
        partial(save_tables, settings, folder, portable=as_sql),
        partial(save_users, settings, folder),
    ]
    with disk_errors(folder):
        database, tables, users = side_by_side(jobs)
    return Manifest(name, manifest_id, created, _origin(settings), database, tuple(tables), users)


def is_there(settings: Settings) -> bool:
    """Return whether the database of the settings exists."""
    with databases.maintenance(settings.postgres) as conn:
        return databases.exists(conn, settings.postgres.database)


def describe(path: Path) -> File:
    """Return the name, size and hash of a snapshot's file."""
    return File(path.name, path.stat().st_size, copies.file_sha256(path))


def require_possible(settings: Settings) -> None:
    """Raise LocalEnvError where there is nothing to save, or a table could not be restored."""
    if "postgres" in settings.services and not is_there(settings):
        raise LocalEnvError(f"there is no database {settings.postgres.database}, so nothing to save", hint=NOTHING)
    if "dynamodb" in settings.services:
        copies.require_restorable(connect_dynamodb(settings))


def _clone(settings: Settings, copy: str, say: Say) -> Database | None:
    """Copy the database, and measure the copy, which nobody changes."""
    address = settings.postgres
    with databases.maintenance(address) as conn:
        if not databases.exists(conn, address.database):
            return None
        found = properties.fetch(conn, address.database)
        ended = databases.describe_ended(databases.clone(conn, address, address.database, copy))
        if ended:
            say(f"database {address.database} copied{ended}")
        size = databases.size_bytes(conn, copy)
    with connect(address, database=copy, autocommit=True) as conn:
        held = checksum.measure(conn)
    return Database(address.database, size, held.tables, held.rows, held.sha256, asdict(found), None)


def _dump(settings: Settings, folder: Path) -> Database:
    from ..engines.pg_dump import dump_command

    address, path = settings.postgres, folder / POSTGRES_FILE
    with databases.maintenance(address) as conn:
        found = properties.fetch(conn, address.database)
    held = dump.dump(dump_command(settings), address, path)
    file = describe(path)
    return Database(address.database, 0, held.tables, held.rows, held.sha256, asdict(found), file)


def save_tables(
    settings: Settings,
    folder: Path,
    names: Iterable[str] | None = None,
    *,
    first: int = 0,
    portable: bool = False,
) -> list[Table]:
    """Write tables to a folder, all or those named, with numbers for their files from `first` on.

    As the emulator's own state where it is ours, and a large one of DynamoDB Local as its rows, for this server alone;
    with `portable` as items.
    """
    from .. import engines

    if "dynamodb" not in settings.services:
        return []
    client, door = connect_dynamodb(settings), None if portable else door_to_tables(settings)
    wanted = list(schema.fetch_names(client) if names is None else names)
    large = (
        [] if portable or door else [name for name in wanted if schema.require_table(client, name).items >= rows.FROM]
    )
    found = engines.find_item_store(settings) if large else None

    def table(number: int, name: str, store: Path | None) -> Table:
        form = STATE if door else ROWS if store and name in large else ITEMS
        files = Files(*(folder / file for file in table_files(number, form)))
        items = copies.save_table(client, name, files, door=door, store=store)
        return Table(name, items.count, items.sha256, describe(files.definition), describe(files.content))

    with found.copied() if found else nullcontext() as store:
        jobs = [partial(table, number, name, store) for number, name in enumerate(wanted, first)]
        return side_by_side(jobs, at_once=4) if jobs else []


def save_users(settings: Settings, folder: Path) -> Users | None:
    """Write the state of the emulated Cognito to a file; a real pool is not saved, and an app may have none."""
    if not settings.cognito_is_emulated:
        return None
    state = door_to(settings).fetch()
    pool = look_for_pool(settings)
    path = folder / POOL_FILE
    private.write(path, state)
    own = [user for user in users_of(state) if pool and user[0] == pool.id]
    return Users(pool.id if pool else "", len(own), describe(path))


def _origin(settings: Settings) -> Origin:
    from .. import engines

    states = engines.look(settings)
    commit, dirty = _git(settings.root)
    return Origin(
        project=settings.project_id,
        engine=engines.choose(settings).engine,
        region=settings.region,
        servers={state.service: state.version for state in states},
        tool=VERSION,
        commit=commit,
        dirty=dirty,
    )


def _git(root: Path) -> tuple[str, bool]:
    """Return the commit that is checked out, and whether files differ from it; empty outside Git."""
    try:
        head = shell.run(["git", "-C", root, "rev-parse", "HEAD"], timeout_s=10)
        changes = shell.run(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"], timeout_s=10)
    except LocalEnvError:
        return "", False
    return (head.stdout.strip(), bool(changes.stdout.strip())) if head.code == 0 else ("", False)
