"""Restoring a snapshot: everything is checked and prepared first, then the stores change, Postgres last.

The present state is saved as the snapshot `before-restore`. A failure goes back to it; a kill leaves a note
(shelf.py), and running the same command again, or restoring `before-restore`, completes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cognito import emulated, seed
from ..dynamodb import copies, schema
from ..dynamodb.client import connect as connect_dynamodb
from ..dynamodb.copies import Files, Items
from ..engines.emulator_server.inside import renamed, users_of
from ..errors import LocalEnvError, UsageError
from ..hints import Command, either, inv
from ..machine.parallel import side_by_side
from ..machine.reading import json_of, read_bytes
from ..postgres import checksum, databases, guest, ledger, properties
from ..postgres.connection import DISK_FULL, connect, disk_full, server_errors
from ..postgres.properties import Properties
from ..postgres.runner import run_file
from ..postgres.sqlfile import SqlError, SqlFile, read_sql
from . import portable
from .foresight import about_before, about_database, about_pool, about_tables
from .manifest import BEFORE, POOL_FILE, POSTGRES_FILE, Database, Manifest, Table, table_files
from .note import GO_BACK
from .save import Say, take, tidied, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings
    from ..settings.addresses import PostgresAddress

FORBIDDEN = "42501"
NO_RIGHTS = f"the SQL of a file runs as a role without special rights: restore only what {inv('snapshot.save')} wrote"
POOL_BYTES, POOL_VALUES = 64 << 20, 5_000_000


@dataclass(frozen=True)
class Source:
    """A snapshot to restore: its manifest, and the folder with its parts."""

    manifest: Manifest
    folder: Path

    @property
    def name(self) -> str:
        return self.manifest.name


@dataclass(frozen=True)
class Incoming:
    """The database that will replace the present one; empty if the snapshot has none.

    `guest` is the address of one restored from a file, with its role, until it is handed over.
    """

    database: str
    guest: PostgresAddress | None = None


def restore(
    settings: Settings,
    name: str,
    say: Say,
    *,
    file: Path | None = None,
    prove: Callable[[Settings], None] = lambda settings: None,
) -> str:
    """Restore all stores to the snapshot's state, or leave all unchanged.

    `prove` is called when everything is in place, with the settings to verify it: data from a file is read with the
    guest's rights, before the database is handed over. It must not raise.
    Raises UsageError before anything is changed if the snapshot is damaged or does not fit here.
    """
    shelf, command = Shelf(settings), _command(name, file)
    was_done = shelf.is_done(command)
    tidy(settings, shelf, say)
    if was_done:
        prove(settings)
        return "every store was restored before this was cut short"
    with tidied(settings, shelf), _source(shelf, name, file) as source:
        _require_fit(settings, shelf, source)
        shown = f"snapshot {name}"
        side_by_side(
            [partial(portable.verify, source.folder, part, shown) for part in source.manifest.files()] or [int]
        )
        if file:
            _check_parts(source)
        earlier = shelf.unfinished()
        incoming = _prepare(settings, shelf, source, say, save_before=not earlier)
        going_back = source.folder == shelf.before
        if not going_back:  # otherwise the note of the unfinished restore remains valid
            shelf.begin(str(file.absolute()) if file else name, command)
        ended = _change(settings, shelf, source, incoming, say, prove, may_go_back=not earlier)
        _finish(shelf, command, went_back=going_back)
    if not incoming.guest:
        prove(settings)
    back = "" if going_back else f"; `{GO_BACK}` goes back"
    return f"{source.manifest.sentence}{back}{ended}"


def plan(settings: Settings, name: str, file: Path | None) -> list[str]:
    """Return what `restore` would replace, one thing per line. Changes nothing."""
    shelf = Shelf(settings)
    if shelf.is_done(_command(name, file)):
        return ["clean up after the same command, which was cut short: every store is restored"]
    manifest = _read(shelf, name, file)
    lines = about_database(settings)
    if manifest.postgres and file:
        lines.append(f"run the SQL in {file} as a role of its own, which owns the new database and has no other rights")
        lines.append(
            f"hand that database over to {settings.postgres.user}: its functions, triggers, views and indexes run with"
            " that user's rights from then on: continue only if you trust its source"
        )
    lines += about_tables(settings, manifest)
    lines += about_pool(settings, manifest)
    if not shelf.unfinished():
        lines += about_before(settings)
    return lines


def read(settings: Settings, name: str, file: Path | None) -> Manifest | None:
    """Read a snapshot's manifest. Raises UsageError if it is missing or has another name.

    None if the same command was interrupted at its very end: then its snapshot may be gone.
    """
    shelf = Shelf(settings)
    return None if shelf.is_done(_command(name, file)) else _read(shelf, name, file)


def _command(name: str, file: Path | None) -> str:
    """Return the command line of a restore, valid in any folder."""
    return shlex.join(["inv", "snapshot.restore", name, *(["--file", str(file.absolute())] if file else [])])


@contextmanager
def _source(shelf: Shelf, name: str, file: Path | None) -> Iterator[Source]:
    """Open a snapshot; a file's parts are unpacked for the duration."""
    if file is None:
        yield Source(shelf.read(name), shelf.place(name))
        return
    _read(shelf, name, file)
    _, folder = shelf.new()
    try:
        yield Source(portable.unpack(file, folder), folder)
    finally:
        shelf.discard(folder)


def _read(shelf: Shelf, name: str, file: Path | None) -> Manifest:
    if file is None:
        return shelf.read(name)
    manifest = portable.read(file)
    if manifest.name != name:
        raise UsageError(
            f"{file} holds snapshot {manifest.name!r}, not {name!r}",
            hint=Command.of(_command(manifest.name, file)),
        )
    return manifest


def _check_parts(source: Source) -> None:
    """Raise UsageError where a part of a file is invalid, before anything is changed."""
    for name, (table, files) in _tables(source).items():
        copies.check_files(name, files, Items(table.items, table.sha256))
    if source.manifest.cognito:
        shown = f"snapshot {source.name}: {POOL_FILE}"
        state = read_bytes(source.folder / POOL_FILE, shown, at_most=POOL_BYTES)
        json_of(state, shown, values=POOL_VALUES)
        try:
            users_of(state)
        except ValueError as error:
            raise UsageError(f"{shown}: {error}") from error


def _require_fit(settings: Settings, shelf: Shelf, source: Source) -> None:
    """Raise UsageError if the snapshot cannot be restored here."""
    manifest = source.manifest
    parts = {"postgres": manifest.postgres, "dynamodb": manifest.tables}
    for service in (service for service, part in parts.items() if part and service not in settings.services):
        raise UsageError(
            f"snapshot {source.name} holds {service}, and {settings.why_left_out(service)}",
            hint=f"let LOCALENV_SERVICES name {service}",
        )
    pool = manifest.cognito.pool if manifest.cognito and settings.cognito_is_emulated else ""
    if pool and not pool.startswith(f"{settings.region}_"):
        region = pool.rpartition("_")[0]
        raise UsageError(
            f"snapshot {source.name} has the pool {pool}, and the region here is {settings.region}",
            hint=f"set AWS_DEFAULT_REGION={region}",
        )
    if manifest.postgres is None or manifest.is_portable:
        return
    saved_of, here = manifest.postgres.name, settings.postgres.database
    if saved_of != here:
        raise UsageError(
            f"snapshot {source.name} was saved of database {saved_of}, and CONNECTION_URL names {here}",
            hint=f"set CONNECTION_URL's database to {saved_of}; from a file (--file) it can be restored as {here}",
        )
    with databases.maintenance(settings.postgres) as conn:
        if not shelf.find_clone(conn, manifest.id):
            raise _lost(settings, source)


def _lost(settings: Settings, source: Source) -> UsageError:
    """Return the error for a clone that this server lacks, with where it may be."""
    from .. import engines

    origin = source.manifest.origin
    here, there = engines.choose(settings).engine, origin.engine
    if here != there:
        return UsageError(
            f"snapshot {source.name} was saved under the engine {there}, and {here} runs now",
            hint="save it there for every engine: "
            + inv("snapshot.save", source.name, "--file", f"{source.name}.tar.gz"),
        )
    if origin.project != settings.project_id:
        return UsageError(
            f"snapshot {source.name} was saved by project {origin.project}, and this is {settings.project_id}:"
            " its clone is not on this server",
            hint="was the folder moved or copied here? move it back, restore it there and save it with --file",
        )
    return UsageError(
        f"snapshot {source.name}: its clone is not on the server at {settings.postgres}",
        hint=either(
            "correct CONNECTION_URL where its server is another one", Command("snapshot.delete", source.name, "--yes")
        ),
    )


def _prepare(settings: Settings, shelf: Shelf, source: Source, say: Say, *, save_before: bool) -> Incoming:
    """Create the new database beside the present one, and save the present state."""

    def before() -> None:
        if save_before:
            manifest_id, folder = shelf.new()
            shelf.complete(folder, take(settings, shelf, BEFORE, manifest_id, folder, say), shelf.before)

    def database() -> Incoming:
        wanted = source.manifest.postgres
        if wanted is None:
            return Incoming("")
        return (
            _from_sql(settings, shelf, source, wanted) if wanted.file else _clone(settings, shelf, source, wanted, say)
        )

    jobs: list[Callable[[], Any]] = [before, database]
    made: Incoming = side_by_side(jobs)[1]
    return made


def _clone(settings: Settings, shelf: Shelf, source: Source, wanted: Database, say: Say) -> Incoming:
    incoming, address = shelf.clone_name("in"), settings.postgres
    with databases.maintenance(address) as conn:
        databases.drop(conn, incoming)
        databases.clone(conn, address, shelf.find_clone(conn, source.manifest.id), incoming)
        _require_whole(source, wanted, replace(address, database=incoming))
        for line in properties.apply(conn, incoming, Properties.of(wanted.properties)):
            say(f"not taken over: {line}")
    if source.manifest.origin.project != settings.project_id:
        with server_errors(f"database {incoming}"), connect(address, database=incoming) as inside:
            ledger.prepare(inside, ledger.owner(settings))
    return Incoming(incoming)


def _from_sql(settings: Settings, shelf: Shelf, source: Source, wanted: Database) -> Incoming:
    """Run the untrusted SQL of a file as a guest; the result is read as the guest too."""
    file = replace(read_sql(source.folder / POSTGRES_FILE, source.folder), name=POSTGRES_FILE)
    guest.require_known_extensions(file)
    incoming, role = shelf.clone_name("in"), guest.role_name(settings.project_id)
    with databases.maintenance(settings.postgres) as conn:
        as_guest = guest.admit(conn, settings.postgres, role, incoming)
        _run_sql(source, file, as_guest)
        guest.bypass_row_security(conn, role)
    _require_whole(source, wanted, as_guest)
    with server_errors(f"{POSTGRES_FILE}: schema localenv"), connect(as_guest) as inside:
        is_ours = source.manifest.origin.project == settings.project_id
        ledger.rebuild(inside, ledger.owner(settings), is_ours=is_ours)
    return Incoming(incoming, as_guest)


def _require_whole(source: Source, wanted: Database, address: PostgresAddress) -> None:
    """Raise LocalEnvError if a database's rows differ from those saved."""
    with connect(address, autocommit=True) as inside:
        held = checksum.measure(inside)
    if (held.tables, held.rows, held.sha256) != (wanted.tables, wanted.rows, wanted.sha256):
        raise LocalEnvError(
            f"snapshot {source.name}: its database has {held.rows:,} rows in {held.tables} tables, which differ"
            f" from the {wanted.rows:,} in {wanted.tables} that were saved",
            hint="nothing was restored",
        )


def _run_sql(source: Source, file: SqlFile, address: PostgresAddress) -> None:
    """Run a file in an empty database, in one transaction."""
    saved_by = source.manifest.origin.servers.get("postgres", "another server")
    with server_errors(POSTGRES_FILE), connect(address) as conn:
        here = f"PostgreSQL {conn.info.parameter_status('server_version')}"
        try:
            run_file(conn, file)
        except SqlError as error:
            if error.sqlstate == DISK_FULL:
                raise disk_full(error.message) from error
            if error.sqlstate == FORBIDDEN or not error.sqlstate:
                error.hint = NO_RIGHTS
            error.hint = error.hint or f"it was saved by {saved_by}, and this is {here}"
            error.evidence = "\n".join(filter(None, [error.evidence, "nothing was restored"]))
            raise


def _hand_over(settings: Settings, source: Source, incoming: Incoming, say: Say) -> None:
    """Hand a guest's database over to the user of the settings, and apply its properties."""
    wanted = source.manifest.postgres
    if incoming.guest is None or wanted is None:
        return
    with connect(incoming.guest, autocommit=True) as conn:
        for line in properties.apply(conn, incoming.database, Properties.of(wanted.properties), roles=False):
            say(f"not taken over: {line}")
    with databases.maintenance(settings.postgres) as conn:
        guest.hand_over(conn, settings.postgres, incoming.guest.user, incoming.database)


def _change(
    settings: Settings,
    shelf: Shelf,
    source: Source,
    incoming: Incoming,
    say: Say,
    prove: Callable[[Settings], None],
    *,
    may_go_back: bool,
) -> str:
    """Put everything in its place. On a failure go back, if the earlier state is known to be complete."""
    before = Source(shelf.read_before(), shelf.before) if may_go_back else None
    try:
        _change_others(settings, source, before, say)
        if incoming.guest:
            prove(replace(settings, postgres=incoming.guest))
        _hand_over(settings, source, incoming, say)
        return databases.describe_ended(_swap(settings, shelf, incoming))
    except Exception as error:  # whatever it is, even a bug of ours: the stores must not stay partly restored
        outcome, hint = _go_back(settings, shelf, before)
        if isinstance(error, LocalEnvError):
            error.evidence = "\n".join(filter(None, [error.evidence, outcome]))
            error.hint = hint or error.hint
        raise


def _go_back(settings: Settings, shelf: Shelf, before: Source | None) -> tuple[str, str]:
    """Undo the changes of a failed restore. Return the outcome, and the hint if that failed too."""
    note = shelf.note()
    hint = note.hint if note else ""
    if before is None:
        return "", hint
    try:
        _change_others(settings, before, None, lambda line: None)
    except LocalEnvError as error:
        return f"going back failed too: {error.message}", hint
    shelf.forget()
    return "kept: every store is as it was before", ""


def _change_others(settings: Settings, source: Source, present: Source | None, say: Say) -> None:
    """Replace tables and pool, and compare them with the snapshot. `present` is the present state, if known."""
    jobs: list[Callable[[], Any]] = [
        partial(_replace_tables, settings, source, present),
        partial(_replace_users, settings, source, say),
    ]
    side_by_side(jobs)


def _replace_tables(settings: Settings, source: Source, present: Source | None) -> None:
    if "dynamodb" not in settings.services:
        return
    client = connect_dynamodb(settings)
    there = _tables(present) if present else {}
    wanted = _tables(source)
    surplus = [name for name in schema.fetch_names(client) if name not in wanted]
    jobs: list[Callable[[], None]] = [partial(copies.drop_table, client, name) for name in surplus]
    for name, (table, files) in wanted.items():
        held, now = Items(table.items, table.sha256), there.get(name)
        alike = now is not None and now[0].definition.sha256 == table.definition.sha256
        if alike and now and Items(now[0].items, now[0].sha256) == held:
            continue
        known = now[1] if alike and now else None
        jobs.append(partial(copies.replace_table, client, name, files, held, present=known))
    if jobs:
        side_by_side(jobs, at_once=4)


def _tables(source: Source) -> dict[str, tuple[Table, Files]]:
    """Return the tables of a snapshot by name, each with its files."""
    return {
        table.name: (table, Files(*(source.folder / name for name in table_files(number))))
        for number, table in enumerate(source.manifest.tables)
    }


def _replace_users(settings: Settings, source: Source, say: Say) -> None:
    if source.manifest.cognito is None or not settings.cognito_is_emulated:
        for line in about_pool(settings, source.manifest):
            say(line)
        return
    shown = f"snapshot {source.name}: {POOL_FILE}"
    state = read_bytes(source.folder / POOL_FILE, shown, at_most=POOL_BYTES)
    try:
        state = renamed(state, source.manifest.origin.project, settings.project_id)
        wanted = users_of(state)
    except ValueError as error:
        raise LocalEnvError(f"{shown}: {error}") from error
    emulator = emulated.door_to(settings)
    emulator.replace(state)
    if users_of(emulator.fetch()) != wanted:
        raise LocalEnvError(
            "the emulated pool has other users than were restored", hint="did something else write to it?"
        )
    if source.manifest.cognito.pool:
        seed.note_pool(settings, source.manifest.cognito.pool)


def _swap(settings: Settings, shelf: Shelf, incoming: Incoming) -> list[databases.Session]:
    """Replace the present database by the new one, in one transaction. Returns the sessions that were ended."""
    if "postgres" not in settings.services:
        return []
    name, gone = settings.postgres.database, shelf.clone_name("out")
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, gone)
        pairs = [(name, gone)] if databases.exists(conn, name) else []
        pairs += [(incoming.database, name)] if incoming.database else []
        return databases.rename(conn, settings.postgres, pairs) if pairs else []


def _finish(shelf: Shelf, command: str, *, went_back: bool) -> None:
    """Turn the earlier state into a normal snapshot; once restored, it is removed."""
    shelf.done(command, went_back=went_back)
    if "postgres" in shelf.settings.services:
        with databases.maintenance(shelf.settings.postgres) as conn:
            databases.drop(conn, shelf.clone_name("out"))
    shelf.end()
