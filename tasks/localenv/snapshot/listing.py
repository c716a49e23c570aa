"""Listing and deleting snapshots."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import ServiceFailed, UsageError
from ..machine.ages import ago
from ..postgres import databases
from .manifest import Manifest
from .save import Say, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings

ORPHAN = "orphaned clone: its other parts are gone"
PENDING = "being saved, or left by an interrupted save: the next command cleans up"
LOST = "its clone is not on this server"


@dataclass(frozen=True)
class Listed:
    """A snapshot, or the remains of one: then `manifest` is None. `state` is empty if it is intact."""

    name: str
    created: str
    state: str
    manifest: Manifest | None

    @property
    def age(self) -> str:
        made = datetime.fromisoformat(self.created) if self.created else None
        return ago((datetime.now(timezone.utc) - made).total_seconds()) if made else ""

    def as_dict(self) -> dict[str, Any]:
        m = self.manifest
        return {
            "name": self.name,
            "created": self.created,
            "state": self.state or "ok",
            "engine": m.origin.engine if m else "",
            "commit": m.origin.commit if m else "",
            "dirty": m.origin.dirty if m else False,
            "rows": m.postgres.rows if m and m.postgres else 0,
            "items": m.items if m else 0,
            "users": m.cognito.users if m and m.cognito else 0,
            "bytes": m.size_bytes if m else 0,
        }


def find(settings: Settings) -> list[Listed]:
    """List every snapshot, and every clone without one, sorted by name. Changes nothing."""
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


def require_deletable(settings: Settings, name: str) -> list[str]:
    """Return what `delete` would remove, one thing per line. Raises UsageError if there is no such snapshot."""
    shelf = Shelf(settings)
    found = [each for each in find(settings) if each.name == name]
    if not found:
        shelf.read(name)
    return [f"remove snapshot {name}, {_described(each)}" for each in found]


def delete(settings: Settings, name: str, say: Say) -> str:
    """Remove a snapshot: its files, its clone, and orphaned clones of that name."""
    shelf = Shelf(settings)
    tidy(settings, shelf, say)
    if name in shelf.names():
        shelf.remove(shelf.folder / name)
    if "postgres" not in settings.services:
        return f"removed snapshot {name}"
    with databases.maintenance(settings.postgres) as conn:
        for clone in shelf.orphans(conn):
            if clone.name == name:
                databases.drop(conn, clone.database)
    return f"removed snapshot {name}"


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
