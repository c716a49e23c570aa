"""Restoring a snapshot: everything is checked and prepared first, then the stores change, Postgres last.

The present state is kept for `undo` (keeper.py). A failure goes back to it; after a kill the same command again
restores all, and `undo` goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dynamodb import schema
from ..dynamodb.client import connect as connect_dynamodb
from ..errors import LocalEnvError, UsageError
from ..hints import Command, either, inv
from ..machine.parallel import side_by_side
from ..machine.words import counted
from ..postgres import aside, checksum, databases, guest, ledger, properties
from ..postgres.connection import DISK_FULL, connect, disk_full, server_errors
from ..postgres.properties import Properties
from ..postgres.runner import run_file
from ..postgres.sqlfile import SqlError, SqlFile, read_sql
from ..settings.guard import keeper_of
from . import portable, putback
from .foresight import about_database, about_pool, about_tables, about_undo
from .goingback import going_back
from .manifest import FORMER_HASH, POSTGRES_FILE, Database, Manifest
from .putback import Stores, put_back
from .save import Say, tidied, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings
    from ..settings.addresses import PostgresAddress
    from ..settings.guard import Keeper

FORBIDDEN = "42501"
NO_RIGHTS = f"the SQL of a file runs as a role without special rights: restore only what {inv('snapshot.save')} wrote"


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
    shelf = Shelf(settings)
    tidy(settings, shelf, say)
    with tidied(settings, shelf), _source(shelf, name, file) as source:
        require_fit(settings, shelf, source)
        shown = f"snapshot {name}"
        side_by_side(
            [partial(portable.verify, source.folder, part, shown) for part in source.manifest.files()] or [int]
        )
        there = schema.fetch_names(connect_dynamodb(settings)) if "dynamodb" in settings.services else []
        stores = Stores.of_snapshot(source.manifest, source.folder, there)
        if file:
            putback.check(stores)
        keeper = keeper_of(settings)
        jobs: list[Callable[[], Any]] = [
            partial(_keep, settings, keeper, [*there, *(table.name for table in stores.tables)]),
            partial(_incoming, settings, shelf, source, say),
        ]
        incoming: Incoming = side_by_side(jobs)[1]
        ended = _change(settings, source, stores, incoming, keeper, say, prove)
    if not incoming.guest:
        prove(settings)
    return f"{source.manifest.sentence}{ended}"


def _keep(settings: Settings, keeper: Keeper | None, tables: Sequence[str]) -> None:
    if keeper is None:
        return
    if "dynamodb" in settings.services:
        keeper.tables(tables)
    keeper.pool()


def plan(settings: Settings, name: str, file: Path | None, *, fetched: Manifest | None = None) -> list[str]:
    """Return what `restore` would replace, one thing per line. Changes nothing.

    `fetched` is the manifest of what will be fetched as a file.
    """
    manifest = fetched or read(settings, name, file)
    lines, shown = about_database(settings), file or "that file"
    if manifest.postgres and (file or fetched):
        lines.append(
            f"run the SQL in {shown} as a role of its own, which owns the new database and has no other rights"
        )
        lines.append(
            f"hand that database over to {settings.postgres.user}: its functions, triggers, views and indexes run with"
            " that user's rights from then on: continue only if you trust its source"
        )
    return [*lines, *about_tables(settings, manifest), *about_pool(settings, manifest), *about_undo(settings)]


def read(settings: Settings, name: str, file: Path | None) -> Manifest:
    """Read a snapshot's manifest. Raises UsageError if it is missing or has another name."""
    return _read(Shelf(settings), name, file)


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
            hint=Command("snapshot.restore", manifest.name, "--file", str(file.absolute())),
        )
    return manifest


def require_fit(settings: Settings, shelf: Shelf, source: Source) -> None:
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
            + inv("snapshot.save", source.name, "--from-snapshot", "--file", f"{source.name}.tar.gz"),
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
            "correct CONNECTION_URL where its server is another one",
            Command("snapshot.delete", source.name, "--confirm", source.name),
        ),
    )


def _incoming(settings: Settings, shelf: Shelf, source: Source, say: Say) -> Incoming:
    """Create the new database beside the present one."""
    wanted = source.manifest.postgres
    if wanted is None:
        return Incoming("")
    return _from_sql(settings, shelf, source, wanted) if wanted.file else _clone(settings, shelf, source, wanted, say)


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
    is_alike = source.manifest.version == FORMER_HASH or held.sha256 == wanted.sha256
    if (held.tables, held.rows) != (wanted.tables, wanted.rows) or not is_alike:
        raise LocalEnvError(
            f"snapshot {source.name}: its database has {counted(held.rows, 'row')} in {held.tables} tables, which "
            f"differ from the {wanted.rows:,} in {wanted.tables} that were saved",
            hint="nothing was restored",
        )


def _run_sql(source: Source, file: SqlFile, address: PostgresAddress) -> None:
    """Run a file in an empty database, in one transaction."""
    saved_by = source.manifest.origin.servers.get("postgres", "another server")
    with server_errors(POSTGRES_FILE), connect(address) as conn:
        here = f"PostgreSQL {conn.info.parameter_status('server_version')}"
        try:
            run_file(conn, file, by_psql=False, check=guest.require_known_extension)
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
    source: Source,
    stores: Stores,
    incoming: Incoming,
    keeper: Keeper | None,
    say: Say,
    prove: Callable[[Settings], None],
) -> str:
    """Put everything in its place, the database last. On a failure go back. Returns whose sessions were ended."""
    with going_back(settings, keeper) as present:
        put_back(settings, stores, present)
        if not (source.manifest.cognito and settings.cognito_is_emulated):
            for line in about_pool(settings, source.manifest):
                say(line)
        if incoming.guest:
            prove(replace(settings, postgres=incoming.guest))
        _hand_over(settings, source, incoming, say)
        if "postgres" not in settings.services:
            return ""
        with databases.maintenance(settings.postgres) as conn:
            return databases.describe_ended(aside.replace_by(conn, settings, incoming.database))
