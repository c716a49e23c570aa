"""The storage of what `undo` brings back: a folder for each command in the state folder, and databases put aside.

A folder is called ID.open while its command runs, or when that was cut short, and ID once it is done.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkout import ownership
from ..errors import LocalEnvError, UsageError
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.reading import read_bytes
from ..postgres import databases
from ..postgres.databases import sibling_name
from .entry import Entry, KeptDatabase, read_entry

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

ENTRY = "entry.json"
OPEN = ".open"
EARLIER = "earlier"
"""The id of what db.undo of an earlier version would have brought back."""


@dataclass(frozen=True)
class Found:
    """An entry and its folder, None where only the database is left; `is_open`: its command was cut short, or runs."""

    entry: Entry
    folder: Path | None
    is_open: bool = False


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection[Any] | None]:
    """Connect to the server of the app's database; None where the app has none."""
    if "postgres" not in settings.services:
        yield None
        return
    with databases.maintenance(settings.postgres) as conn:
        yield conn


class Entries:
    """Those of one project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.state_dir / "undo"

    def new(self) -> tuple[str, Path]:
        """Create an id and its folder, open."""
        made = secrets.token_hex(4)
        folder = self.folder / f"{made}{OPEN}"
        with disk_errors(self.folder):
            ownership.folder(self.settings, self.folder.name)
            private.make_folder(folder)
        return made, folder

    def write(self, folder: Path, entry: Entry) -> None:
        with disk_errors(folder):
            private.write(folder / ENTRY, entry.as_json(), durably=True)

    def close(self, folder: Path) -> None:
        """Note that a command is done."""
        with disk_errors(self.folder):
            folder.replace(folder.with_suffix(""))

    @property
    def has_open(self) -> bool:
        """Return whether a command keeps something now, or was cut short."""
        return any(self.folder.glob(f"*{OPEN}"))

    def all(self) -> list[Found]:
        """Return the entries of every engine, newest first. A folder without a readable entry is none."""
        found = []
        for folder in self._folders():
            with suppress(LocalEnvError, OSError):
                entry = read_entry(read_bytes(folder / ENTRY, f"undo {folder.stem}: {ENTRY}"), f"undo {folder.stem}")
                found.append(Found(entry, folder, is_open=folder.suffix == OPEN))
        return sorted(found, key=lambda each: (each.entry.created, each.entry.id), reverse=True)

    def _folders(self) -> list[Path]:
        named = [*self.folder.glob("????????"), *self.folder.glob(f"????????{OPEN}")]
        return [folder for folder in named if folder.is_dir() and not folder.is_symlink()]

    def with_databases(self, conn: psycopg.Connection[Any]) -> list[Found]:
        """Return all entries, and databases put aside that none of them names: those of an earlier version, or left."""
        found = self.all()
        known = {each.entry.database.kept for each in found if each.entry.database}
        own = self.settings.postgres.database
        marked = re.compile(rf"{re.escape(sibling_name(own, self._role('')))}([0-9a-f]{{8}})")
        for name, _ in databases.names(conn):
            match = marked.fullmatch(name)
            if name not in known and (match or name == sibling_name(own, "undo")):
                entry = Entry(match[1] if match else EARLIER, "", "", "", self.settings.project_id)
                size = databases.size_bytes(conn, name)
                found.append(Found(replace(entry, database=KeptDatabase(own, name, size)), None))
        return found

    def kept_name(self, entry_id: str) -> str:
        """Return the name of the database that an entry puts aside."""
        return sibling_name(self.settings.postgres.database, self._role(entry_id))

    def _role(self, entry_id: str) -> str:
        return f"undo_{self.settings.project_id[-6:]}_{entry_id}"

    def remove(self, found: Found, conn: psycopg.Connection[Any] | None) -> None:
        """Remove an entry. A database that is left when this is cut short is listed as one of no command."""
        if found.folder:
            remove_folder(found.folder)
        kept = found.entry.database
        if kept and kept.kept and conn is not None:
            databases.drop(conn, kept.kept)

    def settle(self, conn: psycopg.Connection[Any] | None, own: str = "") -> None:
        """Clean up after killed commands: what never came to keep anything, and an undo that was done but for its end.

        Nothing else may run; `own` is the id of this run's entry.
        """
        for folder in self._folders():
            if not (folder / ENTRY).exists() and folder.stem != own:
                remove_folder(folder)
        found = {each.entry.id: each for each in self.all()}
        for each in list(found.values()):
            if not each.is_open or not each.folder or each.entry.id == own:
                continue
            settled = self.settled(each.entry, conn)
            if settled.is_empty:
                remove_folder(each.folder)
                continue
            if settled != each.entry:
                self.write(each.folder, settled)
            if each.entry.undoes and self._is_undone(found.get(each.entry.undoes), conn):
                if target := found.get(each.entry.undoes):
                    self.remove(target, None)
                self.close(each.folder)

    def settled(self, entry: Entry, conn: psycopg.Connection[Any] | None) -> Entry:
        """Return an entry without a database that was not put aside in the end."""
        kept = entry.database
        if conn is None or not kept or not kept.kept or databases.exists(conn, kept.kept):
            return entry
        return replace(entry, database=None)

    @staticmethod
    def _is_undone(target: Found | None, conn: psycopg.Connection[Any] | None) -> bool:
        """Return whether an undo brought back its entry: the database comes last, then the folder goes."""
        if target is None:
            return True
        kept = target.entry.database
        return bool(conn is not None and kept and kept.kept and not databases.exists(conn, kept.kept))

    def prune(self, conn: psycopg.Connection[Any] | None, engine: str, keep: int, at_most_bytes: int) -> list[str]:
        """Remove the oldest entries of an engine: those beyond `keep`, and those beyond a size but for the newest.

        Data of branches stay. Returns what was removed, an entry each.
        """
        removed, size = [], 0
        entries = self.all() if conn is None else self.with_databases(conn)
        mine = [each for each in entries if each.entry.engine in (engine, "") and not each.entry.is_parked]
        closed = [each for each in mine if not each.is_open]
        for number, each in enumerate(closed):
            size += each.entry.size_bytes
            if number >= keep:
                why = f"only {keep} are kept"
            elif number and size > at_most_bytes:
                why = f"all together have more than {at_most_bytes / 1e9:g} GB"
            else:
                continue
            self.remove(each, conn)
            removed.append(f"{each.entry.shown} cannot be undone any more: {why}")
        return removed


def require(entries: Sequence[Found], entry_id: str, parked_last: str = "") -> Found:
    """Return the entry of this id; without one the newest whose state is a whole one. Raises LocalEnvError for none.

    Of the data of branches only those count that the last switch parked, or one that was cut short: `parked_last`.
    """
    if entry_id:
        for each in entries:
            if each.entry.id == entry_id:
                return each
        raise UsageError(
            f"there is no {entry_id!r} to undo",
            hint=f"there are: {', '.join(each.entry.id for each in entries)}" if entries else "",
        )
    whole = (each for each in entries if not each.entry.follows_half)
    newest = next(
        (each for each in whole if not each.entry.is_parked or each.is_open or each.entry.id == parked_last), None
    )
    if newest is None:
        raise LocalEnvError("there is nothing to undo", hint="no command has replaced or removed anything since")
    if (
        newest.is_open and newest.entry.undoes and not newest.entry.is_parked
    ):  # an undo that was cut short: on to its end
        return next((each for each in entries if each.entry.id == newest.entry.undoes), newest)
    return newest


def remove_folder(folder: Path) -> None:
    """Remove an entry's folder, its note first: a folder without one is none."""
    with disk_errors(folder.parent):
        (folder / ENTRY).unlink(missing_ok=True)
        if not ownership.clear(folder, ownership.UNDO):
            folder.rmdir()
