"""What this tool has made in the state folder: how it is made, known again and removed. Nothing else is touched.

Each folder that is made carries a mark, a file `.localenv` that says for which project. A folder without one is ours
only where its contents prove that an earlier version made it. In a folder of ours, what bears a name that nothing here
makes is the user's: it is kept, and the folder with it. Links are never followed.
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

if TYPE_CHECKING:
    from ..settings import Settings

Say = Callable[[str], None]

MARK = ".localenv"
NOT_COUNTED = (MARK, "lost+found")
"""What the contents of a folder may have besides: our mark, and what a file system's first folder comes with."""


@dataclass(frozen=True)
class Made:
    """A kind of folder: by patterns of names what is made in it. A folder without a file `sign` is none of the kind."""

    inside: Mapping[str, Made] = field(default_factory=dict)
    sign: str = ""
    is_whole: bool = False

    def kind(self, entry: os.DirEntry[str]) -> Made | None:
        """Say what an entry of such a folder is; None where nothing here makes it."""
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
"""A file, a link, or a folder with all that is in it."""


def _files(*patterns: str) -> dict[str, Made]:
    return dict.fromkeys(patterns, WHOLE)


CLUSTER = Made(_files("PG_VERSION", "base", "global", "pg_*", "postgresql.*", "postmaster.*", "localenv.credentials"))
POSTGRES = Made(
    {
        "data": CLUSTER,
        "share": Made({"extension": Made(_files("uuid-ossp*"))}),
        **_files("hba.conf", "reserve", "new-????????", "new-????????.password"),
    }
)
SNAPSHOT_FILES = _files("manifest.json*", "postgres.sql", "pool.json", "table-*.json", "*items-*.jsonl.gz*")
SNAPSHOT = Made(SNAPSHOT_FILES)
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
}
FILES = {
    "lock": rb'\{"pid"',
    "ports": rb'\{"project"',
    "engine": rb'\{"engine"',
    "user_pool": rb"[\w-]+_[0-9A-Za-z]+\n",
    "compose.json": rb'\{"fingerprint"',
    "postgres.new": rb"$",
}
"""The notes beside the folders, and how each begins; an empty one is ours too."""


def folder(settings: Settings, name: str) -> Path:
    """Give a folder of the state folder, made and marked where it was not."""
    place = settings.state_dir / name
    if not place.is_dir():
        _make(place, settings)
    elif read_mark(place) is None:
        write_mark(place, settings, there_before=not _is_of_before(place))
    return place


def _make(place: Path, settings: Settings) -> None:
    """Make a folder and its mark at once, so that a killed command leaves none without."""
    private.make_folder(settings.state_dir)
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=settings.state_dir))
    fresh.chmod(private.FOLDER_MODE)
    write_mark(fresh, settings)
    try:
        fresh.rename(place)
    except OSError:
        (fresh / MARK).unlink()
        fresh.rmdir()
        if not place.is_dir():  # else another command has made it meanwhile
            raise


def prepare(settings: Settings) -> None:
    """Make the state folder fit for a start: refuse what is not ours, close to others what an earlier version has left.

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
            raise _somebody_elses(place)


def foreign(state_dir: Path) -> list[Path]:
    """List what bears a name that this tool needs in the state folder, and is not its own."""
    is_used = bool(owned_folders(state_dir))
    strange = [
        place
        for place in (state_dir / name for name in FOLDERS)
        if os.path.lexists(place) and not is_ours(place) and not _is_free(place)
    ]
    return strange + [
        place for place in (state_dir / name for name in FILES) if not _is_our_note(place, is_used=is_used)
    ]


def is_ours(place: Path) -> bool:
    """Tell whether this tool has made a folder of the state folder, now or in an earlier version. A link is never."""
    if place.is_symlink() or not place.is_dir():
        return False
    return read_mark(place) is not None or _is_of_before(place)


def owned_folders(state_dir: Path) -> list[Path]:
    """List the folders of the state folder that this tool has made."""
    return [place for place in (state_dir / name for name in FOLDERS) if is_ours(place)]


def removable(place: Path, made: Made | None = None) -> list[Path]:
    """List what `remove` would remove of a folder of ours: itself, or what is ours in it beside the user's things."""
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
    """Tell whether a folder of ours has anything in it that this tool did not make."""
    for entry, kind in _entries(place, made):
        if kind is None or (entry.is_dir(follow_symlinks=False) and has_strangers(Path(entry.path), kind)):
            return True
    return False


def remove(place: Path, say: Say, made: Made | None = None) -> None:
    """Remove a folder of ours, and say so. What this tool did not make stays, and so does a mount point, emptied."""
    made, mark = made or FOLDERS[place.name], read_mark(place) or {}
    if not removable(place, made):
        return
    kept = clear(place, made)
    if kept:  # with its mark: the next start goes on using it
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
    """Remove what this tool makes in a folder; give what is kept. The folder itself stays, with its mark."""
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
    """Remove a note of ours; a file of that name that is somebody else's stays."""
    place = state_dir / name
    if place.exists() and _is_our_note(place, is_used=bool(owned_folders(state_dir))):
        place.unlink(missing_ok=True)


def read_mark(place: Path) -> dict[str, Any] | None:
    """Read what a folder's mark says; None where there is none. An empty one was cut short, and is one."""
    try:
        with os.fdopen(private.descriptor(place / MARK, os.O_RDONLY)) as file:
            found = json.loads(file.read(10_000) or "{}")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_mark(place: Path, settings: Settings, *, there_before: bool = False) -> None:
    """Mark a folder as made by this tool, or with `there_before` as used by it."""
    said = {
        "what": f"made by localenv; {inv('env.destroy')} removes it",
        "project": settings.project_id,
        "state_dir": str(settings.state_dir),
        "there_before": there_before,
    }
    private.write(place / MARK, json.dumps(said) + "\n")


def _sweep(state_dir: Path) -> None:
    """Remove what killed commands have left of folders and notes that they were about to make."""
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
    """Raise PreflightFailed where the state folder is another user's who does not let us in."""
    is_open = not state_dir.is_dir() or os.access(state_dir, os.R_OK | os.W_OK | os.X_OK)
    if not is_open and state_dir.stat().st_uid != os.geteuid():
        raise _somebody_elses(state_dir)


def _somebody_elses(place: Path) -> PreflightFailed:
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


def _is_of_before(place: Path) -> bool:
    """Tell by its contents whether an earlier version, which set no marks, has made a folder of the state folder."""
    if place.name == "postgres":
        signs = ("data/localenv.credentials", "share/extension/uuid-ossp.control")
        return any((place / sign).is_file() for sign in signs)
    if place.name == "emulator":
        return (place / "token").is_file() and (place / "tmp").is_dir()
    ours = (kind for _, kind in _entries(place, FOLDERS[place.name]))
    return _is_state_of_before(place.parent) and any(kind is not None for kind in ours)


def _is_state_of_before(state_dir: Path) -> bool:
    notes = (state_dir / name for name in ("ports", "engine", "user_pool", "compose.json"))
    return (
        bool(PROJECT.fullmatch(kept_project(state_dir)))
        or any(_is_of_before(state_dir / name) for name in ("postgres", "emulator"))
        or any(_begins_right(place) for place in notes)
    )


def _is_our_note(place: Path, *, is_used: bool) -> bool:
    """Tell whether a note may be written; one that a crash has left unreadable may, in a folder of ours."""
    if not os.path.lexists(place):
        return True
    return stat.S_ISREG(place.lstat().st_mode) and (is_used or not _size(place) or _begins_right(place))


def _size(place: Path) -> int:
    return place.lstat().st_size


def _begins_right(place: Path) -> bool:
    try:
        with os.fdopen(private.descriptor(place, os.O_RDONLY), "rb") as file:
            return bool(re.match(FILES[place.name], file.read(1000)))
    except OSError:
        return False


def _is_free(place: Path) -> bool:
    """Tell whether a folder is empty, and so may be used."""
    if place.is_symlink() or not place.is_dir():
        return False
    with os.scandir(place) as entries:
        return all(entry.name in NOT_COUNTED for entry in entries)


def _is_all_ours(state_dir: Path) -> bool:
    """Tell whether the state folder is for this tool alone. /tmp and its like, where anybody has files, never are."""
    found = state_dir.stat()
    if found.st_mode & stat.S_ISVTX or found.st_uid != os.geteuid():
        return False
    names = {entry.name for entry in os.scandir(state_dir)} - {*FOLDERS, *FILES, *NOT_COUNTED}
    return not names and not foreign(state_dir)


def _close(place: Path, made: Made) -> None:
    """Close what is ours in a folder to others. Raises PreflightFailed where it is not ours to close."""
    for entry, kind in _entries(place, made):
        if kind and os.geteuid() and entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            raise _somebody_elses(Path(entry.path))  # of root, who was here once: its server could not read that
        if kind:
            private.close_to_others(Path(entry.path))
        if kind and entry.is_dir(follow_symlinks=False):
            _close(Path(entry.path), kind)
    mark = place / MARK
    if mark.exists():
        private.close_to_others(mark)


def _entries(place: Path, made: Made) -> list[tuple[os.DirEntry[str], Made | None]]:
    """List what is in a folder, by its name, each with what it is."""
    try:
        with os.scandir(place) as found:
            entries = sorted((entry for entry in found if entry.name not in NOT_COUNTED), key=lambda entry: entry.name)
    except FileNotFoundError:  # its server has just ended, and removed it
        return []
    return [(entry, made.kind(entry)) for entry in entries]


def _drop(place: Path) -> bool:
    """Remove an emptied folder; a mount point, and what one is in, stays."""
    try:
        place.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
