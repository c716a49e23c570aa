"""Keeps what a run replaces or removes, each part just before that, and completes or discards the entry at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import engines
from ..dynamodb import schema
from ..dynamodb.client import connect as connect_dynamodb
from ..hints import inv
from ..postgres import databases
from .changed import mark
from .entries import Entries, connected, remove_folder
from .entry import Entry, KeptDatabase
from .save import save_tables, save_users

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

Say = Callable[[str], None]


@dataclass
class Held:
    """An entry that a run writes, and its folder."""

    entry: Entry
    folder: Path


class Keeper:
    """What one run keeps (settings/guard.py, Keeper). Safe to call from several threads.

    Where the same command was cut short before, its entry gets what it lacks too: it is the state before both.
    """

    def __init__(self, settings: Settings, command: str) -> None:
        self.settings = settings
        self.entries = Entries(settings)
        self._command = command
        self._lock = threading.RLock()
        self._own: Held | None = None
        self._half: Held | None = None
        self._has_database = False
        self.is_done = False

    @property
    def entry(self) -> Entry:
        """The entry so far, begun if necessary."""
        return self._begun().entry

    @property
    def folder(self) -> Path:
        return self._begun().folder

    def begin_undo(self, entry_id: str) -> None:
        """Note that this run brings back an entry, before anything changes."""
        self._write(self._begun(), undoes=entry_id)

    def begin_switch(self, branch: str, target_id: str) -> bool:
        """Note that this run parks all stores as the data of a branch and loads those of entry `target_id`.

        What the run kept before is an entry of its own. Goes on with what a killed switch from that branch has parked;
        returns whether there is such.
        """
        with self._lock:
            self.finish()
            mine = engines.choose(self.settings).engine
            for each in self.entries.all() if branch else []:
                if each.is_open and each.folder and (each.entry.branch, each.entry.engine) == (branch, mine):
                    with connected(self.settings) as conn:
                        self._own = Held(self.entries.settled(each.entry, conn), each.folder)
                    break
            is_resumed = self._own is not None
            self._write(self._begun(), branch=branch, undoes=target_id)
            return is_resumed

    def database(self, conn: psycopg.Connection[Any], *, copy: bool = False) -> str:
        """Return the name that the present database is to get, empty where one is kept; with `copy` a copy has it."""
        with self._lock:
            whose = next((each for each in self._held() if not each.entry.database), None)
            if whose is None or self._has_database:
                return ""
            self._has_database, name = True, self.settings.postgres.database
            kept = self.entries.kept_name(whose.entry.id) if databases.exists(conn, name) else ""
            size = databases.size_bytes(conn, name) if kept else 0
            self._write(whose, database=KeptDatabase(name, kept, size))
            if kept and copy:
                databases.clone(conn, self.settings.postgres, name, kept)
            return kept

    def tables(self, names: Iterable[str]) -> None:
        """Keep these tables, also that one is not there."""
        with self._lock:
            wanted, there = list(dict.fromkeys(names)), None
            for each in self._held():
                entry = each.entry
                known = {table.name for table in entry.tables} | {*entry.absent}
                lacks = [name for name in wanted if name not in known]
                if not lacks:
                    continue
                there = there or set(schema.fetch_names(connect_dynamodb(self.settings)))
                new = [name for name in lacks if name in there]
                saved = save_tables(self.settings, each.folder, new, first=len(entry.tables))
                absent = [name for name in lacks if name not in there]
                self._write(each, tables=(*entry.tables, *saved), absent=(*entry.absent, *absent))

    def pool(self) -> None:
        """Keep the state of the emulated pools."""
        with self._lock:
            for each in self._held() if self.settings.cognito_is_emulated else ():
                if not each.entry.cognito:
                    self._write(each, cognito=save_users(self.settings, each.folder))

    def done(self) -> None:
        """Note that what was kept is replaced as a whole: a failure after that does not leave it half done."""
        self.is_done = True

    def finish(self) -> list[str]:
        """Complete the entry, and remove those that are too many; return lines that say how to go back and what went.

        One that keeps nothing is removed, but for that of an undo. What killed commands left is settled. What the run
        keeps after that is another entry.
        """
        if not self.entries.has_open:
            return []
        with connected(self.settings) as conn:
            self.entries.settle(conn, self._own.entry.id if self._own else "")
            if self._own is None:
                return []
            done, entry = self._own, self.entries.settled(self._own.entry, conn)
            if not (entry.holds_something or entry.undoes or entry.is_parked):
                remove_folder(done.folder)
                if self._half is None:
                    return []
                done, entry = self._half, self._half.entry
            if not entry.is_parked:
                entry = replace(entry, marks=mark(self.settings, entry, conn))
            self.entries.write(done.folder, entry)
            self.entries.close(done.folder)
            for other in self.entries.all():
                if other.is_open and other.folder:
                    self.entries.close(other.folder)  # its command was cut short, and this one came after it
            self._own, self._half, self._has_database, self.is_done = None, None, False, False
            keep = self.settings.undo_keep
            pruned = self.entries.prune(conn, entry.engine, keep, self.settings.undo_bytes)
        if not keep or entry.is_parked:
            return pruned
        return [*pruned, f"{inv('undo')} brings back {', '.join(entry.contents)}"]

    def give_up(self) -> str:
        """Settle the entry of a run that failed; return how to go back, empty where nothing had changed."""
        if self._own is None:
            return ""
        with connected(self.settings) as conn:
            entry = self.entries.settled(self._own.entry, conn)
        if not entry.holds_something:
            remove_folder(self._own.folder)
            return ""
        self.entries.write(self._own.folder, entry)
        return f"{inv('undo')} brings back {', '.join(entry.contents)}"

    def discard(self) -> None:
        """Remove the entry: the run has brought everything back itself."""
        if self._own:
            remove_folder(self._own.folder)
            self._own = self._half = None

    def _begun(self) -> Held:
        with self._lock:
            if self._own is None:
                self._own = self._begin()
            return self._own

    def _begin(self) -> Held:
        if self.entries.has_open:
            with connected(self.settings) as conn:
                self.entries.settle(conn)
        half = [each for each in self.entries.all() if each.is_open and each.entry.command == self._command]
        first = next((each for each in half if not (each.entry.follows_half or each.entry.is_parked)), None)
        if first and first.folder:
            self._half = Held(first.entry, first.folder)
        made, folder = self.entries.new()
        entry = Entry(
            made,
            self._command,
            datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            engines.choose(self.settings).engine,
            self.settings.project_id,
            follows_half=bool(half),
        )
        return Held(entry, folder)

    def _held(self) -> list[Held]:
        """Return the entries to write to, that of the command that was cut short first."""
        own = self._begun()
        return [self._half, own] if self._half else [own]

    def _write(self, held: Held, **parts: Any) -> None:
        with self._lock:
            held.entry = replace(held.entry, **parts)
            self.entries.write(held.folder, held.entry)
