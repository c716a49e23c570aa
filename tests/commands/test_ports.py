"""The ports that an earlier start has picked, said on each start, and `env.up --ports standard | free`."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invoke import Config, Exit

from tasks import ns
from tasks._executor import GraphExecutor
from tasks.localenv import engines
from tasks.localenv.engines import portclaims
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.kept import are_fixed, keep_ports, kept_ports
from tasks.localenv.settings.variables import PORT_VARIABLES, STANDARD_PORTS
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.ports import find_free

Run = Callable[..., Finished]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An embedded environment whose addresses nobody has set, on ports that an earlier start has picked."""
    given = environment(reachable(tmp_path) / "state")
    settings = read_settings(environ=given)
    keep_ports(settings.state_dir, settings.project_id, settings.ports)
    yield {name: value for name, value in given.items() if name not in PORT_VARIABLES.values()}
    engines.destroy(read_settings(environ=given), print)


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Standard ports that nobody on this machine has: other tests and programs may have 5432."""
    for service in STANDARD_PORTS:
        monkeypatch.setitem(STANDARD_PORTS, service, find_free())
    return STANDARD_PORTS


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, which has the standard ports of the test."""
    for name in PORT_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def command(name: str, **arguments: object) -> Finished:
        capfd.readouterr()
        try:
            GraphExecutor(ns, Config()).execute((name, arguments))
            code = 0
        except Exit as ended:
            code = ended.code
        return Finished(code, *capfd.readouterr())

    return command


def now(environ: dict[str, str]) -> Settings:
    return permitted(read_settings(environ=environ))


def test_picked_ports_are_said_on_each_start_and_look(environ: dict[str, str], tmp_path: Path) -> None:
    ports = read_settings(environ=environ).ports
    listed = ", ".join(f"{service} {port}" for service, port in ports.items())
    line = (
        f"ports: {listed}, picked in place of the standard 5432, 8000, 9229: run `inv env.up --ports standard` "
        "to take the standard ones"
    )
    for words in (["env.up", "--plan"], ["env.up"], ["env.up"], ["env.status"]):
        done = inv(*words, environ=environ, cwd=tmp_path)
        told = [text for text in done.stderr.splitlines() if text.startswith("warn")]
        assert ([re.sub(r"^warn +env\.\w+ +", "", text) for text in told], done.code) == ([line], 0), words
    doctor = inv("doctor", environ=environ, cwd=tmp_path).stdout
    assert line.partition(": run")[0].removeprefix("ports: ") in doctor
    assert "hint: run `inv env.up --ports standard` to take the standard ones" in doctor
    assert line not in inv("db.query", "SELECT 1", environ=environ, cwd=tmp_path).stderr


def test_ports_that_are_set_are_no_surprise(tmp_path: Path) -> None:
    environ = environment(reachable(tmp_path) / "state")
    assert "ports:" not in inv("env.status", environ=environ).stderr
    wanted = inv("env.up", "--ports", "standard", environ=environ)
    assert (wanted.code, "--ports standard: CONNECTION_URL gives postgres port" in wanted.stderr) == (2, True)


def test_the_standard_ports_are_taken_with_the_data_and_kept(
    run: Run, environ: dict[str, str], standard: dict[str, int]
) -> None:
    assert run("env.up").code == 0
    with connect(now(environ).postgres, database="postgres", autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (word text)")
    picked = now(environ).ports
    plan = run("env.up", ports="standard", plan=True)
    assert f"postgres gets its standard port {standard['postgres']} in place of {picked['postgres']}" in plan.stdout
    assert now(environ).ports == picked
    done = run("env.up", ports="standard")
    assert (done.code, now(environ).ports) == (0, standard), done.stderr
    with connect(now(environ).postgres, database="postgres") as conn:
        assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert "ports:" not in done.stderr
    again = run("env.up", ports="standard")
    assert again.stderr.startswith("skip  env.up")

    assert run("env.down").code == 0
    with socket.create_server(("127.0.0.1", standard["postgres"])):
        held = run("env.up")
    assert (held.code, f"is taken by pid {os.getpid()}" in held.stderr) == (6, True)
    assert "or run `inv env.up --ports free` to let it pick others" in held.stderr


def test_who_has_a_standard_port_is_named_and_nothing_is_changed(
    run: Run, environ: dict[str, str], standard: dict[str, int]
) -> None:
    before = now(environ)
    with socket.create_server(("127.0.0.1", standard["dynamodb"])):
        for plan in (True, False):
            done = run("env.up", ports="standard", plan=plan)
            assert (done.code, f"port {standard['dynamodb']}, wanted for dynamodb, is taken" in done.stderr) == (
                6,
                True,
            )
            assert f"by pid {os.getpid()}" in done.stderr
    assert (now(environ).ports, kept_ports(before.state_dir, before.project_id)) == (before.ports, before.ports)
    assert all(state.status == "stopped" for state in engines.look(before))


def test_a_stopped_checkout_loses_its_claim_and_is_named(
    environ: dict[str, str], standard: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", environ["XDG_CACHE_HOME"])
    (tmp_path / "other").mkdir()
    other = read_settings(root=tmp_path / "other", environ={"LOCALENV_SERVICES": "postgres"}).with_ports(standard)
    portclaims.claim(other, [])
    lines = portclaims.claim_standard(now(environ), ["postgres"])
    assert lines[0].endswith(f"; the checkout in {other.root} gets another one at its next start")
    (move,) = portclaims.plan(other, ["postgres"])
    assert (move.old, move.owner) == (standard["postgres"], f"the checkout in {now(environ).root}")


def test_fixed_ports_are_not_left_to_another_checkout_until_they_are_free(
    run: Run, environ: dict[str, str], standard: dict[str, int], tmp_path: Path
) -> None:
    portclaims.claim_standard(now(environ), [])
    (tmp_path / "other").mkdir()
    other = read_settings(root=tmp_path / "other", environ={"LOCALENV_SERVICES": "postgres,dynamodb,cognito"})
    portclaims.claim(other.with_ports(standard), [])
    settings = now(environ)
    assert (settings.fixed, portclaims.plan(settings, ["postgres"])) == (tuple(standard), [])
    portclaims.claim(other, [])  # at the true default ports, so that this test starts nothing there
    freed = run("env.up", ports="free")
    assert (freed.code, are_fixed(settings.state_dir, settings.project_id)) == (0, False), freed.stderr
    assert f"5432 belongs to the checkout in {other.root}" in freed.stderr
    assert not set(now(environ).ports.values()) & set(other.ports.values())


def test_another_word_names_the_choices(run: Run) -> None:
    done = run("env.up", ports="standart")
    assert (done.code, "--ports: 'standart' is not one of standard, free" in done.stderr) == (2, True)
    assert "did you mean 'standard'?" in done.stderr
