"""Listing and deleting snapshots, and the data of branches; those of other worktrees are listed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import engines
from ..checkout import git
from ..errors import ServiceFailed, UsageError
from ..hints import Command
from ..machine.ages import ago
from ..postgres import databases
from . import loaded, worktrees
from .entries import Entries, Found, connected
from .entry import Entry
from .manifest import Manifest
from .save import Say, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings

ORPHAN = "orphaned clone: its other parts are gone"
PENDING = "being saved, or left by an interrupted save: the next command cleans up"
LOST = "its clone is not on this server"
PARKED = "data of a branch"
GONE = "data of a branch that Git does not have any more"


@dataclass(frozen=True)
class Listed:
    """A snapshot, or the remains of one: then `manifest` is None. `state` is empty if it is intact.

    The data of a branch have an `entry` instead, and `place` is the other worktree that has the snapshot.
    """

    name: str
    created: str
    state: str
    manifest: Manifest | None
    entry: Entry | None = None
    place: Path | None = None

    @property
    def note(self) -> str:
        """What is special about it, in words."""
        return f"in {self.place}" if self.place and not self.state else self.state

    @property
    def age(self) -> str:
        made = datetime.fromisoformat(self.created) if self.created else None
        return ago((datetime.now(timezone.utc) - made).total_seconds()) if made else ""

    def as_dict(self) -> dict[str, Any]:
        m, parked = self.manifest, self.entry
        if parked:
            items = sum(table.items for table in parked.tables)
            numbers = (0, items, parked.cognito.users if parked.cognito else 0, parked.size_bytes)
        else:
            rows = m.postgres.rows if m and m.postgres else 0
            numbers = (rows, m.items if m else 0, m.cognito.users if m and m.cognito else 0, m.size_bytes if m else 0)
        return {
            "name": self.name,
            "kind": "branch" if parked else "snapshot",
            "worktree": str(self.place or ""),
            "created": self.created,
            "state": "ok" if parked else self.state or "ok",
            "engine": parked.engine if parked else m.origin.engine if m else "",
            "commit": m.origin.commit if m else "",
            "dirty": m.origin.dirty if m else False,
            **dict(zip(("rows", "items", "users", "bytes"), numbers, strict=True)),
        }


def find(settings: Settings) -> list[Listed]:
    """List snapshots, data of branches and what other worktrees have, each sorted by name. Changes nothing."""
    return [*_own(settings), *_branches(settings), *_elsewhere(settings)]


def _own(settings: Settings) -> list[Listed]:
    """Return every snapshot, and every clone without one, sorted by name."""
    shelf = Shelf(settings)
    found = []
    ids: set[str] | None = None
    if "postgres" in settings.services:
        with suppress(ServiceFailed), databases.maintenance(settings.postgres) as conn:
            found += [Listed(clone.name, clone.created, ORPHAN, None) for clone in shelf.orphans(conn)]
            found += [Listed(clone.name, clone.created, PENDING, None) for clone in shelf.pending(conn)]
            ids = set(shelf.all_clones(conn))
    found += [_listed(shelf, name, ids) for name in shelf.names()]
    return sorted(found, key=lambda each: each.name)


def _branches(settings: Settings) -> list[Listed]:
    """Return the data of branches that are not loaded."""
    known = git.branches(settings.root)
    found = [each.entry for each in loaded.parked(settings)]
    listed = [Listed(e.branch, e.created, PARKED if e.branch in known else GONE, None, e) for e in found]
    return sorted(listed, key=lambda each: each.name)


def _elsewhere(settings: Settings) -> list[Listed]:
    """Return the snapshots of other worktrees, whose servers are not asked."""
    return [
        Listed(manifest.name, manifest.created, "", manifest, place=place.root)
        for place in worktrees.others(settings)
        for manifest in worktrees.manifests(settings, place)
    ]


def is_branch(settings: Settings, name: str) -> bool:
    """Return whether there are data of a branch of this name."""
    return any(each.entry.branch == name for each in loaded.parked(settings))


def require_deletable(settings: Settings, name: str) -> list[str]:
    """Return what `delete` would remove, one thing per line. Raises UsageError if there is nothing of that name."""
    found = [each for each in _own(settings) if each.name == name]
    parked = [each.entry for each in _parked_here(settings, name)]
    if not found and not parked:
        Shelf(settings).read(name)
    lines = [f"remove snapshot {name}, {_described(each)}" for each in found]
    return lines + [
        f"remove the data of branch {name}, kept {entry.age}: {', '.join(entry.contents)}" for entry in parked
    ]


def delete(settings: Settings, name: str, say: Say) -> str:
    """Remove a snapshot: its files, its clone, and orphaned clones of that name. And the data of that branch."""
    shelf, parked = Shelf(settings), _parked_here(settings, name)
    tidy(settings, shelf, say)
    if name in shelf.names():
        shelf.remove(shelf.folder / name)
    with connected(settings) as conn:
        if conn is not None:
            for clone in [each for each in shelf.orphans(conn) if each.name == name]:
                databases.drop(conn, clone.database)
        for each in parked:
            Entries(settings).remove(each, conn)
    return f"removed the data of branch {name}" if parked else f"removed snapshot {name}"


def _parked_here(settings: Settings, name: str) -> list[Found]:
    """Return the data of a branch under the engine in use. Raises UsageError where there are such of another alone."""
    found, engine = (
        [each for each in loaded.parked(settings) if each.entry.branch == name],
        engines.choose(settings).engine,
    )
    here = [each for each in found if each.entry.engine == engine]
    if found and not here:
        other = found[0].entry.engine
        raise UsageError(
            f"the data of branch {name} are those of the engine {other}, and {engine} runs now",
            hint=Command(
                "snapshot.delete", name, "--confirm", name, "--engine", other, first="stop the services that run"
            ),
        )
    return here


def _listed(shelf: Shelf, name: str, ids: set[str] | None) -> Listed:
    """Return a snapshot's state. `ids` are those whose clones the server has, None if it does not answer."""
    try:
        manifest = shelf.read(name)
    except UsageError as error:
        return Listed(name, "", error.message, None)
    if manifest.postgres is None or ids is None or manifest.id in ids:
        return Listed(name, manifest.created, "", manifest)
    project = manifest.origin.project
    saved = "" if project == shelf.settings.project_id else f": project {project} saved it"
    return Listed(name, manifest.created, LOST + saved, manifest)


def _described(each: Listed) -> str:
    what = f": {each.manifest.sentence}" if each.manifest else f": {each.state}"
    return f"made {each.age}{what}" if each.created else each.state
