"""The storage of snapshots: one folder each in the state folder, and one clone each on the database server.

Names that begin with a dot are not snapshots: `.new-ID` is being written, `.old-ID` is being removed. A restore of an
earlier version that was cut short left `.before`, which becomes the snapshot `before-restore`.
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
from .manifest import Manifest, checked_name, read_manifest

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

MANIFEST = "manifest.json"
BEFORE = "before-restore"
"""What a restore of an earlier version saved of the stores that it replaced."""


@dataclass(frozen=True)
class Clone:
    """A clone on the server. `name` and `created` come from its comment, empty if it was not completed."""

    database: str
    id: str
    name: str
    created: str


class Shelf:
    """The snapshots of one project."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.state_dir / "snapshots"
        self._mark = _mark(settings.project_id[-6:])

    def names(self) -> list[str]:
        """List the names of the snapshots, sorted."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".") and (p / MANIFEST).exists())

    def read(self, name: str) -> Manifest:
        """Read the manifest of a snapshot. Raises UsageError if there is none of that name."""
        folder = self.place(name)
        if not is_there(folder / MANIFEST):
            raise UsageError(f"there is no snapshot {name!r}", hint=self._hint_for_missing(name))
        return _manifest_of(folder, f"snapshot {name}")

    def _hint_for_missing(self, name: str) -> str:
        if known := ", ".join(self.names()):
            return f"there are: {known}"
        return Command("snapshot.save", name, when="to make one")

    def place(self, name: str) -> Path:
        """Return the folder of a snapshot."""
        return self.folder / checked_name(name)

    def twin(self, name: str) -> str:
        """Return a snapshot whose name differs only in case: some file systems do not distinguish the two."""
        return next((other for other in self.names() if other != name and other.lower() == name.lower()), "")

    def new(self) -> tuple[str, Path]:
        """Create an id and an empty folder for a new snapshot."""
        made = secrets.token_hex(4)
        folder = self.folder / f".new-{made}"
        with disk_errors(self.folder):
            ownership.folder(self.settings, self.folder.name)
            private.make_folder(folder)
        return made, folder

    def complete(self, folder: Path, manifest: Manifest, target: Path) -> None:
        """Write the manifest, then move the snapshot to its place. The former snapshot there is removed."""
        with disk_errors(folder):
            private.write(folder / MANIFEST, manifest.as_json(), durably=True)
        former = self._put_aside(target)
        with disk_errors(self.folder):
            _move(folder, target)
        if former:
            self._remove(former)

    def remove(self, target: Path) -> None:
        """Remove a snapshot and its clone. If interrupted, the next `tidy` completes it."""
        former = self._put_aside(target)
        if former:
            self._remove(former)

    def discard(self, folder: Path) -> None:
        """Remove the folder of a temporary snapshot."""
        with suppress(OSError):
            _remove(folder)

    def clone_name(self, role: str) -> str:
        """Return the name of a clone for the snapshot with this id; `in` is that of a restore."""
        return databases.sibling_name(self.settings.postgres.database, f"{self._mark}_{role}")

    def mark(self, conn: psycopg.Connection[Any], manifest_id: str, name: str, created: str) -> None:
        """Write a clone's comment, and make the clone read-only."""
        text = json.dumps({"project": self.settings.project_id, "snapshot": name, "created": created})
        databases.seal(conn, self.clone_name(manifest_id), text)

    def adopt(self, conn: psycopg.Connection[Any], former: str) -> None:
        """Take over the clones of another project, whose folder was moved or copied here with its data."""
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
        """List this project's clones on the server, of any database, with or without a snapshot."""
        found = []
        for database, comment in self._databases(conn, "[0-9a-f]{8}").items():
            said = _said(comment)
            if said.get("project", self.settings.project_id) == self.settings.project_id:
                found.append(Clone(database, database[-8:], said.get("snapshot", ""), said.get("created", "")))
        return found

    def find_clone(self, conn: psycopg.Connection[Any], manifest_id: str) -> str:
        """Return the name of a snapshot's clone; empty if the server has none."""
        return self.all_clones(conn).get(manifest_id, "")

    def all_clones(self, conn: psycopg.Connection[Any]) -> dict[str, str]:
        """Return all clones on the server by their ids, of any project: a moved folder had another mark."""
        named = re.compile(rf".*__{_mark('[0-9a-f]{6}')}_([0-9a-f]{{8}})", re.DOTALL)
        matches = filter(None, (named.fullmatch(name) for name, _ in databases.names(conn)))
        return {found[1]: found[0] for found in matches}

    def tidy(self, conn: psycopg.Connection[Any]) -> list[str]:
        """Complete or remove what a killed command left unfinished, and return what was done.

        A complete clone whose folder was removed by hand stays: `orphans` lists it.
        """
        told = []
        for folder in sorted(self.folder.glob(".*-????????")) if self.folder.is_dir() else []:
            told.append(f"cleaned up after a killed command: {self._settle(folder)}")
        before = self.folder / ".before"
        if (before / MANIFEST).exists():
            former = self._put_aside(self.folder / BEFORE)
            _move(before, self.folder / BEFORE)
            if former:
                self._remove(former)
            told.append(f"a restore of an earlier version was cut short: what it replaced is snapshot {BEFORE}")
        (self.folder / "unfinished.json").unlink(missing_ok=True)
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
        """List the clones without a snapshot, except those that another command is creating or removing."""
        known = {manifest.id for manifest in self._all()} | self._ids(".new") | self._ids(".old")
        return [clone for clone in self.clones(conn) if clone.id not in known and clone.name]

    def pending(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones of snapshots that are being saved, or whose save was interrupted."""
        new = self._ids(".new")
        return [clone for clone in self.clones(conn) if clone.id in new and clone.name]

    def _databases(self, conn: psycopg.Connection[Any], role: str) -> dict[str, str]:
        """Return this project's databases of a role (a regular expression), each with its comment."""
        named = re.compile(rf".*__{self._mark}_({role})", re.DOTALL)
        return {name: comment for name, comment in databases.names(conn) if named.fullmatch(name)}

    def _ids(self, kind: str) -> set[str]:
        """Return the ids of the folders that are being written (`.new`) or removed (`.old`)."""
        return {folder.name.partition("-")[2] for folder in self.folder.glob(f"{kind}-*")}

    def _all(self) -> list[Manifest]:
        found = []
        for place in (self.folder / name for name in self.names()):
            with suppress(LocalEnvError):
                found.append(_manifest_of(place, place.name))
        return found

    def _settle(self, folder: Path) -> str:
        """Move a complete snapshot to its place, or remove an incomplete one."""
        kind, _, own = folder.name.partition("-")
        with suppress(OSError, LocalEnvError):
            name = _manifest_of(folder, folder.name).name
            if kind == ".new" and not (self.folder / name / MANIFEST).exists():
                _move(folder, self.folder / name)
                return f"snapshot {name} is complete"
        self._remove(folder)
        return f"removed {own}"

    def _put_aside(self, target: Path) -> Path | None:
        """Rename a snapshot to `.old-ID`, with a new id if it is damaged. The user's own files stay."""
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
        """Remove a renamed folder and its clone.

        The files first: on a full disk the server may need their space. The folder last: its name identifies the clone.
        """
        with disk_errors(self.folder):
            ownership.clear(folder, ownership.SNAPSHOT)
        with_room(self.settings, lambda: self._drop_clone(folder.name.partition("-")[2]))
        with disk_errors(self.folder):
            _remove(folder)

    def _drop_clone(self, own: str) -> None:
        if "postgres" not in self.settings.services:
            return
        with databases.maintenance(self.settings.postgres) as conn:
            for clone in self.clones(conn):
                if clone.id == own:
                    databases.drop(conn, clone.database)


def _move(source: Path, target: Path) -> None:
    """Rename a snapshot's folder, except for the user's own files in either folder.

    The manifest is moved first when removing and last when placing, so that an interrupted move leaves no snapshot.
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
    with suppress(OSError):  # it contains the user's own files
        source.rmdir()


def _remove(folder: Path) -> None:
    """Remove a snapshot's folder, except for foreign files."""
    if not ownership.clear(folder, ownership.SNAPSHOT):
        with suppress(FileNotFoundError):
            folder.rmdir()


def _manifest_of(folder: Path, shown: str) -> Manifest:
    """Read the manifest in a folder. Raises UsageError if it is missing or damaged."""
    return read_manifest(read_bytes(folder / MANIFEST, f"{shown}: {MANIFEST}"), shown)


def _mark(digest: str) -> str:
    """Return the common part of a project's clone names; a project's id ends with its digest."""
    return f"snap_{digest}"


def _said(comment: str) -> dict[str, str]:
    """Parse a clone's comment."""
    try:
        said = json.loads(comment)
        return {key: str(said[key]) for key in ("project", "snapshot", "created")}
    except (ValueError, KeyError, TypeError):
        return {}
