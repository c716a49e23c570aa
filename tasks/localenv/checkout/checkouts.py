"""The index of this user's checkouts: which have an environment, where, and on which ports.

One small file per checkout in the user's cache folder. Losing it is harmless: env.up writes it again, and running
services are found without it. A missing or read-only folder causes no failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..machine import private
from ..machine.reading import read_note
from ..settings import Settings

WAIT_S = 10.0


@dataclass(frozen=True)
class Checkout:
    """A checkout that had an environment when last noted. Times are seconds since the epoch."""

    project_id: str
    root: Path
    state_dir: Path
    ports: dict[str, int]
    created: float = 0
    used: float = 0

    @property
    def is_there(self) -> bool:
        """Return whether its folder still exists; True where this user may not look."""
        try:
            return self.root.is_dir()
        except PermissionError:
            return True


def read_all() -> list[Checkout]:
    """List every checkout of the index, sorted by folder. Unreadable entries are skipped."""
    folder = index_folder()
    try:
        files = list(folder.glob("*.json")) if folder else []
    except OSError:  # another user's
        files = []
    found = [checkout for checkout in map(_read, files) if checkout]
    return sorted(found, key=lambda checkout: str(checkout.root))


def note(settings: Settings) -> None:
    """Enter this checkout into the index with its current ports."""
    folder, now = index_folder(), time.time()
    if folder is None:
        return
    file = folder / f"{settings.project_id}.json"
    before = _read(file)
    values = {
        "root": str(settings.root),
        "state_dir": str(settings.state_dir),
        "ports": settings.ports,
        "created": before.created if before else now,
        "used": now,
    }
    with contextlib.suppress(OSError):
        private.make_folder(folder)
        private.close_to_others(folder.parent)
        private.close_to_others(folder)
        private.write(file, json.dumps(values))


def forget(project_id: str) -> None:
    """Remove a checkout from the index."""
    folder = index_folder()
    if folder:
        with contextlib.suppress(OSError):
            (folder / f"{project_id}.json").unlink(missing_ok=True)


@contextlib.contextmanager
def claiming() -> Iterator[None]:
    """Keep other checkouts of this user from choosing ports meanwhile. Without an index, nothing is locked."""
    folder = index_folder()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            if folder:
                private.make_folder(folder)
                _wait_for(stack.enter_context(private.append(folder / "lock")).fileno())
        yield


def index_folder() -> Path | None:
    """Return the folder of the index (XDG base directory specification, "user-specific non-essential data") or None.

    Under sudo HOME may still be the user's: files that root created there would lock the user out.
    """
    given, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    if given.startswith("/"):
        return Path(given) / "localenv" / "checkouts"
    if not home.startswith("/") or (os.geteuid() == 0 and not _is_own(Path(home))):
        return None
    return Path(home) / ".cache" / "localenv" / "checkouts"


def _is_own(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _wait_for(lock: int) -> None:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return


def _read(file: Path) -> Checkout | None:
    try:
        values = read_note(file)
        found = Checkout(
            project_id=file.stem,
            root=Path(values["root"]),
            state_dir=Path(values["state_dir"]),
            ports={str(service): int(port) for service, port in values["ports"].items()},
            created=float(values["created"]),
            used=float(values["used"]),
        )
        lock = found.state_dir / "lock"  # every run that changes something writes it
        return replace(found, used=max(found.used, lock.stat().st_mtime)) if lock.exists() else found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
