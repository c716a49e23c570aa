"""No secret goes out: every task is run along failing paths with secrets planted, and all that it wrote is searched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tasks import ns
from tasks._graph import Step
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings.variables import VARIABLES
from tests.support.answers import answer, faults
from tests.support.environments import environment, inv, reachable

pytestmark = pytest.mark.reliability("secrets")

PIECES = ("Kq7Vx", "Zw9Rt", "Lm3Np", "Bd5Hs")
PASSWORD = "/".join(PIECES[:2]) + "#" + "?".join(PIECES[2:])
"""Each piece of it is one that no other text has, so that a part of the password is noticed as well as all of it."""
OPEN = f"postgresql://postgres:{PASSWORD}@localhost:5432/cruddur"
CLOSED = "postgresql://postgres:{}@localhost:{}/cruddur"
PLANTED = {
    "PROD_CONNECTION_URL": f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:1/cruddur?sslmode=disable",
    "PROD_READ_CONNECTION_URL": f"postgresql://reader:{quote(PASSWORD, safe='')}@127.0.0.1:1/cruddur",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": f"secret-{PIECES[0]}",
    "AWS_SESSION_TOKEN": f"token+{PIECES[1]}/{PIECES[2]}",
    "PGPASSWORD": f"pg '{PIECES[3]}'",
    "LOCALENV_CHECKIP_URL": f"https://{PIECES[0]}user:{PIECES[1]}@127.0.0.1:1/?apikey={PIECES[2]}",
    "HTTPS_PROXY": f"http://{PIECES[2]}proxy:{PIECES[3]}@127.0.0.1:1",
    "GITHUB_ACTIONS": "true",
    "DB_SG_ID": "sg-0a1b2c3d4e5f67890",
    "DB_SG_RULE_ID": "sgr-0a1b2c3d4e5f67890",
    "PROD_AWS_ACCOUNT_ID": "123456789012",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
WORDS = {
    "cognito.set-password": ["bayko"],
    "cognito.token": ["bayko"],
    "db.dump": ["--file", "/dev/null"],
    "db.load": ["/dev/null", "--table", "users"],
    "db.new-migration": ["a/b"],
    "db.rollback": ["--confirm", "cruddur"],
    "exec": ["--", "true"],
    "db.query": ["select 1 / 0"],
    "ddb.query": ["SELECT * FROM nowhere"],
    "why": ["andrewbrown"],
    "completion": ["bash"],
    "snapshot.save": ["one", "--yes"],
    "snapshot.restore": ["one", "--yes"],
    "snapshot.delete": ["one", "--confirm", "one"],
    "snapshot.switch": ["feat"],
    "snapshot.hook": ["--plan"],
    "ddb.list-conversations": ["--as", "andrewbrown"],
    "ddb.get-conversation": ["--as", "andrewbrown", "--with", "bayko"],
    "ddb.send-message": ["--as", "andrewbrown", "--to", "bayko", "--text", "Hello"],
    "ddb.import": ["/dev/null"],
    "ddb.stream": ["--once"],
    "env.destroy": ["--confirm", "cruddur"],
    "rds.update-sg-rule": ["--description", "x"],
}
PRINTS_THEM = ("env.export",)
"""What it is for: its result, and that alone, has the password."""
ENDS_IT = ("env.destroy",)
"""What would leave the others nothing to look at."""

TASKS = {name: ns[name] for name in ns.task_names if isinstance(ns[name], Step)}


FORMATS = ("text", "json")


def words_of(name: str, form: str) -> list[str]:
    task, *behind = [name, *WORDS.get(name, [])]
    return [task, *(["--format", "json"] if form == "json" else []), *behind]


def leaks(text: str) -> list[str]:
    """Name the lines of a text that have a piece of a secret."""
    lines = text.lower().splitlines()
    return [line for line in lines if any(piece.lower() in line for piece in PIECES)]


def leaking_files(folder: Path) -> list[str]:
    """Name the files below a folder that have a piece of a secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if any(piece.encode() in path.read_bytes() for piece in PIECES)]


@dataclass
class Watched:
    """What a command wrote, of it what went to stdout, and the environment's command lines while it ran."""

    text: str
    stdout: str
    processes: set[str]


def watched(*words: str, environ: dict[str, str]) -> Watched:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), *words]
    process = subprocess.Popen(
        command,
        env={**kept, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: set[str] = set()
    while True:
        try:
            stdout, stderr = process.communicate(timeout=0.05)
            return Watched(stdout + stderr, stdout, seen)
        except subprocess.TimeoutExpired:
            seen |= set(_command_lines(environ["LOCALENV_STATE_DIR"]))


def _command_lines(state_dir: str) -> Iterator[str]:
    """Give the command lines of an environment's processes: others run tests beside this one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if state_dir in line or state_dir.encode() in (folder / "environ").read_bytes():
                yield line
        except OSError:
            continue


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", TASKS)
def test_no_part_of_a_password_is_shown_where_the_settings_cannot_be_read(name: str, form: str, tmp_path: Path) -> None:
    environ = {**environment(tmp_path / "state"), **PLANTED, "CONNECTION_URL": OPEN}
    done = inv(*words_of(name, form), environ=environ)
    assert form == "text" or (faults(name, done.stdout), _code(done.stdout)) == ([], done.code)
    assert leaks(done.stdout + done.stderr) == []
    assert "Traceback" not in done.stderr
    reads_none = name in ("completion", "doctor", "init")  # they work where .env is what is wrong
    assert reads_none or (done.code, "CONNECTION_URL in the environment" in done.stderr) == (2, True)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", [name for name in TASKS if not TASKS[name].local_only])
def test_no_secret_of_production_is_shown_where_it_cannot_be_reached(name: str, form: str, tmp_path: Path) -> None:
    done = inv(*words_of(name, form), "--target", "prod", environ={**environment(tmp_path / "state"), **PLANTED})
    assert leaks(done.stdout + done.stderr) == []
    assert "Traceback" not in done.stderr
    assert leaking_files(tmp_path) == []
    assert form == "text" or (faults(name, done.stdout), _code(done.stdout)) == ([], done.code)


def _code(stdout: str) -> int:
    return int((answer(stdout)["error"] or {"code": 0})["code"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment whose database has a password that no text has."""
    environ = {**environment(reachable(tmp_path_factory.mktemp("secret")) / "state"), **PLANTED}
    port = environ["CONNECTION_URL"].rpartition(":")[2].partition("/")[0]
    environ["CONNECTION_URL"] = CLOSED.format(quote(PASSWORD, safe=""), port)
    made = inv("initial-setup", environ=environ)
    assert (made.code, leaks(made.stdout + made.stderr)) == (0, [])
    yield environ
    inv("env.destroy", "--confirm", "cruddur", environ=environ)


def test_no_secret_is_shown_or_kept_where_everything_works(running: dict[str, str], tmp_path: Path) -> None:
    for words in (["snapshot.save", "one"], ["snapshot.save", "two", "--file", str(tmp_path / "two.tar")]):
        assert leaks(inv(*words, environ=running).stderr) == []
    quiet = [name for name in TASKS if TASKS[name].effect.reads and name not in PRINTS_THEM]
    for name in quiet:
        seen = watched(*words_of(name, "json"), environ=running)
        assert (name, leaks(seen.text), leaks("\n".join(seen.processes))) == (name, [], [])
        assert (name, faults(name, seen.stdout)) == (name, [])
    for name in (name for name in TASKS if not TASKS[name].effect.reads and name not in ENDS_IT):
        done = inv(*words_of(name, "json"), environ=running)
        assert (name, leaks(done.stdout + done.stderr), faults(name, done.stdout)) == (name, [], [])
    assert leaking_files(Path(running["LOCALENV_STATE_DIR"])) == []
    assert leaking_files(tmp_path) == []


def test_a_wrong_password_is_not_shown(running: dict[str, str]) -> None:
    port = running["CONNECTION_URL"].rpartition(":")[2].partition("/")[0]
    wrong = {**running, "CONNECTION_URL": CLOSED.format(quote(f"{PIECES[1]} {PIECES[0]}", safe=""), port)}
    for name in ("db.query", "db.sessions", "status", "check", "env.status"):
        seen = watched(*words_of(name, "json"), environ=wrong)
        assert (name, leaks(seen.text), leaks("\n".join(seen.processes))) == (name, [], [])


def test_the_hook_shows_and_keeps_no_secret(tmp_path: Path) -> None:
    environ = {**environment(tmp_path / "state"), **PLANTED, "CONNECTION_URL": OPEN}
    done = inv("initial-setup", "--hook", environ=environ)
    assert (done.code, leaks(done.stdout + done.stderr), leaking_files(tmp_path)) == (2, [], [])
    environ["CONNECTION_URL"] = CLOSED.format(quote(PASSWORD, safe=""), 1)  # only root may listen there, nobody will
    environ["LOCALENV_ENGINE"] = "docker"
    environ["DOCKER_HOST"] = f"tcp://{PIECES[0]}:{PIECES[1]}@127.0.0.1:1"
    environ["LOCALENV_HOOK_WAIT_S"] = "1"
    done = inv("initial-setup", "--hook", environ=environ)
    assert (done.code != 0, leaks(done.stdout + done.stderr), leaking_files(tmp_path)) == (True, [], [])


def test_export_prints_the_password_by_purpose_and_exactly(running: dict[str, str]) -> None:
    for form in ("shell", "dotenv", "json"):
        done = inv("env.export", "--format", form, environ=running)
        assert (quote(PASSWORD, safe="") in done.stdout, leaks(done.stderr)) == (True, [])
    assert faults("env.export", done.stdout) == []
    assert quote(PASSWORD, safe="") in answer(done.stdout)["data"]["CONNECTION_URL"]


def test_every_secret_variable_is_planted() -> None:
    secret = {variable.name for variable in VARIABLES if variable.secret}
    assert secret - {"CONNECTION_URL"} <= set(PLANTED)


def test_the_lock_tells_others_no_secret_that_was_typed(tmp_path: Path) -> None:
    environ = {**environment(tmp_path / "state"), "PGPASSWORD": f"typed-{PIECES[0]}"}
    inv("ddb.drop", "--table", f"typed-{PIECES[0]}", "--yes", environ=environ)
    assert leaking_files(tmp_path) == []
    inv("env.destroy", "--confirm", "cruddur", environ=environ)
