"""initial-setup --hook: its one line, its log and its exit code, beside itself, cut short, and after a restart."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.localenv import engines
from tasks.localenv.checkout.lock import ProjectLock
from tasks.localenv.engines import emulator
from tasks.localenv.engines.embedded import postgres as embedded_postgres
from tasks.localenv.engines.embedded.home import Home, find_home
from tasks.localenv.engines.state import Choice, keep_choice
from tasks.localenv.environment import hook
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import PATIENCE_S, Finished, environment, inv, permitted
from tests.support.seeded import quiet

Run = Callable[..., Finished]
DONE = ["env.up", "cognito.seed", "ddb.schema-load", "db.setup", "cognito.sync-ids", "ddb.seed", "check"]
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ")


@pytest.fixture
def shared(live: Settings, database: Settings, fresh: Settings) -> Settings:
    """The running environment of the other tests, with a database and a table of its own."""
    return replace(live, postgres=database.postgres, message_table=fresh.message_table)


@pytest.fixture
def variables(live_environment: dict[str, str], shared: Settings) -> dict[str, str]:
    """The variables of `shared`."""
    own = {"CONNECTION_URL": shared.postgres.url(masked=False), "DDB_MESSAGE_TABLE": shared.message_table}
    return {**live_environment, **own}


@pytest.fixture
def run(variables: dict[str, str], tmp_path: Path) -> Run:
    """Run `inv initial-setup --hook` against `shared`."""
    return lambda *words, **more: inv("initial-setup", "--hook", *words, environ={**variables, **more}, cwd=tmp_path)


@pytest.fixture
def own() -> Iterator[dict[str, str]]:
    """The variables of an environment that does not exist yet, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="localenv-") as folder:
        Path(folder).chmod(0o711)
        environ = environment(Path(folder) / "state")
        yield environ
        engines.destroy(read_settings(environ=environ), quiet)


def start(environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start the hook and go on."""
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "initial-setup", "--hook"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def did(output: str) -> list[str]:
    """Name the steps that ran, in order."""
    return re.findall(r"^ok +([\w.-]+)", output, re.MULTILINE)


def log_of(environ: dict[str, str]) -> str:
    return (Path(environ["LOCALENV_STATE_DIR"]) / "logs" / "initial-setup.log").read_text()


def addresses(settings: Settings) -> str:
    assert settings.dynamodb and settings.cognito
    return (
        f"postgres 127.0.0.1:{settings.postgres.port}, dynamodb 127.0.0.1:{settings.dynamodb.port}, "
        f"cognito 127.0.0.1:{settings.cognito.port}"
    )


def test_it_ends_with_one_line_and_the_log_has_everything_with_its_time(
    run: Run, shared: Settings, variables: dict[str, str]
) -> None:
    first = run()
    assert first.code == 0, first.stderr
    assert re.sub(r"\d+\.\d+s", "Ns", first.stdout) == f"localenv: ready in Ns (embedded): {addresses(shared)}\n"
    logged = log_of(variables).splitlines()
    assert [line for line in logged if not LOG_LINE.match(line)] == []
    said = [LOG_LINE.sub("", line) for line in logged]
    assert said[1:-1] == first.stderr.splitlines()
    assert re.fullmatch(rf"inv initial-setup --hook, pid \d+, in {re.escape(str(TOOL))}, engine embedded", said[0])
    assert said[-1] == f"{first.stdout.strip()} (exit code 0)"
    again = run("--force")
    assert (again.code, sorted(set(DONE) - {"env.up"} - set(did(again.stderr)))) == (0, []), again.stderr
    third = run()
    assert (third.code, did(third.stderr)) == (0, ["check", "initial-setup"])


def test_data_that_differ_are_reported_and_kept(run: Run, shared: Settings, variables: dict[str, str]) -> None:
    assert run().code == 0
    with connect(shared.postgres) as connection:
        connection.execute("UPDATE localenv.applied SET sha256 = 'x' WHERE path = 'sql/schema.sql'")
        connection.execute("UPDATE users SET display_name = 'mine' WHERE handle = 'londo'")
    done = run()
    assert done.code == 3
    assert re.fullmatch(
        rf"localenv: FAILED db\.setup: database {shared.postgres.database} is kept as it is: sql/schema\.sql changed "
        r"since.* \(see /\S+/logs/initial-setup\.log, run `inv db\.setup`\)\n",
        done.stdout,
    )
    assert log_of(variables).endswith("(exit code 3)\n")
    with connect(shared.postgres) as connection:
        assert connection.execute("SELECT display_name FROM users WHERE handle = 'londo'").fetchone() == ("mine",)


def test_a_wrong_setting_is_the_verdict(run: Run) -> None:
    done = run(LOCALENV_HOOK_WAIT_S="soon")
    what = "LOCALENV_HOOK_WAIT_S in the environment: 'soon' is not a whole number of seconds"
    assert done == Finished(2, f"localenv: FAILED {what} (run `inv initial-setup`)\n", "")


def test_a_folder_that_cannot_be_made_is_the_verdict(run: Run) -> None:
    done = run(LOCALENV_STATE_DIR="/dev/null/state")
    assert (done.code, done.stdout) == (
        6,
        "localenv: FAILED /dev/null/state: not a directory; run the command as the owner of that folder, or set "
        "LOCALENV_STATE_DIR to a folder of yours (run `inv initial-setup`)\n",
    )


def test_the_time_it_takes_is_bounded_and_what_was_running_is_named(
    run: Run, shared: Settings, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock jumps once the command waits, however long that has taken."""
    heard: list[str] = []

    def clock() -> float:
        return time.monotonic() + (1000 if any("waiting for `inv db.seed`" in line for line in heard) else 0)

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hook, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    other = ProjectLock(shared.state_dir)
    other.acquire("inv db.seed", quiet)
    try:
        verdict = hook.run("", (), heard.append, heard.append)
    finally:
        other.release()
    assert verdict.code == 5
    assert re.fullmatch(
        r"localenv: FAILED not ready after 600 s; not finished: .*db\.setup, .*initial-setup "
        r"\(see \S+, run `inv initial-setup`\)",
        verdict.line,
    )
    monkeypatch.undo()
    assert run().code == 0


@pytest.mark.reliability("crowds")
def test_of_two_at_once_one_does_the_work_and_both_end_well(variables: dict[str, str], tmp_path: Path) -> None:
    hooks = [start(variables), start(variables)]
    typed = inv("ddb.seed", environ=variables, cwd=tmp_path)
    ended = [(process, *process.communicate(timeout=PATIENCE_S)) for process in hooks]
    assert [process.returncode for process, _, _ in ended] == [0, 0], ended
    assert typed.code == 0, typed.stderr
    assert all(out.startswith("localenv: ready in ") for _, out, _ in ended)
    steps = [name for said in (typed.stderr, *(err for _, _, err in ended)) for name in did(said)]
    once = ("db.setup", "ddb.schema-load", "ddb.seed")
    assert [name for name in sorted(steps) if name in once] == [*once]


def lines_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr
    assert any(word in line for line in process.stderr), f"{word} was never said"


@pytest.mark.reliability("kills")
def test_killed_it_is_repaired_by_the_next_one(run: Run, variables: dict[str, str]) -> None:
    for word in ("ddb.schema-load", "db.setup"):
        process = start(variables)
        lines_until(process, word)
        process.kill()
        process.communicate()
    done = run()
    assert (done.code, done.stdout[:18]) == (0, "localenv: ready in"), done.stderr
    assert did(run().stderr) == ["check", "initial-setup"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_ends_it_ends_the_command_too(shared: Settings, variables: dict[str, str], number: signal.Signals) -> None:
    other = ProjectLock(shared.state_dir)
    other.acquire("inv db.seed", quiet)
    try:
        process = start(variables)
        lines_until(process, "waiting for `inv db.seed`")
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        other.release()
    assert process.returncode == 130
    assert out.startswith("localenv: FAILED interrupted (see ")
    other.acquire("inv db.seed", pytest.fail)  # the command does not hold it either
    other.release()


def test_the_exit_code_is_true_when_nobody_reads(run: Run, variables: dict[str, str]) -> None:
    script = '"$@" 2>&1 | :; echo "${PIPESTATUS[0]}"'
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "initial-setup", "--hook"]
    environ = {"PATH": os.environ["PATH"], **variables}
    codes = []
    for more in ({}, {"LOCALENV_HOOK_WAIT_S": "soon"}):
        done = subprocess.run(
            ["bash", "-c", script, "bash", *command],
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        codes.append(done.stdout.strip())
    assert codes == ["0", "2"]
    assert did(run().stderr) == ["check", "initial-setup"]


def heard(text: str) -> hook.Output:
    found = hook.Output()
    for line in text.splitlines():
        found.add(line)
    return found


@pytest.mark.parametrize(
    ("code", "said", "verdict"),
    [
        pytest.param(
            3,
            "ok    env.up    0.50s  up\n"
            "FAIL  db.setup  database x is kept as it is\n"
            "                | evidence\n"
            "      hint      run `./inv db.setup`: it builds beside, and `./inv db.undo` goes back\n"
            "FAIL  ddb.seed  another one\n"
            "      hint      run `./inv db.reset`\n"
            "      not run   check, initial-setup\n",
            (3, "db.setup: database x is kept as it is", "./inv db.setup"),
            id="the first failure, with the command of its hint",
        ),
        pytest.param(
            2,
            "FAIL  db.setup  a:1:2: bad\n      hint      did you mean 'b'?",
            (2, "db.setup: a:1:2: bad", ""),
            id="hint",
        ),
        pytest.param(1, "Traceback\n  File\nKeyError: 'x'\n\n", (1, "KeyError: 'x'", ""), id="a fault of the program"),
        pytest.param(-9, "ok    env.up  up", (1, "ended by SIGKILL; last: ok    env.up  up", ""), id="killed"),
        pytest.param(1, "", (1, "no output", ""), id="nothing"),
    ],
)
def test_a_failure_is_told_in_one_line(tmp_path: Path, code: int, said: str, verdict: tuple[int, str, str]) -> None:
    log = hook.Log.begin(tmp_path)
    number, what, command = verdict
    assert hook.command_failure(code, heard(said), log) == hook.Verdict(
        number,
        f"localenv: FAILED {' '.join(what.split())} (see {log.link}, run `{command or 'inv initial-setup'}`)",
    )


def test_the_last_five_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "postgres.log").touch()
    old = [folder / f"initial-setup-2999{number:04}-100000-1.log" for number in range(7)]
    for path in old:
        path.touch()
    log = hook.Log.begin(folder)
    log.write("hello")
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"postgres.log", "initial-setup.log", log.path.name, *(path.name for path in old[-4:])}
    assert log.shown == folder / "initial-setup.log"
    log.link.unlink()
    log.link.symlink_to(old[-1].name)  # a later run
    assert log.shown == log.path


# --- Docker that comes late, or never ---------------------------------------------------------------------------------


class Version(http.server.BaseHTTPRequestHandler):
    """Answers as a Docker engine does when it is asked for its version."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"Version": "28.5.2"}')

    def address_string(self) -> str:
        return "a unix socket"

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def docker_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A `docker` on PATH, and DOCKER_HOST at a socket that is not there yet; gives the socket."""
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # a socket's path has 107 bytes at most
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder / 's'}")
    yield folder / "s"
    shutil.rmtree(folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of nothing that runs, with the engine left open."""
    return permitted(
        read_settings(root=tmp_path, environ={"LOCALENV_HOOK_WAIT_S": "30", "LOCALENV_SERVICES": "postgres"})
    )


def test_a_docker_engine_that_starts_late_is_waited_for(docker_program: Path, settings: Settings) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:  # now it waits
            threading.Thread(target=server.serve_forever, daemon=True).start()
            server.server_bind()
            server.server_activate()

    server = socketserver.ThreadingUnixStreamServer(str(docker_program), Version, bind_and_activate=False)
    try:
        assert hook.await_docker(settings, say) == ""
    finally:
        server.shutdown()
        server.server_close()
    assert said[0].startswith("localenv: waiting up to 30 s for Docker: the Docker engine is not running: ")
    assert re.fullmatch(r"localenv: Docker answered after \d+\.\ds", said[1].replace(" s", "s"))


def test_a_docker_engine_that_never_comes_is_waited_for_no_longer_than_said(
    docker_program: Path, settings: Settings
) -> None:
    said: list[str] = []
    started = time.monotonic()
    absent = hook.await_docker(replace(settings, hook_wait_s=1), said.append)
    assert (absent, len(said)) == ("no Docker engine answered within 1 s", 1)
    assert time.monotonic() - started >= 1


@pytest.mark.usefixtures("docker_program")
def test_nothing_is_waited_for_where_docker_is_not_wanted(settings: Settings) -> None:
    assert hook.await_docker(replace(settings, engine="embedded"), pytest.fail) == ""
    keep_choice(settings.state_dir, Choice("embedded", "it was here first"))
    assert hook.await_docker(settings, pytest.fail) == ""


def test_nothing_is_waited_for_where_docker_cannot_come(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.await_docker(settings, pytest.fail) == ""
    monkeypatch.undo()
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    assert hook.await_docker(settings, pytest.fail) == ""


def test_without_docker_it_goes_on_embedded_and_says_so_also_where_docker_was_before(
    own: dict[str, str], docker_program: Path
) -> None:
    settings = permitted(read_settings(environ=own))
    keep_choice(settings.state_dir, Choice("docker", "Docker answered"))
    environ = {**own, "LOCALENV_ENGINE": "auto", "LOCALENV_HOOK_WAIT_S": "1", "PATH": os.environ["PATH"]}
    environ["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
    done = inv("initial-setup", "--hook", environ=environ)
    assert done.code == 0, done.stderr
    expected = f"(embedded, no Docker engine answered within 1 s): {addresses(settings)}\n"
    assert done.stdout.partition("s ")[2] == expected
    assert "the data in the containers stay as they are" in done.stderr
    again = inv("initial-setup", "--hook", environ=environ)
    assert (again.code, "waiting" in again.stderr, did(again.stderr)) == (0, False, ["check", "initial-setup"])


# --- After a restart of the workspace ---------------------------------------------------------------------------------


def end_all(settings: Settings, how: signal.Signals) -> None:
    """End every process of the environment, as a machine does that is stopped (SIGTERM) or switched off (SIGKILL)."""
    for daemon in (embedded_postgres.make_daemon(settings), emulator.make_daemon(settings)):
        daemon.stop(how)


def test_after_a_restart_it_brings_back_what_is_lost(own: dict[str, str]) -> None:
    settings = permitted(read_settings(environ=own))
    assert inv("initial-setup", "--hook", environ=own).code == 0

    def restart(how: signal.Signals, lose: Callable[[], object]) -> set[str]:
        end_all(settings, how)
        lose()
        done = inv("initial-setup", "--hook", environ=own)
        assert done.code == 0, done.stderr
        return {name for name in did(done.stderr) if name not in ("check", "initial-setup")}

    home = find_home(settings)
    with stranger(home.data.stat().st_uid) as pid:
        again = restart(signal.SIGKILL, lambda: give_pids_away(settings, pid))
        assert {"env.up", "db.setup"} & again == {"env.up"}
        os.kill(pid, 0)  # it was left alone
    again = restart(signal.SIGTERM, lambda: shutil.rmtree(home.base))
    assert again == {"env.up", "db.setup", "cognito.sync-ids"}
    again = restart(signal.SIGTERM, lambda: shutil.rmtree(settings.state_dir / "emulator"))
    assert again == {"env.up", "cognito.seed", "cognito.sync-ids", "ddb.schema-load", "ddb.seed"}
    again = restart(signal.SIGTERM, lambda: lose_all(home, settings))
    assert again == set(DONE) - {"check"}
    assert did(inv("initial-setup", "--hook", environ=own).stderr) == ["check", "initial-setup"]


def lose_all(home: Home, settings: Settings) -> None:
    for folder in {home.base, settings.state_dir}:  # for root the one is not in the other
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def stranger(user: int) -> Iterator[int]:
    """A process of the user who runs the database server; gives its pid."""
    process = subprocess.Popen(["sleep", "600"], user=user if os.geteuid() == 0 else None)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def give_pids_away(settings: Settings, pid: int) -> None:
    """Let every note of a pid name a process that got the same number since."""
    notes = [*(settings.state_dir / "run").iterdir(), find_home(settings).data / "postmaster.pid"]
    for note in notes:
        _, *rest = note.read_text().split("\n")
        with note.open("r+") as file:
            file.truncate()
            file.write("\n".join([str(pid), *rest]))
