"""Brings tables and pool back from files: those of a snapshot, or what a command had replaced. Compared afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..aws.emulatordoor import door_to, door_to_tables
from ..cognito import seed
from ..dynamodb import copies
from ..dynamodb.client import connect as connect_dynamodb
from ..dynamodb.copies import Files, Items
from ..engines.emulator_server.poolstate import renamed, users_of
from ..errors import LocalEnvError, UsageError
from ..machine.parallel import side_by_side
from ..machine.reading import json_of, read_bytes
from . import portable
from .manifest import POOL_FILE, File, Table, Users

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..settings import Settings
    from .entry import Entry
    from .manifest import Manifest

POOL_BYTES, POOL_VALUES = 64 << 20, 5_000_000


@dataclass(frozen=True)
class Stores:
    """Tables and pool in a folder, as `project` saved them. `absent` are tables that were not there."""

    shown: str
    folder: Path
    project: str
    tables: Sequence[Table]
    absent: Sequence[str]
    cognito: Users | None

    @classmethod
    def of_snapshot(cls, manifest: Manifest, folder: Path, there: Sequence[str]) -> Stores:
        """Return those of a snapshot, which does not have the other tables that are `there`."""
        kept = {table.name for table in manifest.tables}
        absent = [name for name in there if name not in kept]
        return cls(
            f"snapshot {manifest.name}", folder, manifest.origin.project, manifest.tables, absent, manifest.cognito
        )

    @classmethod
    def of_entry(cls, entry: Entry, folder: Path) -> Stores:
        return cls(f"undo {entry.id}", folder, entry.project, entry.tables, entry.absent, entry.cognito)

    def files(self) -> list[File]:
        found = [file for table in self.tables for file in (table.definition, table.content)]
        return found + ([self.cognito.file] if self.cognito else [])

    def verify(self) -> None:
        """Compare every file with its hash. Raises UsageError for one that differs."""
        jobs = [partial(portable.verify, self.folder, file, self.shown) for file in self.files()]
        if jobs:
            side_by_side(jobs)

    def files_of(self) -> dict[str, tuple[Table, Files]]:
        """Return the tables by name, each with its files."""
        return {
            table.name: (table, Files(self.folder / table.definition.name, self.folder / table.content.name))
            for table in self.tables
        }


def check(stores: Stores) -> None:
    """Raise UsageError where a part of files from elsewhere is invalid, before anything is changed."""
    for name, (table, files) in stores.files_of().items():
        copies.check_files(name, files, Items(table.items, table.sha256))
    if stores.cognito:
        shown = f"{stores.shown}: {POOL_FILE}"
        state = read_bytes(stores.folder / POOL_FILE, shown, at_most=POOL_BYTES)
        json_of(state, shown, values=POOL_VALUES)
        try:
            users_of(state)
        except ValueError as error:
            raise UsageError(f"{shown}: {error}") from error


def put_back(settings: Settings, stores: Stores, present: Stores | None) -> None:
    """Replace tables and pool, and compare them. `present` is the present state, if it is known."""
    jobs: list[Callable[[], Any]] = [
        partial(_replace_tables, settings, stores, present),
        partial(_replace_users, settings, stores),
    ]
    side_by_side(jobs)


def _replace_tables(settings: Settings, stores: Stores, present: Stores | None) -> None:
    wanted = stores.files_of()
    if "dynamodb" not in settings.services or not (wanted or stores.absent):
        return
    client, door = connect_dynamodb(settings), door_to_tables(settings)
    there = present.files_of() if present else {}
    jobs: list[Callable[[], None]] = [partial(copies.drop_table, client, name) for name in stores.absent]
    by_rows: dict[str, tuple[Files, Items]] = {}
    for name, (table, files) in wanted.items():
        held, now = Items(table.items, table.sha256), there.get(name)
        alike = now is not None and now[0].definition.sha256 == table.definition.sha256
        if alike and now and Items(now[0].items, now[0].sha256) == held:
            continue
        if files.are_rows:
            by_rows[name] = (files, held)
            jobs.append(partial(copies.make_empty, client, name, files))
            continue
        known = now[1] if alike and now and not (now[1].are_state or now[1].are_rows) else None
        jobs.append(partial(copies.replace_table, client, name, files, held, door=door, present=known))
    if jobs:
        side_by_side(jobs, at_once=4)
    _fill_tables(settings, client, by_rows)


def _fill_tables(settings: Settings, client: DynamoDBClient, by_rows: dict[str, tuple[Files, Items]]) -> None:
    """Write rows into the empty tables of DynamoDB Local; as items where it is another server now, or another form."""
    from .. import engines

    filled: set[str] = set()
    if by_rows and (found := engines.find_item_store(settings)):
        with found.changed() as store:
            filled = {name for name, (files, held) in by_rows.items() if copies.fill(store, name, files, held)}
    for name, (files, held) in by_rows.items():
        put = copies.complete if name in filled else copies.replace_table
        put(client, name, files, held)


def _replace_users(settings: Settings, stores: Stores) -> None:
    if stores.cognito is None or not settings.cognito_is_emulated:
        return
    shown = f"{stores.shown}: {POOL_FILE}"
    state = read_bytes(stores.folder / POOL_FILE, shown, at_most=POOL_BYTES)
    try:
        state = renamed(state, stores.project, settings.project_id)
        wanted = users_of(state)
    except ValueError as error:
        raise LocalEnvError(f"{shown}: {error}") from error
    emulator = door_to(settings)
    emulator.replace(state)
    if users_of(emulator.fetch()) != wanted:
        raise LocalEnvError(
            "the emulated pool has other users than were restored", hint="did something else write to it?"
        )
    if stores.cognito.pool:
        seed.note_pool(settings, stores.cognito.pool)
