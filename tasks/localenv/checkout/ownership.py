"""What this tool creates in the state folder: how it is created, recognized and removed. Nothing else is touched.

Each folder carries a mark, a file `.localenv` that names the project. A folder without one is ours only if its
contents prove that an earlier version created it. Inside our folders, an entry with any other name than ours is the
user's: it is kept, and the folder with it. Links are never followed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PreflightFailed
from ..hints import inv
from ..machine import private
from ..settings.kept import PROJECT, kept_project
from . import gitignore

if TYPE_CHECKING:
    from ..settings import Settings

Say = Callable[[str], None]

MARK = ".localenv"
NOT_COUNTED = (MARK, gitignore.NAME, "lost+found")
"""Entries that do not count as contents: our mark, and what a new file system contains."""


@dataclass(frozen=True)
class Made:
    """A kind of folder: what this tool creates in it, by name pattern. A folder without the file `sign` is not one."""

    inside: Mapping[str, Made] = field(default_factory=dict)
    sign: str = ""
    is_whole: bool = False

    def kind(self, entry: os.DirEntry[str]) -> Made | None:
        """Return the kind of an entry in such a folder; None for one that this tool does not create."""
        if self.is_whole:
            return self
        for pattern, made in self.inside.items():
            if fnmatchcase(entry.name, pattern) and (made.is_whole or made.fits(entry)):
                return made
        return None

    def fits(self, entry: os.DirEntry[str]) -> bool:
        is_folder = entry.is_dir(follow_symlinks=False)
        return is_folder and (not self.sign or os.path.lexists(f"{entry.path}/{self.sign}"))


WHOLE = Made(is_whole=True)
"""A file, a link, or a folder with all its contents."""


def _files(*patterns: str) -> dict[str, Made]:
    return dict.fromkeys(patterns, WHOLE)


CLUSTER = Made(_files("PG_VERSION", "base", "global", "pg_*", "postgresql.*", "postmaster.*", "localenv.credentials"))
POSTGRES = Made(
    {
        "data": CLUSTER,
        "share": Made({"extension": Made(_files("uuid-ossp*", "pgcrypto*"))}),
        **_files("hba.conf", "reserve", "new-????????", "new-????????.password"),
    }
)
TABLE_FILES = ("table-*.json*", "*items-*.jsonl.gz*", "items-*.state*", "items-*.rows*")
SNAPSHOT_FILES = _files("manifest.json*", "postgres.sql", "pool.json*", *TABLE_FILES)
SNAPSHOT = Made(SNAPSHOT_FILES)
UNDO = Made({**SNAPSHOT_FILES, **_files("entry.json*")})
FOLDERS = {
    "postgres": POSTGRES,
    "emulator": Made(_files("dynamodb*", "cognito*", "s3*", "tmp", "token*", "running*", "unsaved*")),
    "dynamodb": Made(_files("shared-local-instance.db*")),
    "logs": Made(_files("postgres.log*", "emulator.log*", "dynamodb.log*", "initial-setup*")),
    "run": Made(_files("postgres", "emulator", "dynamodb", "project", "project.*new")),
    "snapshots": Made(
        {
            **_files("unfinished.json*"),
            **dict.fromkeys((".before", ".new-????????", ".old-????????"), SNAPSHOT),
            "*": Made(SNAPSHOT_FILES, sign="manifest.json"),
        }
    ),
    "undo": Made({**_files("branches.json*"), **dict.fromkeys(("????????", "????????.open"), UNDO)}),
}
FILES = {
    "lock": rb'\{"pid"',
    "ports": rb'\{"project"',
    "engine": rb'\{"engine"',
    "user_pool": rb"[\w-]+_[0-9A-Za-z]+\n",
    "compose.json": rb'\{"fingerprint"',
    "postgres.new": rb"$",
    "adopted.json": rb'\{"project"',
}
"""The notes beside the folders, and the start of each; an empty one is ours too."""


def folder(settings: Settings, name: str) -> Path:
    """Return a folder of the state folder, created and marked if necessary."""
    place = settings.state_dir / name
    if not place.is_dir():
        _make(place, settings)
    elif read_mark(place) is None:
        write_mark(place, settings, there_before=not _is_of_earlier_version(place))
    return place


def _make(place: Path, settings: Settings) -> None:
    """Create a folder with its mark atomically, so that a killed command leaves none unmarked."""
    private.make_folder(settings.state_dir)
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=settings.state_dir))
    fresh.chmod(private.FOLDER_MODE)
    write_mark(fresh, settings)
    try:
        fresh.rename(place)
    except OSError:
        (fresh / MARK).unlink()
        fresh.rmdir()
        if not place.is_dir():  # otherwise another command has just created it
            raise


def prepare(settings: Settings) -> None:
    """Prepare the state folder for a start: refuse foreign files, and restrict the rights of an earlier version's.

    Raises PreflightFailed before anything is written.
    """
    require_usable(settings.state_dir)
    private.make_folder(settings.state_dir)
    _sweep(settings.state_dir)
    for place in owned_folders(settings.state_dir):
        folder(settings, place.name)
        private.close_to_others(place)
        _close(place, FOLDERS[place.name])
    for place in (settings.state_dir / name for name in FILES):
        if os.path.lexists(place):
            private.close_to_others(place)
    if _is_all_ours(settings.state_dir):
        private.close_to_others(settings.state_dir)
    for name in ("run", "logs"):
        folder(settings, name)
    gitignore.write(settings.root, settings.state_dir)


def require_usable(state_dir: Path) -> None:
    """Raise PreflightFailed where a name that this tool needs in the state folder is taken. Writes nothing."""
    _require_access(state_dir)
    strange = foreign(state_dir)
    if strange:
        names = ", ".join(place.name for place in strange)
        raise PreflightFailed(
            f"{state_dir} has {names}, which this tool did not make",
            hint="move that elsewhere, or set LOCALENV_STATE_DIR to a folder that is for this tool alone",
        )
    owners = {os.geteuid(), state_dir.stat().st_uid} if os.geteuid() == 0 and state_dir.is_dir() else {os.geteuid()}
    for place in (state_dir / name for name in (*FOLDERS, *FILES)):
        if os.path.lexists(place) and place.lstat().st_uid not in owners:
            raise _owned_by_another(place)


def foreign(state_dir: Path) -> list[Path]:
    """List the entries of the state folder that have a name of ours but are not ours."""
    is_used = bool(owned_folders(state_dir))
    folders, notes = [state_dir / name for name in FOLDERS], [state_dir / name for name in FILES]
    strange = [place for place in folders if os.path.lexists(place) and not is_ours(place) and not _is_free(place)]
    return strange + [place for place in notes if not _is_our_note(place, is_used=is_used)]


def is_ours(place: Path) -> bool:
    """Return whether this tool created a folder of the state folder, now or in an earlier version. Never for a link."""
    if place.is_symlink() or not place.is_dir():
        return False
    return read_mark(place) is not None or _is_of_earlier_version(place)


def owned_folders(state_dir: Path) -> list[Path]:
    """List the folders of the state folder that this tool created."""
    return [place for place in (state_dir / name for name in FOLDERS) if is_ours(place)]


def removable(place: Path, made: Made | None = None) -> list[Path]:
    """List what `remove` would remove: the folder itself, or our entries in it if it has the user's files too."""
    made = made or FOLDERS[place.name]
    if not has_strangers(place, made):
        return [place]
    found = []
    for entry, kind in _entries(place, made):
        if kind and entry.is_dir(follow_symlinks=False) and not kind.is_whole:
            found += removable(Path(entry.path), kind)
        elif kind:
            found.append(Path(entry.path))
    return found


def has_strangers(place: Path, made: Made) -> bool:
    """Return whether a folder of ours contains anything that this tool did not create."""
    for entry, kind in _entries(place, made):
        if kind is None or (entry.is_dir(follow_symlinks=False) and has_strangers(Path(entry.path), kind)):
            return True
    return False


def remove(place: Path, say: Say, made: Made | None = None) -> None:
    """Remove a folder of ours, and report it. Foreign files stay, and so does a mount point, emptied."""
    made, mark = made or FOLDERS[place.name], read_mark(place) or {}
    if not removable(place, made):
        return
    kept = clear(place, made)
    if kept:  # with its mark: the next start uses it again
        say(f"emptied {place}, but for what this tool did not make: {', '.join(map(str, kept))}")
        return
    if any(entry.name not in NOT_COUNTED for entry in os.scandir(place)):
        say(f"emptied {place}, but for a mount point in it")
        return
    (place / MARK).unlink(missing_ok=True)
    if not mark.get("there_before") and _drop(place):
        say(f"removed {place}")
    else:
        say(f"emptied {place}, which this tool did not make")


def clear(place: Path, made: Made) -> list[Path]:
    """Remove our entries from a folder and return what is kept. The folder itself stays, with its mark."""
    kept: list[Path] = []
    for entry, kind in _entries(place, made):
        path = Path(entry.path)
        if kind is None:
            kept.append(path)
        elif entry.is_dir(follow_symlinks=False):
            inside = clear(path, kind)
            kept += inside
            if not inside:
                _drop(path)
        else:
            path.unlink(missing_ok=True)
    return kept


def remove_note(state_dir: Path, name: str) -> None:
    """Remove a note of ours; a foreign file of that name stays."""
    place = state_dir / name
    if place.exists() and _is_our_note(place, is_used=bool(owned_folders(state_dir))):
        place.unlink(missing_ok=True)


def read_mark(place: Path) -> dict[str, Any] | None:
    """Read a folder's mark; None without one. An empty one was interrupted, and counts."""
    try:
        with os.fdopen(private.descriptor(place / MARK, os.O_RDONLY)) as file:
            found = json.loads(file.read(10_000) or "{}")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_mark(place: Path, settings: Settings, *, there_before: bool = False) -> None:
    """Mark a folder as created by this tool, or with `there_before` as used by it."""
    said = {
        "what": f"made by localenv; {inv('env.destroy')} removes it",
        "project": settings.project_id,
        "state_dir": str(settings.state_dir),
        "there_before": there_before,
    }
    private.write(place / MARK, json.dumps(said) + "\n")


def _sweep(state_dir: Path) -> None:
    """Remove unfinished folders and notes of killed commands."""
    folders, notes = "|".join(FOLDERS), "|".join(map(re.escape, FILES))
    for entry in list(os.scandir(state_dir)):
        path = Path(entry.path)
        note = re.fullmatch(rf"(?:{notes})\.(\d+)\.new", entry.name)
        if note and not _is_running(int(note[1])):
            path.unlink(missing_ok=True)
        elif re.fullmatch(rf"\.(?:{folders})-.{{8}}", entry.name) and read_mark(path) is not None:
            (path / MARK).unlink(missing_ok=True)
            _drop(path)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _require_access(state_dir: Path) -> None:
    """Raise PreflightFailed where the state folder is another user's and closed to this one."""
    is_open = not state_dir.is_dir() or os.access(state_dir, os.R_OK | os.W_OK | os.X_OK)
    if not is_open and state_dir.stat().st_uid != os.geteuid():
        raise _owned_by_another(state_dir)


def _owned_by_another(place: Path) -> PreflightFailed:
    return PreflightFailed(
        f"{place} belongs to {_user(place.lstat().st_uid)}, and this command runs as {_user(os.geteuid())}",
        hint="run the command as that user, or set LOCALENV_STATE_DIR to a folder of yours",
    )


def _user(number: int) -> str:
    import pwd

    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user with id {number}"


def _is_of_earlier_version(place: Path) -> bool:
    """Return whether a folder's contents show that an earlier version, which set no marks, created it."""
    if place.name == "postgres":
        signs = ("data/localenv.credentials", "share/extension/uuid-ossp.control")
        return any((place / sign).is_file() for sign in signs)
    if place.name == "emulator":
        return (place / "token").is_file() and (place / "tmp").is_dir()
    ours = (kind for _, kind in _entries(place, FOLDERS[place.name]))
    return _is_state_of_earlier_version(place.parent) and any(kind is not None for kind in ours)


def _is_state_of_earlier_version(state_dir: Path) -> bool:
    notes = (state_dir / name for name in ("ports", "engine", "user_pool", "compose.json"))
    return (
        bool(PROJECT.fullmatch(kept_project(state_dir)))
        or any(_is_of_earlier_version(state_dir / name) for name in ("postgres", "emulator"))
        or any(_starts_like_ours(place) for place in notes)
    )


def _is_our_note(place: Path, *, is_used: bool) -> bool:
    """Return whether a note may be overwritten; in a folder of ours, also one that a crash left unreadable."""
    if not os.path.lexists(place):
        return True
    return stat.S_ISREG(place.lstat().st_mode) and (is_used or not place.lstat().st_size or _starts_like_ours(place))


def _starts_like_ours(place: Path) -> bool:
    try:
        with os.fdopen(private.descriptor(place, os.O_RDONLY), "rb") as file:
            return bool(re.match(FILES[place.name], file.read(1000)))
    except OSError:
        return False


def _is_free(place: Path) -> bool:
    """Return whether a folder is empty and so may be used."""
    if place.is_symlink() or not place.is_dir():
        return False
    with os.scandir(place) as entries:
        return all(entry.name in NOT_COUNTED for entry in entries)


def _is_all_ours(state_dir: Path) -> bool:
    """Return whether the state folder is for this tool alone. Shared folders such as /tmp never are."""
    found = state_dir.stat()
    if found.st_mode & stat.S_ISVTX or found.st_uid != os.geteuid():
        return False
    names = {entry.name for entry in os.scandir(state_dir)} - {*FOLDERS, *FILES, *NOT_COUNTED}
    return not names and not foreign(state_dir)


def _close(place: Path, made: Made) -> None:
    """Revoke others' rights on our entries in a folder. Raises PreflightFailed for another user's files."""
    for entry, kind in _entries(place, made):
        if kind and os.geteuid() and entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            raise _owned_by_another(Path(entry.path))  # left by root: this user's server could not read it
        if kind:
            private.close_to_others(Path(entry.path))
        if kind and entry.is_dir(follow_symlinks=False):
            _close(Path(entry.path), kind)
    mark = place / MARK
    if mark.exists():
        private.close_to_others(mark)


def _entries(place: Path, made: Made) -> list[tuple[os.DirEntry[str], Made | None]]:
    """List the entries of a folder, sorted by name, each with its kind."""
    try:
        with os.scandir(place) as found:
            entries = sorted((entry for entry in found if entry.name not in NOT_COUNTED), key=lambda entry: entry.name)
    except FileNotFoundError:  # its server has just ended and removed it
        return []
    return [(entry, made.kind(entry)) for entry in entries]


def _drop(place: Path) -> bool:
    """Remove an emptied folder, unless it is or contains a mount point. Returns whether it is gone."""
    try:
        place.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
