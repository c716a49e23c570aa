"""Where the embedded PostgreSQL keeps its data and programs, and which user it runs as.

PostgreSQL refuses to run as root. Under root it runs as the unprivileged user `nobody`, who must reach the data and
the programs, but the state folder is closed to all but its owner. So the data live under /var/lib/localenv, whose
folders others may only traverse (x, to reach the data folder below); the data folder alone belongs to `nobody` and is
closed to everyone else. Programs that `nobody` cannot reach in place are copied there too.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...checkout import ownership
from ...errors import PreflightFailed, ServiceFailed
from ...hints import inv
from ...machine import private
from ...machine.disk import free_bytes, has_room
from ...machine.ports import command_of, commands
from ...machine.wheel import RELEASE, WHEEL
from ...machine.wheel import installed_programs as installed_programs
from ...settings import Settings
from ...settings.kept import PROJECT, kept_project
from ..daemon import Account

OUTSIDE = Path("/var/lib/localenv")
UNPRIVILEGED = "nobody"
PASSABLE = 0o711
RESERVE_BYTES = 24 * 1024**2
"""A checkpoint may need a new WAL segment of 16 MB, and some MB for pages (tried on a full tmpfs)."""
OF_ONE_PROJECT = ownership.Made({"postgres": ownership.POSTGRES})
"""The contents of /var/lib/localenv/PROJECT."""


@dataclass(frozen=True)
class Home:
    """The folders of one database server. `account` runs it; None is the user of this command.

    `former` is a data folder elsewhere that the first start here takes over.
    """

    settings: Settings
    base: Path
    install: Path
    account: Account | None = None
    former: Path | None = None

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def extensions(self) -> Path:
        """The folder for extension_control_path, which reads its subfolder `extension`."""
        return self.base / "share"

    @property
    def hba(self) -> Path:
        return self.base / "hba.conf"

    @property
    def was_killed(self) -> bool:
        """Return whether the last server left its pid file behind. Only meaningful while none runs."""
        return (self.data / "postmaster.pid").exists()

    def forget_dead_server(self) -> None:
        """Remove the pid file of a dead server.

        PostgreSQL takes any process with that pid for its server: one that reused the pid, or the dead one itself
        where zombies are not reaped (a container whose first process is no init).
        """
        file = self.data / "postmaster.pid"
        try:
            noted = file.read_text().split()
        except FileNotFoundError:
            return
        if not (noted and noted[0].isdigit() and str(self.data) in command_of(int(noted[0]))):
            file.unlink()

    def program(self, name: str) -> Path:
        return self.install / "bin" / name

    def prepare(self, extension: Path) -> None:
        """Create the folders, copy programs that the user cannot reach, and install our extension."""
        self._make_base()
        for left in self.base.glob("new-*"):  # by a killed command
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        if self.install != (source := installed_programs()):
            _provide_programs(source, self.install, self.account)
        target = self.extensions / "extension"
        private.make_folder(target)
        for file in extension.iterdir():
            self.write(target / file.name, file.read_text())
        for folder in (self.extensions, target):
            self._hand_over(folder)
            folder.chmod(private.FOLDER_MODE)
        if self.former and not self.data.exists():
            self._take_over(self.former)

    def make_room(self) -> Path:
        """Create an empty folder for a new cluster, with a unique name: a killed command's initdb may still run."""
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self.base))
        self._hand_over(fresh)
        return fresh

    def write(self, path: Path, text: str) -> None:
        """Write a file for the server to read. An unchanged one is not touched: the disk may be full."""
        if not path.is_file() or path.read_bytes() != text.encode():
            private.write(path, text)
        self._hand_over(path)

    def write_hba(self, *, trusting: bool) -> None:
        """Allow connections from loopback addresses: by password, or without one where the URL has none."""
        method = "trust" if trusting else "scram-sha-256"
        self.write(self.hba, f"host all all 127.0.0.0/8 {method}\nhost all all ::1/128 {method}\n")

    def note_credentials(self, cluster: Path, digest: str) -> None:
        """Note which user and password the cluster has, as a digest."""
        self.write(cluster / "localenv.credentials", digest)

    def has_credentials(self, digest: str) -> bool:
        try:
            return (self.data / "localenv.credentials").read_text() == digest
        except OSError:
            return False

    @property
    def reserve(self) -> Path:
        """A placeholder file: on a full disk a server needs its space to stop cleanly or to drop a database."""
        return self.base / "reserve"

    def reserve_space(self) -> None:
        """Reserve space while there is plenty."""
        if self.data.exists() and not self.reserve.exists() and free_bytes(self.base) > RESERVE_BYTES + 8 * 1024**2:
            try:
                with private.create(self.reserve) as file:
                    file.write(bytes(RESERVE_BYTES))
            except OSError:
                self.reserve.unlink(missing_ok=True)

    def free_reserve(self) -> bool:
        """Free the reserved space if the disk is full. Returns whether it did."""
        if not self.reserve.exists() or has_room(self.base):
            return False
        self.reserve.unlink()
        return True

    def _hand_over(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.user, self.account.group)

    def _make_base(self) -> None:
        if self.base.parent == self.settings.state_dir:
            ownership.folder(self.settings, self.base.name)
            return
        for folder in (OUTSIDE, self.base.parent, self.base):
            private.make_folder(folder)
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                raise PreflightFailed(f"{folder} is not root's own", hint="remove it, then run the same command again")
            folder.chmod(PASSABLE)
        ownership.write_mark(self.base.parent, self.settings)
        closed = _closed_to(self.base, self.account)
        if closed:
            raise PreflightFailed(
                f"{closed} is closed to the user {UNPRIVILEGED}, who runs PostgreSQL where root starts it",
                hint=f"run `chmod o+x {closed}`, or run the command as a normal user",
            )

    def _take_over(self, former: Path) -> None:
        """Take over data that an earlier version kept in the state folder, or of a moved or copied state folder.

        No server may run on them. If interrupted, the next start repeats it.
        """
        theirs = former.parents[1]
        project = theirs.name if theirs.parent == OUTSIDE else self.settings.project_id
        if any(f"cluster_name={project} " in command for command in commands().values()):
            raise ServiceFailed(
                f"the database server of {project} still runs on {former}, which came here with the folder",
                hint=f"stop it where the folder came from ({inv('env.down')}), then run the same command again",
            )
        if not _is_in_use(theirs):
            with suppress(OSError):  # on another disk
                former.rename(self.data)
        if not self.data.exists():
            fresh = self.make_room()
            shutil.copytree(former, fresh, symlinks=True, dirs_exist_ok=True)
            for path in (fresh, *fresh.rglob("*")):
                os.chown(path, *_ids(self.account), follow_symlinks=False)
            fresh.rename(self.data)
        if theirs.parent == OUTSIDE and not _is_in_use(theirs):
            ownership.remove(theirs, _silently, OF_ONE_PROJECT)
        elif theirs.parent != OUTSIDE:
            ownership.remove(former.parent, _silently)


def find_home(settings: Settings) -> Home:
    """Return the place and the user of this project's server. Creates nothing."""
    inside = settings.state_dir / "postgres"
    programs = installed_programs()
    if os.geteuid() != 0:
        _refuse_foreign(inside / "data")
        return Home(settings, inside, programs)
    owner = _owner(inside / "data")
    if owner and owner.user == settings.state_dir.stat().st_uid:
        return Home(settings, inside, _programs(programs, owner), owner)
    outside = OUTSIDE / settings.project_id / "postgres"
    account = _owner(outside / "data") or owner or _unprivileged()
    return Home(settings, outside, _programs(programs, account), account, _find_former(settings))


def find_server_folders(settings: Settings) -> list[Path]:
    """List the folders that hold this project's server, inside and outside the state folder."""
    inside, outside = settings.state_dir / "postgres", OUTSIDE / settings.project_id
    found = [inside] if ownership.is_ours(inside) else []
    is_outside = outside.is_dir() and not outside.is_symlink() and outside.stat().st_uid == os.geteuid()
    return [*found, outside] if is_outside else found


def kind_of(place: Path) -> ownership.Made:
    """Return the kind of a folder that `find_server_folders` lists."""
    return OF_ONE_PROJECT if place.parent == OUTSIDE else ownership.POSTGRES


def _find_former(settings: Settings) -> Path | None:
    """Find data that a first start takes over: of an earlier version, or of a moved or copied state folder.

    The state folder's note says which project owned them.
    """
    inside, former = settings.state_dir / "postgres" / "data", kept_project(settings.state_dir)
    if (inside / "PG_VERSION").exists():
        return inside
    outside = OUTSIDE / former / "postgres" / "data"
    moved = former != settings.project_id and PROJECT.fullmatch(former) and outside.exists()
    return outside if moved else None


def _is_in_use(theirs: Path) -> bool:
    """Return whether the state folder that a folder belongs to still exists: it was copied, not moved."""
    mark = ownership.read_mark(theirs) or {}
    return kept_project(Path(str(mark.get("state_dir", "/nonexistent")))) == theirs.name


def _closed_to(path: Path, account: Account | None) -> Path | None:
    """Return the first part of a path that this user may not traverse or run."""
    user, group = _ids(account)
    real = path.resolve()
    for place in (*reversed(real.parents), real):
        found = place.stat() if place.exists() else None
        if found:
            bit = stat.S_IXUSR if found.st_uid == user else stat.S_IXGRP if found.st_gid == group else stat.S_IXOTH
            if not found.st_mode & bit:
                return place
    return None


def _ids(account: Account | None) -> tuple[int, int]:
    return (account.user, account.group) if account else (os.geteuid(), os.getegid())


def _silently(_: str) -> None:
    pass


def _owner(data: Path) -> Account | None:
    """Return the owner of the data: a normal user's server runs as that user even when root starts it."""
    try:
        found = data.stat()
    except OSError:
        return None
    return Account(found.st_uid, found.st_gid) if found.st_uid else None


def _refuse_foreign(data: Path) -> None:
    owner = data.stat().st_uid if data.exists() else os.geteuid()
    if owner != os.geteuid():
        raise PreflightFailed(
            f"{data} belongs to the user with id {owner}, so this one cannot run its server",
            hint="run the command as the user who made it; `env.destroy` as that user makes room for others",
        )


def require_user_name(account: Account | None) -> None:
    """Raise PreflightFailed when the server's user has no name: initdb looks it up."""
    import pwd

    user = account.user if account else os.geteuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        raise PreflightFailed(
            f"PostgreSQL does not run as user id {user}, which has no name on this system",
            hint="add a line for it to /etc/passwd, or use `--engine docker`",
        ) from None


def _unprivileged() -> Account:
    import pwd

    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise PreflightFailed(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED!r}",
            hint="run the command as a normal user, or use `--engine docker`",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _programs(installed: Path, account: Account) -> Path:
    """Return the programs for this user: those installed, or a copy if they are out of reach."""
    from importlib.metadata import version

    if not _closed_to(installed / "bin" / "postgres", account):
        return installed
    return OUTSIDE / "programs" / version(WHEEL) / WHEEL.replace("-", "_") / RELEASE


def _provide_programs(source: Path, target: Path, account: Account | None) -> None:
    """Copy the programs, and the libraries that they find by relative paths, atomically.

    They are as public as the wheel that they come from, whatever umask it was installed under.
    """
    package, copy = source.parent, target.parents[1]
    if not target.exists():
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(source, fresh / package.name / RELEASE, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        _publish(fresh)
        shutil.rmtree(copy, ignore_errors=True)
        fresh.rename(copy)
    elif _closed_to(target / "bin" / "postgres", account):  # copied by an earlier version, under a umask of 077
        _publish(copy)
    copy.parent.chmod(PASSABLE)


def _publish(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
