"""Writes a snapshot to one file, for another machine, engine or worktree. It stays as it is, and so do the stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..dynamodb import copies
from ..dynamodb.copies import Files
from ..dynamodb.transfer.itemfile import raw_lines, write_lines
from ..engines.emulator_server.tablestate import items_of
from ..engines.pg_dump import dump_command
from ..errors import LocalEnvError, UsageError
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..machine.words import counted
from ..postgres import databases, dump
from . import portable
from .manifest import POSTGRES_FILE, VERSION, Database, Table, table_files
from .restore import Source, require_fit
from .save import Say, describe, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings


def export(settings: Settings, name: str, path: Path, say: Say) -> str:
    """Write the snapshot of this name to a file; return a sentence. Raises UsageError for one that is not whole."""
    portable.check_path(path)
    shelf = Shelf(settings)
    tidy(settings, shelf, say)
    source = Source(shelf.read(name), shelf.place(name))
    manifest = source.manifest
    if manifest.postgres is None:
        raise UsageError(f"snapshot {name} has no database, and a file holds one", hint="save it without --file")
    require_fit(settings, shelf, source)
    checks = [partial(portable.verify, source.folder, file, f"snapshot {name}") for file in manifest.files()]
    side_by_side(checks or [int])
    _, folder = shelf.new()
    try:
        with disk_errors(folder):
            tables = [_table(source, number, table, folder) for number, table in enumerate(manifest.tables)]
            if manifest.cognito:
                shutil.copyfile(source.folder / manifest.cognito.file.name, folder / manifest.cognito.file.name)
            database = _database(settings, shelf, manifest.id, manifest.postgres, folder)
        whole = replace(manifest, postgres=database, tables=tuple(tables), version=VERSION)
        portable.pack(folder, whole, path)
    finally:
        shelf.discard(folder)
    return f"{path}: {whole.sentence}"


def _table(source: Source, number: int, table: Table, folder: Path) -> Table:
    """Write a table to its two files, the emulator's own state as items."""
    files = Files(*(folder / file for file in table_files(number)))
    content = source.folder / table.content.name
    shutil.copyfile(source.folder / table.definition.name, files.definition)
    if not Files(files.definition, content).are_state:
        shutil.copyfile(content, files.content)
    else:
        try:
            write_lines(files.content, items_of(content.read_bytes()))
        except ValueError as error:
            raise LocalEnvError(f"snapshot {source.name}: {content.name}: {error}") from error
    held = copies.digest(raw_lines(files.content, files.content.name))
    if held.count != table.items:
        raise LocalEnvError(f"table {table.name}: wanted {counted(table.items, 'item')}, found {held.count:,}")
    return Table(table.name, held.count, held.sha256, describe(files.definition), describe(files.content))


def _database(settings: Settings, shelf: Shelf, manifest_id: str, wanted: Database, folder: Path) -> Database:
    path = folder / POSTGRES_FILE
    with _opened_copy(settings, shelf, manifest_id) as there:
        held = dump.dump(dump_command(there), there.postgres, path)
    return Database(wanted.name, 0, held.tables, held.rows, held.sha256, wanted.properties, describe(path))


@contextmanager
def _opened_copy(settings: Settings, shelf: Shelf, manifest_id: str) -> Iterator[Settings]:
    """Yield the settings for a copy of a snapshot's clone, which itself admits nobody."""
    copy = shelf.clone_name("out")
    with databases.maintenance(settings.postgres) as conn:
        databases.drop(conn, copy)
        databases.clone(conn, settings.postgres, shelf.find_clone(conn, manifest_id), copy)
        try:
            yield replace(settings, postgres=replace(settings.postgres, database=copy))
        finally:
            databases.drop(conn, copy)
