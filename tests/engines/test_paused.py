"""Servers that are paused (SIGSTOP): every look names them at once, and every start lets them go on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.errors import LocalEnvError, TimedOut
from tasks.localenv.machine import waiting
from tasks.localenv.machine.ports import paused_among
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.seeded import fill

pytestmark = pytest.mark.reliability("faults")

Pause = Callable[[int], None]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a filled environment."""
    found = environment(reachable(tmp_path_factory.mktemp("paused")) / "state")
    settings = permitted(read_settings(environ=found))
    engines.up(settings, print)
    fill(settings)
    yield found
    engines.destroy(settings, print)


@pytest.fixture
def filled(environ: dict[str, str]) -> Settings:
    """The settings of the filled environment, which is up."""
    settings = permitted(read_settings(environ=environ))
    engines.up(settings, print)
    return settings


@pytest.fixture
def pause() -> Iterator[Pause]:
    """Pause a process with `pause(pid)`; afterwards all go on."""
    paused: list[int] = []

    def stop(pid: int) -> None:
        paused.append(pid)
        os.kill(pid, signal.SIGSTOP)
        end = time.monotonic() + 20
        while pid not in paused_among(pid):
            assert time.monotonic() < end, "it was not paused in time"
            time.sleep(0.01)

    yield stop
    for pid in paused:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue


def pid_of(settings: Settings, program: str) -> int:
    return int((settings.state_dir / "run" / program).read_text().split()[0])


def run(environ: dict[str, str], *words: str) -> Finished:
    done = inv(*words, environ=environ)
    assert "Traceback" not in done.stderr + done.stdout
    return done


VICTIMS = {"postgres": ["postgres"], "emulator": ["dynamodb", "cognito"]}
LOOKS = (("env.status", 4), ("status", 4), ("doctor", 0), ("env.list", 0))


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize(("command", "code"), LOOKS)
def test_a_look_names_a_paused_server(
    environ: dict[str, str], filled: Settings, pause: Pause, victim: str, command: str, code: int
) -> None:
    pid = pid_of(filled, victim)
    pause(pid)
    done = run(environ, command)
    assert done.code == code, done.stderr
    assert "waiting for" not in done.stderr
    if command == "env.list":
        assert " paused " in done.stdout
    else:
        assert f"pid {pid} (" in done.stdout
        assert "is paused; `inv env.up` resumes it" in done.stdout
    assert paused_among(pid) == [pid], "a look changes nothing"


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("command", ["env.up", "check", "db.query SELECT-1", "ddb.scan", "initial-setup --hook"])
def test_a_start_lets_a_paused_server_go_on(
    environ: dict[str, str], filled: Settings, pause: Pause, victim: str, command: str
) -> None:
    pid = pid_of(filled, victim)
    pause(pid)
    done = run(environ, *(word.replace("-1", " 1") for word in command.split(" ")))
    assert done.code == 0, done.stderr
    name = {"postgres": "PostgreSQL", "emulator": "the AWS emulator"}[victim]
    log = filled.state_dir / "hook.log"
    said = done.stderr + (log.read_text() if "hook" in command and log.exists() else "")
    assert f"{name}: pid {pid} (" in said
    assert "is paused; resuming" in said
    assert {state.status for state in engines.look(filled)} == {"running"}
    assert pid_of(filled, victim) == pid


def test_one_paused_session_is_named_and_goes_on(environ: dict[str, str], filled: Settings, pause: Pause) -> None:
    with closing(connect(filled.postgres, autocommit=True)) as connection:
        pid = connection.info.backend_pid
        pause(pid)
        state = engines.look(filled)[0]
        assert (state.status, state.detail.startswith(f"pid {pid} (postgres: ")) == ("failed", True)
        assert run(environ, "env.status").code == 4
        assert run(environ, "env.up").code == 0
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("program", VICTIMS)
def test_a_paused_server_is_stopped_in_order_and_keeps_its_data(
    environ: dict[str, str], filled: Settings, pause: Pause, program: str
) -> None:
    pause(pid_of(filled, program))
    assert run(environ, "env.down").code == 0
    states = engines.look(filled)
    assert [(state.status, state.detail) for state in states] == [("stopped", "")] * 3, "killed, and not asked to end"
    assert run(environ, "env.up").code == 0
    assert run(environ, "check").code == 0


def test_a_server_that_is_paused_in_the_middle_is_named_while_it_is_waited_for_and_in_the_end(
    filled: Settings, pause: Pause, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.localenv.dynamodb.client import connect as dynamodb

    monkeypatch.setattr("tasks.localenv.aws.wire.CALL_S", 1.0)
    monkeypatch.setattr(waiting, "SAY_AFTER_S", 0.3)
    pid = pid_of(filled, "emulator")
    pause(pid)
    said: list[str] = []
    with waiting.speaking(said.append), pytest.raises(TimedOut) as caught:
        dynamodb(filled).list_tables()
    assert len(said) == 1
    assert f": pid {pid} (" in said[0]
    assert f"is paused: `kill -CONT {pid}` resumes it" in said[0]
    assert f"(ListTables): no answer within 1 s: pid {pid} (" in caught.value.message
    assert caught.value.hint == "run `inv env.up`, which resumes it"


def test_a_connection_to_a_paused_database_server_ends_in_time_and_names_it(filled: Settings, pause: Pause) -> None:
    pid = pid_of(filled, "postgres")
    pause(pid)
    with pytest.raises(LocalEnvError) as caught, waiting.looking(1.0):
        connect(filled.postgres)
    assert isinstance(caught.value, TimedOut)
    assert f": pid {pid} (" in caught.value.message


def test_a_look_at_a_database_server_that_is_paused_in_a_query_ends_in_time(filled: Settings, pause: Pause) -> None:
    with closing(connect(filled.postgres, autocommit=True)) as connection:
        pause(connection.info.backend_pid)
        with pytest.raises(TimedOut) as caught, waiting.looking(0.5):
            connection.execute("SELECT 1")
    assert "is paused: `kill -CONT " in caught.value.message


def test_a_look_as_json_says_it_too(environ: dict[str, str], filled: Settings, pause: Pause) -> None:
    pid = pid_of(filled, "emulator")
    pause(pid)
    data = json.loads(run(environ, "status", "--format", "json").stdout)["data"]
    assert [state["status"] for state in data["services"]] == ["running", "failed", "failed"]
    assert all(f"pid {pid} (" in state["detail"] for state in data["services"][1:])


@pytest.mark.jar
def test_a_paused_jar_is_named_and_goes_on(tmp_path: Path, pause: Pause) -> None:
    environ = {
        **environment(reachable(tmp_path) / "state"),
        "DYNAMODB_LOCAL_JAR": JAR,
    }
    settings = permitted(read_settings(environ=environ))
    engines.up(settings, print)
    try:
        pid = pid_of(settings, "dynamodb")
        pause(pid)
        assert [state.status for state in engines.look(settings)] == ["running", "failed", "running"]
        assert run(environ, "env.status").code == 4
        done = run(environ, "env.up")
        assert (done.code, "is paused; resuming" in done.stderr) == (0, True)
        pause(pid)
        assert run(environ, "env.down").code == 0
    finally:
        engines.destroy(settings, print)
