"""Where snapshots are kept: a folder each under the state folder, and a clone each on the database server.

Names that begin with a dot are not snapshots: `.new-ID` is being written, `.old-ID` is being removed, `.before` is
what a restore that is under way goes back to.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkout import ownership
from ..engines import with_room
from ..errors import LocalEnvError, UsageError
from ..hints import Command
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.reading import is_there, read_bytes
from ..postgres import databases, guest
from .manifest import BEFORE, Manifest, checked_name, read_manifest
from .note import Note, read_note, write_note, write_whole

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
"""Exists from just before the first change of a restore until all is tidied up (note.py)."""


@dataclass(frozen=True)
class Clone:
    """A clone on the server. `name` and `created` are what it says of itself, empty where it was not completed."""

    database: str
    id: str
    name: str
    created: str


class Shelf:
    """The snapshots of one project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.state_dir / "snapshots"
        self.before = self.folder / ".before"
        self._note = self.folder / UNFINISHED
        self._mark = _mark(settings.project_id[-6:])

    def names(self) -> list[str]:
        """List the snapshots, in the order of their names."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".") and (p / MANIFEST).exists())

    def read(self, name: str) -> Manifest:
        """Read the manifest of a snapshot. Raises UsageError where there is none of that name."""
        folder = self.place(name)
        if not is_there(folder / MANIFEST):
            raise UsageError(f"there is no snapshot {name!r}", hint=self._way_to(name))
        return _manifest_of(folder, f"snapshot {name}")

    def _way_to(self, name: str) -> str:
        if known := ", ".join(self.names()):
            return f"there are: {known}"
        return "a restore makes it" if name == BEFORE else Command("snapshot.save", name, when="to make one")

    def place(self, name: str) -> Path:
        """Give the folder of a snapshot. `before-restore` is that of a restore that was cut short, where one was."""
        if name == BEFORE and self.before.is_dir() and self.unfinished() not in ("", BEFORE):
            return self.before
        return self.folder / checked_name(name)

    def twin(self, name: str) -> str:
        """Name another snapshot that differs in upper and lower case alone: not every file system tells them apart."""
        return next((other for other in self.names() if other != name and other.lower() == name.lower()), "")

    def new(self) -> tuple[str, Path]:
        """Make an id and an empty folder for a snapshot that is yet to be written."""
        made = secrets.token_hex(4)
        folder = self.folder / f".new-{made}"
        with disk_errors(self.folder):
            ownership.folder(self.settings, self.folder.name)
            private.make_folder(folder)
        return made, folder

    def complete(self, folder: Path, manifest: Manifest, target: Path) -> None:
        """Write the manifest and put the snapshot in its place, in that order. What was there is removed."""
        write_whole(folder / MANIFEST, manifest.as_json())
        former = self._put_aside(target)
        with disk_errors(self.folder):
            _move(folder, target)
        if former:
            self._remove(former)

    def remove(self, target: Path) -> None:
        """Remove a snapshot and its clone. Cut short, the next `tidy` completes it."""
        former = self._put_aside(target)
        if former:
            self._remove(former)

    def discard(self, folder: Path) -> None:
        """Remove the folder of a snapshot that was only needed for a while."""
        with suppress(OSError):
            _remove(folder)

    def read_before(self) -> Manifest:
        """Read what a restore that is under way goes back to."""
        return _manifest_of(self.before, f"snapshot {BEFORE}")

    def require_free(self, name: str) -> None:
        """Raise LocalEnvError where a restore that was cut short needs this snapshot as it is."""
        found = self.note()
        if found and (name == found.source or (name == BEFORE and self.place(name) == self.before)):
            raise LocalEnvError(
                f"`{found.command}` was cut short, and {name} is needed to complete it",
                hint=Command.of(found.command, when="first"),
            )

    def clone_name(self, role: str) -> str:
        """Name a new clone for the snapshot with this id; `in` and `out` are those of a restore."""
        return databases.sibling_name(self.settings.postgres.database, f"{self._mark}_{role}")

    def mark(self, conn: psycopg.Connection[Any], manifest_id: str, name: str, created: str) -> None:
        """Have a clone say of itself what it is, and let nobody change it."""
        text = json.dumps({"project": self.settings.project_id, "snapshot": name, "created": created})
        databases.seal(conn, self.clone_name(manifest_id), text)

    def adopt(self, conn: psycopg.Connection[Any], former: str) -> None:
        """Make the clones of another project this one's: its folder was moved or copied here, data and all."""
        there = re.compile(rf"(.*__){_mark(former[-6:])}(_(?:[0-9a-f]{{8}}|in|out))", re.DOTALL)
        matches = filter(None, (there.fullmatch(name) for name, _ in databases.names(conn)))
        pairs = [(found[0], f"{found[1]}{self._mark}{found[2]}") for found in matches]
        if pairs:
            databases.rename(conn, self.settings.postgres, pairs)
        for name, comment in self._databases(conn, "[0-9a-f]{8}").items():
            said = _said(comment)
            if said.get("project") == former:
                databases.seal(conn, name, json.dumps({**said, "project": self.settings.project_id}))

    def clones(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones of this project on the server, of whichever database, with or without a snapshot to them."""
        found = []
        for database, comment in self._databases(conn, "[0-9a-f]{8}").items():
            said = _said(comment)
            if said.get("project", self.settings.project_id) == self.settings.project_id:
                found.append(Clone(database, database[-8:], said.get("snapshot", ""), said.get("created", "")))
        return found

    def find_clone(self, conn: psycopg.Connection[Any], manifest_id: str) -> str:
        """Name the database that is the clone of a snapshot, to be read; empty where the server has none."""
        return self.all_clones(conn).get(manifest_id, "")

    def all_clones(self, conn: psycopg.Connection[Any]) -> dict[str, str]:
        """Give the databases of all clones on the server by their ids: a folder that was moved has had another mark."""
        named = re.compile(rf".*__{_mark('[0-9a-f]{6}')}_([0-9a-f]{{8}})", re.DOTALL)
        matches = filter(None, (named.fullmatch(name) for name, _ in databases.names(conn)))
        return {found[1]: found[0] for found in matches}

    def tidy(self, conn: psycopg.Connection[Any]) -> list[str]:
        """Remove what a killed command left half written or half removed, and say what that was.

        A clone that is whole, and whose folder somebody removed, stays: `orphans` lists it.
        """
        told = []
        for folder in sorted(self.folder.glob(".*-????????")) if self.folder.is_dir() else []:
            told.append(f"put right what a killed command left: {self._settle(folder)}")
        found = read_note(self._note)
        if found and found.is_done:
            told.append(f"put right what a killed command left: `{found.command}` is complete")
            self.end()
        elif self.before.is_dir() and not found:
            self.remove(self.before)
        known = {manifest.id for manifest in self._all()}
        for database in self._databases(conn, "in|out"):
            databases.drop(conn, database)
        guest.remove(conn, guest.role_name(self.settings.project_id))
        for clone in self.clones(conn):
            if clone.id not in known and not clone.name:
                databases.drop(conn, clone.database)
                told.append(f"removed the clone {clone.database}, which a killed command left unfinished")
        return told

    def orphans(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones to which there is no snapshot any more, and that no other command is making or removing."""
        known = {manifest.id for manifest in self._all()} | self._ids(".new") | self._ids(".old")
        return [clone for clone in self.clones(conn) if clone.id not in known and clone.name]

    def pending(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones of snapshots that are being saved, or whose saving was cut short."""
        new = self._ids(".new")
        return [clone for clone in self.clones(conn) if clone.id in new and clone.name]

    def note(self) -> Note | None:
        """Read what a restore that changes the stores, or was cut short in that, has noted."""
        found = read_note(self._note)
        return None if found and found.is_done else found

    def begin(self, source: str, command: str) -> None:
        """Note that from now on `command` changes the stores."""
        write_note(self._note, Note(source, command))

    def done(self, command: str, *, went_back: bool) -> None:
        """Note that the restore has changed everything. What is left to do is safe to repeat: `end` does it."""
        write_note(self._note, Note(BEFORE if went_back else "", command, is_done=True, went_back=went_back))

    def is_done(self, command: str) -> bool:
        """Tell whether this very command was cut short when only tidying was left."""
        found = read_note(self._note)
        return bool(found and found.is_done and found.command == command)

    def end(self) -> None:
        """Make what was there before a restore the snapshot `before-restore`, or remove it once it is restored."""
        found = read_note(self._note)
        if found and found.went_back:
            self.remove(self.before)
        elif self.before.is_dir():
            former = self._put_aside(self.folder / BEFORE)
            with disk_errors(self.folder):
                _move(self.before, self.folder / BEFORE)
            if former:
                self._remove(former)
        self.forget()

    def forget(self) -> None:
        """Remove the note: the stores are as one wants them."""
        self._note.unlink(missing_ok=True)

    def unfinished(self) -> str:
        """Name what was being restored when a restore was cut short; empty when none was."""
        found = self.note()
        return found.source if found else ""

    def _databases(self, conn: psycopg.Connection[Any], role: str) -> dict[str, str]:
        """Give the databases of this project that play a role (a regular expression), each with its comment."""
        named = re.compile(rf".*__{self._mark}_({role})", re.DOTALL)
        return {name: comment for name, comment in databases.names(conn) if named.fullmatch(name)}

    def _ids(self, kind: str) -> set[str]:
        """Give the ids of the folders that are being written (`.new`) or removed (`.old`)."""
        return {folder.name.partition("-")[2] for folder in self.folder.glob(f"{kind}-*")}

    def _all(self) -> list[Manifest]:
        found = []
        places = [self.folder / name for name in self.names()] + ([self.before] if self.before.is_dir() else [])
        for place in places:
            with suppress(LocalEnvError):
                found.append(_manifest_of(place, place.name))
        return found

    def _settle(self, folder: Path) -> str:
        """Complete a snapshot that only lacks its place, remove any other."""
        kind, _, own = folder.name.partition("-")
        with suppress(OSError, LocalEnvError):
            name = _manifest_of(folder, folder.name).name
            if kind == ".new" and not (self.folder / name / MANIFEST).exists():
                _move(folder, self.folder / name)
                return f"snapshot {name} is complete"
        self._remove(folder)
        return f"removed {own}"

    def _put_aside(self, target: Path) -> Path | None:
        """Take a snapshot's name away; where it is damaged, a new id stands for it. Files of the user's stay there."""
        if not (target / MANIFEST).exists():
            return None
        try:
            own = _manifest_of(target, target.name).id
        except LocalEnvError:
            own = secrets.token_hex(4)
        aside = self.folder / f".old-{own}"
        with disk_errors(self.folder):
            if aside.exists():
                _remove(aside)
            _move(target, aside)
        return aside

    def _remove(self, folder: Path) -> None:
        """Remove a folder that was put aside, and its clone.

        The files first: on a full disk the server may need their room. The folder last: its name tells of the clone.
        """
        with disk_errors(self.folder):
            ownership.clear(folder, ownership.SNAPSHOT)
        with_room(self.settings, lambda: self._drop_clone(folder.name.partition("-")[2]))
        with disk_errors(self.folder):
            _remove(folder)

    def _drop_clone(self, own: str) -> None:
        with databases.maintenance(self.settings.postgres) as conn:
            for clone in self.clones(conn):
                if clone.id == own:
                    databases.drop(conn, clone.database)


def _move(source: Path, target: Path) -> None:
    """Give a snapshot's folder another name. Files of the user's are left behind, or found there already.

    The manifest goes first where the snapshot is taken away and comes last where it is put: what is cut short is none.
    """
    if not target.exists() and not ownership.has_strangers(source, ownership.SNAPSHOT):
        source.replace(target)
        return
    private.make_folder(target)
    names = [path.name for path in ownership.removable(source, ownership.SNAPSHOT) if path != source]
    names = names or sorted(path.name for path in source.iterdir())
    is_leaving = target.name.startswith(".old-")
    for name in sorted(names, key=lambda name: (name == MANIFEST) != is_leaving):
        (source / name).replace(target / name)
    with suppress(OSError):  # it has files of the user's
        source.rmdir()


def _remove(folder: Path) -> None:
    """Remove a snapshot's folder, but for what this tool did not write."""
    if not ownership.clear(folder, ownership.SNAPSHOT):
        with suppress(FileNotFoundError):
            folder.rmdir()


def _manifest_of(folder: Path, shown: str) -> Manifest:
    """Read the manifest in a folder. Raises UsageError where there is none, or it is damaged."""
    return read_manifest(read_bytes(folder / MANIFEST, f"{shown}: {MANIFEST}"), shown)


def _mark(digest: str) -> str:
    """Give what the names of a project's clones have in common; a project's id ends with its digest."""
    return f"snap_{digest}"


def _said(comment: str) -> dict[str, str]:
    """Read what a clone says of itself."""
    try:
        said = json.loads(comment)
        return {key: str(said[key]) for key in ("project", "snapshot", "created")}
    except (ValueError, KeyError, TypeError):
        return {}
