"""The state folder: for its owner alone, never more removed than was made, and usable on full and strange disks."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.checkout import ownership
from tasks.localenv.engines.embedded.home import OUTSIDE, find_home
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import Finished, environment, inv, permitted, reachable

pytestmark = pytest.mark.reliability("destroy")

AS_ROOT = os.geteuid() == 0
SNAPSHOTS = ("snapshots", "run", "logs", "emulator")
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root mounts file systems and becomes another user")


@dataclass
class Own:
    """An environment for one test, and the user whose it is: `inv` is run in it."""

    folder: Path
    environ: dict[str, str]
    user: str = ""
    mounts: list[Path] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def settings(self) -> Settings:
        return permitted(read_settings(environ=self.environ))

    def __call__(self, *words: str, umask: int = 0o022, **environ: str) -> Finished:
        before = os.umask(umask)
        try:
            if not self.user:
                return inv(*words, environ={**self.environ, **environ}, cwd=self.folder)
            return self._as_user(words, environ)
        finally:
            os.umask(before)

    def ok(self, *words: str, umask: int = 0o022) -> Finished:
        done = self(*words, umask=umask)
        assert done.code == 0, done.stderr
        return done

    def mount(self, place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        self.mounts.append(place)

    def _as_user(self, words: tuple[str, ...], environ: dict[str, str]) -> Finished:
        """Run `inv` by a Python that the user can reach, as somebody who has no HOME."""
        entry = pwd.getpwnam(self.user)
        done = subprocess.run(
            [_python(), "-m", "invoke", "--search-root", str(TOOL), *words],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages")),
                "HOME": "/nonexistent",
                "NO_COLOR": "1",
                **self.environ,
                **environ,
            },
            cwd=self.folder,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def _python() -> str:
    """Find a Python of our release that everybody can run; the tests' own may be in root's HOME."""
    release = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for found in (sys.executable, f"/usr/bin/{release}", f"/usr/local/bin/{release}"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"exec {found} -c ''"], user="nobody", extra_groups=[], capture_output=True
        )
        if done.returncode == 0:
            return found
    pytest.skip(f"no {release} here that another user can run")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """An environment that is not up yet, and is gone afterwards."""
    folder = reachable(tmp_path) / "own"
    folder.mkdir(mode=0o755)
    made = Own(folder, environment(folder / "state"))
    yield made
    made("env.destroy", "--confirm", "cruddur")
    for place in made.mounts:
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


@pytest.fixture
def nobodys(own: Own) -> Own:
    """The same, of the user nobody."""
    own.user = "nobody"
    os.chown(own.folder, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    return own


def open_to_others(*folders: Path) -> list[str]:
    """List what others than its owner have any right to."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    modes = [(path, path.lstat().st_mode) for path in found if not path.is_symlink()]
    return [f"{path}: {mode & 0o777:o}" for path, mode in modes if mode & 0o077]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0


def fill_with_files(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (folder / f"filler-{time.time_ns()}-{number}").touch()
    assert os.statvfs(folder).f_favail == 0


def servers(own: Own) -> list[int]:
    """List the processes of this environment, by what they were started with."""
    marks = (f"cluster_name={own.settings.project_id} ", f"--state {own.state}/")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [int(folder.name)] if any(mark in command for mark in marks) else []
    return sorted(found)


# --- for its owner alone


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_has_a_right_to_anything_under_any_umask(own: Own, umask: int) -> None:
    own.ok("initial-setup", "--hook", umask=umask)
    own.ok("snapshot.save", "one", umask=umask)
    own.ok("snapshot.save", "two", "--file", "two.tar.gz", umask=umask)
    own.ok("env.restart", umask=umask)
    assert open_to_others(own.state, own.folder / "cache" / "localenv", own.folder / "two.tar.gz") == []


@needs_root
def test_what_root_keeps_elsewhere_may_only_be_passed_through(own: Own) -> None:
    own.ok("env.up", umask=0o077)
    home = find_home(own.settings)
    parents = [OUTSIDE, home.base.parent, home.base]
    assert [folder.stat().st_mode & 0o777 for folder in parents] == [0o711] * 3
    assert open_to_others(home.data, home.extensions) == []
    assert home.data.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert [
        path for path in (OUTSIDE / "programs").rglob("*") if path.lstat().st_mode & 0o022 and not path.is_symlink()
    ] == []


@needs_root
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_first_start_of_a_normal_user_works_under_any_umask(nobodys: Own, umask: int) -> None:
    nobodys.ok("initial-setup", umask=umask)
    assert open_to_others(nobodys.state) == []
    assert find_home(nobodys.settings).former is None
    nobodys.ok("env.destroy", "--confirm", "cruddur", umask=umask)
    assert everything(nobodys.state) == ["lock", "user_pool"]


def test_state_of_an_earlier_version_is_closed_by_the_next_start(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")
    own.ok("env.down")
    for path in (own.state, *own.state.rglob("*")):
        if path.name == ownership.MARK:
            path.unlink()
        elif not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o666)
    shutil.rmtree(own.state / "postgres" / "data", ignore_errors=True) if AS_ROOT else None
    own.ok("initial-setup")
    assert open_to_others(own.state) == []
    assert "one" in own.ok("snapshot.list").stdout


@needs_root
def test_data_that_root_had_in_the_state_folder_move_out_of_it(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("env.down")
    home = find_home(own.settings)
    inside = own.state / "postgres"
    inside.mkdir(mode=0o755)
    own.state.chmod(0o755)
    shutil.move(home.data, inside / "data")
    shutil.move(home.base / "hba.conf", inside / "hba.conf")
    shutil.rmtree(home.base.parent)
    setup = own.ok("initial-setup")
    assert "skip  db.setup" in setup.stderr
    assert (home.data.is_dir(), inside.exists(), open_to_others(own.state)) == (True, False, [])


@needs_root
def test_a_state_folder_of_another_user_is_refused_in_words(nobodys: Own) -> None:
    nobodys.state.mkdir(mode=0o755)
    done = nobodys("env.up")
    assert (done.code, "Traceback" in done.stderr) == (6, False)
    assert f"{nobodys.state} belongs to the user root, and this command runs as the user nobody" in done.stderr
    nobodys.state.chmod(0o777)  # where anybody may write, things of others are not used
    (nobodys.state / "logs").mkdir()
    done = nobodys("env.up")
    assert f"{nobodys.state}/logs belongs to the user root" in done.stderr, done.stderr
    assert everything(nobodys.state) in (["logs"], ["lock", "logs"])


@needs_root
def test_a_home_of_somebody_else_stops_nothing(nobodys: Own) -> None:
    del nobodys.environ["XDG_CACHE_HOME"]
    index = nobodys.folder / "home" / ".cache" / "localenv" / "checkouts"
    index.mkdir(parents=True)
    noted = {"root": "/root/app", "state_dir": "/root/app/.local", "ports": {}, "created": 1, "used": 1}
    (index / "app-012345.json").write_text(json.dumps(noted))
    for mode in (0o755, 0o711, 0o700):
        index.chmod(mode)
        for words in (("env.up",), ("env.list",), ("env.status",), ("doctor",), ("env.down",)):
            done = nobodys(*words, HOME=str(nobodys.folder / "home"))
            assert (done.code in (0, 4), "Traceback" in done.stderr) == (True, False), done.stderr


@needs_root
def test_root_makes_nothing_in_the_home_of_a_user(own: Own) -> None:
    del own.environ["XDG_CACHE_HOME"]
    home = own.folder / "home"
    home.mkdir()
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    for words in (("env.up",), ("env.list",), ("env.destroy", "--confirm", "cruddur")):
        assert own(*words, HOME=str(home)).code == 0
    assert everything(home) == []


# --- only what is ours


def test_a_folder_of_the_users_own_is_refused_before_anything_is_written(own: Own) -> None:
    for name in ("postgres", "logs", "snapshots", "run"):
        (own.state / name).mkdir(parents=True)
        (own.state / name / "mine.txt").write_text("mine")
    (own.state / "postgres" / "data").mkdir()
    (own.state / "postgres" / "data" / "PG_VERSION").write_text("17")
    (own.state / "logs" / "postgres.log").write_text("mine")
    before = everything(own.state)
    for words in (
        ("env.up",),
        ("initial-setup",),
        ("initial-setup", "--hook"),
        ("env.up", "--force"),
        ("env.restart",),
    ):
        done = own(*words)
        assert (done.code, "Traceback" in done.stderr) == (6, False), (words, done.stderr)
        said = done.stderr + done.stdout
        assert f"{own.state} has postgres, logs, run, snapshots, which this tool did not make" in said
        assert "LOCALENV_STATE_DIR" in said
    assert everything(own.state) == before
    for command in (("env.down",), ("env.destroy", "--confirm", "cruddur"), ("env.list",), ("env.status",)):
        done = own(*command)
        assert (done.code in (0, 4), "Traceback" in done.stderr) == (True, False), done.stderr
    assert everything(own.state) == before


@pytest.mark.parametrize("name", ["lock", "ports", "engine", "user_pool", "compose.json"])
def test_a_file_of_the_users_own_is_refused_and_not_touched(own: Own, name: str) -> None:
    own.state.mkdir()
    (own.state / name).write_text("a list of mine")
    done = own("env.up")
    assert (done.code, f"has {name}, which this tool did not make" in done.stderr) == (6, True), done.stderr
    own("env.destroy", "--confirm", "cruddur")
    assert {path.name: path.read_text() for path in own.state.iterdir()} == {name: "a list of mine"}


def test_a_link_is_never_followed(own: Own) -> None:
    elsewhere = own.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    own.state.mkdir()
    for name in ("emulator", "logs"):
        (own.state / name).symlink_to(elsewhere)
    done = own("env.up")
    assert (done.code, "has emulator, logs, which this tool did not make" in done.stderr) == (6, True), done.stderr
    (own.state / "emulator").unlink()
    (own.state / "logs").unlink()
    own.ok("env.up")
    (own.state / "logs" / "postgres.log.2").symlink_to(elsewhere)
    (own.state / "emulator" / "tmp" / "link").symlink_to(elsewhere)
    own.ok("env.destroy", "--confirm", "cruddur")
    assert everything(elsewhere) == ["mine.txt"]
    assert everything(own.state) == ["lock"]


def test_files_of_the_user_in_our_folders_are_kept_and_named(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")
    mine = [own.state / name / "mine.txt" for name in SNAPSHOTS]
    mine += [own.state / "snapshots" / "one" / "mine.txt", own.state / "notes.txt"]
    (own.state / "snapshots" / "archive").mkdir()
    mine.append(own.state / "snapshots" / "archive" / "manifest.old")
    for path in mine:
        path.write_text("mine")
    plan = own("env.destroy").stderr
    assert str(own.state / "emulator" / "dynamodb.json") in plan
    destroyed = own.ok("env.destroy", "--confirm", "cruddur")
    assert [path for path in mine if path.read_text() != "mine"] == []
    inside = [path for path in mine if path.parent not in (own.state, own.state / "snapshots" / "archive")]
    assert [path for path in inside if str(path) not in destroyed.stderr] == []
    left = {path for path in own.state.rglob("*") if path.is_file()}
    assert {path for path in left if path.name not in ("lock", "user_pool", ownership.MARK)} == set(mine)
    assert "nothing to remove" in own.ok("env.destroy", "--confirm", "cruddur").stderr
    own.ok("env.up")


def test_a_snapshot_that_goes_leaves_files_of_the_user(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")
    mine = own.state / "snapshots" / "one" / "mine.txt"
    mine.write_text("mine")
    own.ok("snapshot.save", "one", "--yes")
    assert "one" in own.ok("snapshot.list").stdout and mine.read_text() == "mine"
    own.ok("snapshot.restore", "one", "--yes")
    own.ok("snapshot.delete", "one", "--confirm", "one")
    assert own.ok("snapshot.list").stdout.startswith("no snapshots")
    assert (everything(mine.parent), mine.read_text()) == (["mine.txt"], "mine")


def test_an_empty_folder_of_the_users_is_used_and_stays(own: Own) -> None:
    (own.state / "logs").mkdir(parents=True)
    own.ok("env.up")
    own.ok("env.destroy", "--confirm", "cruddur")
    assert everything(own.state) == ["lock", "logs"]


def test_state_that_carries_no_marks_yet_can_be_destroyed(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")
    own.ok("env.down")
    for path in own.state.rglob(ownership.MARK):
        path.unlink()
    own.ok("env.destroy", "--confirm", "cruddur")
    assert everything(own.state) == ["lock", "user_pool"]


@needs_root
def test_a_mount_point_is_emptied_and_stays(own: Own) -> None:
    for name in ("emulator", "snapshots"):
        own.mount(own.state / name, "size=30m")
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")
    own.mount(own.state / "emulator" / "tmp" / "deep", "size=1m")
    done = own.ok("env.destroy", "--confirm", "cruddur")
    assert "Traceback" not in done.stderr
    left = ["emulator", f"emulator/{ownership.MARK}", "emulator/tmp", "emulator/tmp/deep"]
    assert everything(own.state) == [*left, "lock", "snapshots", "user_pool"]
    own.ok("env.up")


def test_a_gone_checkouts_command_removes_only_what_is_ours(own: Own, tmp_path: Path) -> None:
    own.ok("env.up")
    mine = own.state / "emulator" / "mine.txt"
    mine.write_text("mine")
    index = own.folder / "cache" / "localenv" / "checkouts" / f"{own.settings.project_id}.json"
    noted = json.loads(index.read_text())
    own.ok("env.down")
    index.write_text(json.dumps({**noted, "root": str(tmp_path / "gone")}))
    other = Own(own.folder, environment(own.folder / "other"))
    rows = json.loads(other.ok("env.list", "--format", "json").stdout)["data"]
    (row,) = [row for row in rows if row["project_id"] == own.settings.project_id]
    subprocess.run(["/bin/sh", "-c", row["remove"]], check=True)
    assert mine.read_text() == "mine"
    assert not (own.state / "emulator" / "token").exists() and not find_home(own.settings).data.exists()


# --- full and read-only disks


FREEING = (
    ("snapshot.delete", "one", "--confirm", "one"),
    ("env.restart",),
    ("env.down",),
    ("env.down",),
    ("env.destroy", "--confirm", "cruddur"),
)


@needs_root
@pytest.mark.parametrize("user", ["", "nobody"])
def test_on_a_full_disk_what_frees_space_works(own: Own, user: str) -> None:
    _on_small_disk(own, user, "size=90m")
    for words in FREEING:
        fill(own.state)
        done = own(*words)
        assert (done.code, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
    assert everything(own.state) == ["filler", "lock", "user_pool"]
    assert servers(own) == []


@needs_root
@pytest.mark.parametrize("user", ["", "nobody"])
def test_without_an_inode_left_what_frees_space_works(own: Own, user: str) -> None:
    _on_small_disk(own, user, "size=150m,nr_inodes=3000")
    for words in FREEING:
        fill_with_files(own.state)
        done = own(*words)
        assert (done.code, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
    assert [path for path in everything(own.state) if "filler" not in path] == ["lock", "user_pool"]


def _on_small_disk(own: Own, user: str, options: str) -> None:
    own.user = user
    owner = pwd.getpwnam(user or "root")
    os.chown(own.folder, owner.pw_uid, owner.pw_gid)
    own.mount(own.state, f"{options},uid={owner.pw_uid},gid={owner.pw_gid},mode=755")
    own.ok("initial-setup")
    own.ok("snapshot.save", "one")


@needs_root
@pytest.mark.parametrize("user", ["", "nobody"])
def test_on_a_disk_that_became_read_only_the_servers_can_be_stopped(own: Own, user: str) -> None:
    _on_small_disk(own, user, "size=150m")
    # Over itself: what is open for writing stays so.
    subprocess.run(["mount", "--bind", own.state, own.state], check=True)
    own.mounts.append(own.state)
    subprocess.run(["mount", "-o", "remount,bind,ro", own.state], check=True)
    assert own("env.status").code == 0
    done = own("env.down")
    assert (done.code, servers(own), "Traceback" in done.stderr) == (0, [], False), done.stderr
    done = own("env.destroy", "--confirm", "cruddur")
    assert (done.code, "read-only file system" in done.stderr, "Traceback" in done.stderr) == (6, True, False)
    subprocess.run(["umount", own.state], check=True)


# --- servers whose state folder is gone


def test_servers_whose_folder_was_removed_are_listed_and_stopped(own: Own) -> None:
    own.ok("env.up")
    (pid,) = [pid for pid in servers(own) if "postgres" in Path(f"/proc/{pid}/cmdline").read_text()]
    shutil.rmtree(own.state)
    assert f"pid {pid}" in own("env.status").stdout
    assert re.search(rf"kill [\d ]*\b{pid}\b", own.ok("env.list").stdout)
    assert f"PostgreSQL (pid {pid}), which runs although its state folder is gone" in own("env.destroy").stderr
    down = own.ok("env.down")
    assert f"PostgreSQL (pid {pid}) stopped: its state folder was gone" in down.stderr
    assert servers(own) == []
    assert "not running" in own.ok("env.down").stderr


@pytest.mark.parametrize("lose", ["removed", "moved", "replaced"])
def test_env_up_heals_a_state_folder_that_is_not_that_of_the_servers(own: Own, lose: str) -> None:
    own.ok("env.up")
    before = servers(own)
    if lose == "removed":
        shutil.rmtree(own.state)
    else:
        own.state.rename(own.folder / "moved")
    if lose == "replaced":
        shutil.copytree(own.folder / "moved", own.state, symlinks=True)
    up = own.ok("env.up")
    assert "stopped: its state folder was gone" in up.stderr
    assert not set(servers(own)) & set(before)
    assert own.ok("env.status").stdout.count("running") == 3
    own.ok("env.down")
    assert servers(own) == []


def test_destroy_ends_servers_whose_folder_was_removed(own: Own) -> None:
    own.ok("env.up")
    shutil.rmtree(own.state)
    own.ok("env.destroy", "--confirm", "cruddur")
    assert servers(own) == []
    assert engines.owned_resources(own.settings) == []


def test_env_list_finds_a_server_that_no_index_knows(own: Own) -> None:
    own.ok("env.up")
    shutil.rmtree(own.state)
    shutil.rmtree(own.folder / "cache")
    other = Own(own.folder, environment(own.folder / "other"))
    listed = json.loads(other.ok("env.list", "--format", "json").stdout)["data"]
    (row,) = [row for row in listed if row["project_id"] == own.settings.project_id]
    assert (row["state"], row["remove"].startswith("kill ")) == ("running", True)


def test_a_program_that_only_names_ours_is_left_alone(own: Own) -> None:
    """A pid in a note, and the words of our command line, may be anybody's."""
    own.ok("env.up")
    own.ok("env.down")
    words = [f"cluster_name={own.settings.project_id}", str(own.state / "emulator"), "--state", "sleep"]
    with subprocess.Popen(["/bin/sh", "-c", "read -r line", *words], stdin=subprocess.PIPE) as stranger:
        for program in ("postgres", "emulator"):
            (own.state / "run" / program).write_text(f"{stranger.pid}\nsome version\n")
        for command in (("env.down",), ("env.up",), ("env.restart",), ("env.destroy", "--confirm", "cruddur")):
            own.ok(*command)
        shutil.rmtree(own.state)
        own.ok("env.down")
        assert stranger.poll() is None
        stranger.communicate()


@needs_root
def test_data_outside_come_along_with_a_state_folder_that_is_moved_or_copied(own: Own) -> None:
    own.ok("initial-setup")
    own.ok("env.down")
    for number in range(2):
        there = own.folder / f"there{number}"
        shutil.copytree(own.state, there) if number == 0 else own.state.rename(there)
        other = Own(own.folder, {**environment(there), "XDG_CACHE_HOME": own.environ["XDG_CACHE_HOME"]})
        setup = other.ok("initial-setup")
        assert "which came with the folder" in setup.stderr and "skip  db.setup" in setup.stderr, setup.stderr
        assert find_home(own.settings).data.exists() == (number == 0)
        other.ok("env.destroy", "--confirm", "cruddur")
