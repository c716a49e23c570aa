"""Where snapshots are kept: a folder each under the state folder, and a clone each on the database server.

Names that begin with a dot are not snapshots: `.new-ID` is being written, `.old-ID` is being removed, `.before` is
what a restore that is under way goes back to.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..disk import disk_errors
from ..errors import LocalEnvError, UsageError
from ..postgres import databases
from .manifest import BEFORE, Manifest, checked_name, read_manifest

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
"""Exists from just before the first change of a restore to just after the last; settings.py reads its `sentence`."""


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
        self._mark = f"snap_{settings.project_id[-6:]}"

    def names(self) -> list[str]:
        """List the snapshots, in the order of their names."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if not p.name.startswith(".") and (p / MANIFEST).exists())

    def read(self, name: str) -> Manifest:
        """Read the manifest of a snapshot. Raises UsageError where there is none of that name."""
        folder = self.place(name)
        try:
            text = (folder / MANIFEST).read_bytes()
        except OSError as error:
            known = ", ".join(self.names())
            raise UsageError(
                f"there is no snapshot {name!r}",
                hint=f"there are: {known}" if known else f"make one with `inv snapshot.save {name}`",
            ) from error
        return read_manifest(text, f"snapshot {name}")

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
            self.folder.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        return made, folder

    def complete(self, folder: Path, manifest: Manifest, target: Path) -> None:
        """Write the manifest and put the snapshot in its place, in that order. What was there is removed."""
        write_whole(folder / MANIFEST, manifest.as_json())
        former = self._put_aside(target)
        folder.replace(target)
        if former:
            self._remove(former)

    def remove(self, target: Path) -> None:
        """Remove a snapshot and its clone. Cut short, the next `tidy` completes it."""
        former = self._put_aside(target)
        if former:
            self._remove(former)

    def discard(self, folder: Path) -> None:
        """Remove the folder of a snapshot that was only needed for a while."""
        shutil.rmtree(folder, ignore_errors=True)

    def read_before(self) -> Manifest:
        """Read what a restore that is under way goes back to."""
        return read_manifest((self.before / MANIFEST).read_bytes(), f"snapshot {BEFORE}")

    def promote_before(self) -> None:
        """Make what a restore goes back to the snapshot `before-restore`, in place of an earlier one."""
        if self.before.is_dir():  # a run that was killed after this had done it
            former = self._put_aside(self.folder / BEFORE)
            self.before.replace(self.folder / BEFORE)
            if former:
                self._remove(former)

    def clone_name(self, role: str) -> str:
        """Name the clone of the snapshot with this id on the server; `in` and `out` are those of a restore."""
        return databases.beside(self.settings.postgres.database, f"{self._mark}_{role}")

    def mark(self, conn: psycopg.Connection[Any], manifest_id: str, name: str, created: str) -> None:
        """Have a clone say of itself what it is, and let nobody change it."""
        text = json.dumps({"project": self.settings.project_id, "snapshot": name, "created": created})
        databases.seal(conn, self.clone_name(manifest_id), text)

    def clones(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones of this project on the server, whether or not there is a snapshot to them."""
        found = []
        for database, comment in databases.names(conn):
            matched = re.fullmatch(rf".*__{self._mark}_([0-9a-f]{{8}})", database)
            said = _said(comment)
            if matched and said.get("project", self.settings.project_id) == self.settings.project_id:
                found.append(Clone(database, matched[1], said.get("snapshot", ""), said.get("created", "")))
        return found

    def tidy(self, conn: psycopg.Connection[Any]) -> list[str]:
        """Remove what a killed command left half written or half removed, and say what that was.

        A clone that is whole, and whose folder somebody removed, stays: `orphans` lists it.
        """
        told = []
        for folder in sorted(self.folder.glob(".*-????????")) if self.folder.is_dir() else []:
            told.append(f"put right what a killed command left: {self._settle(folder)}")
        if self.before.is_dir() and not self.unfinished():
            self.remove(self.before)
        known = {manifest.id for manifest in self._all()}
        for role in ("in", "out"):
            databases.drop(conn, self.clone_name(role))
        for clone in self.clones(conn):
            if clone.id not in known and not clone.name:
                databases.drop(conn, clone.database)
                told.append(f"removed the clone {clone.database}, which a killed command left unfinished")
        return told

    def orphans(self, conn: psycopg.Connection[Any]) -> list[Clone]:
        """List the clones to which there is no snapshot any more, and that no running command is making."""
        known = {manifest.id for manifest in self._all()}
        return [clone for clone in self.clones(conn) if clone.id not in known and clone.name]

    def begin(self, name: str, command: str) -> None:
        """Note that from now on a restore of `name` changes the stores, and what to type when it is cut short."""
        sentence = (
            f"`{command}` is under way or was cut short, and the stores are in between: run it again, "
            f"or `inv snapshot.restore {BEFORE}` to go back"
        )
        write_whole(
            self.folder / UNFINISHED, json.dumps({"snapshot": name, "sentence": sentence, "since": time.time()})
        )

    def end(self) -> None:
        """Note that the restore has come to its end."""
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def unfinished(self) -> str:
        """Name the snapshot whose restore was cut short; empty when none was."""
        try:
            return str(json.loads((self.folder / UNFINISHED).read_text())["snapshot"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError):
            return "?"

    def _all(self) -> list[Manifest]:
        found = []
        places = [self.folder / name for name in self.names()] + ([self.before] if self.before.is_dir() else [])
        for place in places:
            with suppress(OSError, LocalEnvError):
                found.append(read_manifest((place / MANIFEST).read_bytes(), place.name))
        return found

    def _settle(self, folder: Path) -> str:
        """Complete a snapshot that only lacks its place, remove any other."""
        kind, _, own = folder.name.partition("-")
        with suppress(OSError, LocalEnvError):
            name = read_manifest((folder / MANIFEST).read_bytes(), folder.name).name
            if kind == ".new" and not (self.folder / name).exists():
                folder.replace(self.folder / name)
                return f"snapshot {name} is complete"
        self._remove(folder)
        return f"removed {own}"

    def _put_aside(self, target: Path) -> Path | None:
        """Take a snapshot's name away; where it is damaged, a new id stands for it."""
        if not target.exists():
            return None
        try:
            own = read_manifest((target / MANIFEST).read_bytes(), target.name).id
        except (OSError, LocalEnvError):
            own = secrets.token_hex(4)
        aside = self.folder / f".old-{own}"
        if aside.exists():
            shutil.rmtree(aside)
        target.replace(aside)
        return aside

    def _remove(self, folder: Path) -> None:
        """Remove the clone of a folder that was put aside, then the folder, which tells of the clone."""
        with databases.maintenance(self.settings.postgres) as conn:
            databases.drop(conn, self.clone_name(folder.name.partition("-")[2]))
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    fresh = path.with_name(f"{path.name}.part")
    with disk_errors(path.parent):
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)


def _said(comment: str) -> dict[str, str]:
    """Read what a clone says of itself."""
    try:
        said = json.loads(comment)
        return {key: str(said[key]) for key in ("project", "snapshot", "created")}
    except (ValueError, KeyError, TypeError):
        return {}
