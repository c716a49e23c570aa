"""Checkouts side by side: ports of their own without any setting, the index of checkouts, and what env.list shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.checkout import checkouts
from tasks.localenv.engines import portclaims
from tasks.localenv.environment.neighbours import list_neighbours
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.machine.ports import Holder
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.kept import keep_ports, kept_ports
from tasks.localenv.settings.variables import PORT_VARIABLES
from tests.support.environments import KEPT, PATIENCE_S, environment, inv, reachable
from tests.support.ports import find_free

ALL = ("postgres", "dynamodb", "cognito")
SERVED = {"LOCALENV_SERVICES": ",".join(ALL)}
"""The folders have none of the app's files that would ask for services."""
Unset = Callable[..., Settings]


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "localenv" / "checkouts"


@pytest.fixture
def unset(tmp_path: Path) -> Unset:
    """Make a checkout of which nobody has set an address; its default ports are free ones."""
    defaults = dict(zip(ALL, (find_free(), find_free(), find_free()), strict=True))

    def make(name: str, **ports: int) -> Settings:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        return read_settings(root=root, environ=SERVED).with_ports({**defaults, **ports})

    return make


def test_alone_a_checkout_has_the_default_ports(unset: Unset) -> None:
    one = unset("one")
    assert portclaims.claim(one, ALL) == []
    assert kept_ports(one.state_dir, one.project_id) == {}
    assert [(known.root, known.ports) for known in checkouts.read_all()] == [(one.root, one.ports)]


def test_ports_of_another_checkout_are_left_to_it_while_it_is_down_too(unset: Unset) -> None:
    one, two = unset("one"), unset("two")
    portclaims.claim(one, ALL)
    assert portclaims.plan(two, ALL) == portclaims.claim(two, ALL) != []
    picked = kept_ports(two.state_dir, two.project_id)
    assert picked.keys() == set(ALL) and not set(picked.values()) & set(one.ports.values())
    assert portclaims.claim(two.with_ports(picked), ALL) == []
    assert portclaims.claim(one, ALL) == []


def test_a_port_that_is_set_and_one_that_is_in_use_stay(unset: Unset) -> None:
    one, two = unset("one"), unset("two")
    portclaims.claim(one, ALL)
    moves = portclaims.plan(replace(two, movable=("dynamodb", "cognito")), ("postgres", "dynamodb"))
    assert [(move.service, move.old, move.owner) for move in moves] == [
        ("dynamodb", one.ports["dynamodb"], f"the checkout in {one.root}")
    ]


def test_a_checkout_that_is_gone_or_destroyed_claims_nothing(unset: Unset) -> None:
    one, two = unset("one"), unset("two")
    portclaims.claim(one, ALL)
    one.root.rename(one.root.with_name("moved"))
    assert portclaims.plan(two, ALL) == []
    one.root.with_name("moved").rename(one.root)
    assert portclaims.plan(two, ALL) != []
    portclaims.release(one)
    assert (portclaims.plan(two, ALL), checkouts.read_all()) == ([], [])


def test_another_program_keeps_a_default_port_and_moves_a_picked_one(unset: Unset) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = unset("one", postgres=server.getsockname()[1])
        assert portclaims.plan(one, ALL) == []
        keep_ports(one.state_dir, one.project_id, {"postgres": one.ports["postgres"]})
        (move,) = portclaims.plan(one, ALL)
        assert (move.service, move.owner.startswith(f"pid {os.getpid()}")) == ("postgres", True)


def test_containers_and_programs_of_other_checkouts_are_known_by_their_names(live: Settings, unset: Unset) -> None:
    one = unset("one")
    pids: dict[str, int] = {state.service: int(state.holder.split()[1]) for state in engines.look(live)}
    for service, mark in (("postgres", live.project_id), ("dynamodb", f"{live.state_dir}/emulator")):
        assert portclaims.neighbour(one, Holder(pid=pids[service])) == f"the environment {mark} (pid {pids[service]})"
        assert portclaims.neighbour(live, Holder(pid=pids[service])) == ""
    other, foreign = Holder(container="a-db-1", project="a-0123ab"), Holder(container="a-db-1", project="a")
    assert portclaims.neighbour(one, other) == "container a-db-1 of Compose project a-0123ab"
    assert (portclaims.neighbour(one, foreign), portclaims.neighbour(one, Holder(pid=os.getpid()))) == ("", "")


@pytest.mark.parametrize("home", ["", "relative", "/proc/nowhere"])
def test_without_a_place_for_the_index_nothing_fails(unset: Unset, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    one = unset("one")
    assert (portclaims.claim(one, ALL), checkouts.read_all()) == ([], [])
    portclaims.release(one)


def test_what_cannot_be_read_in_the_index_is_left_out(unset: Unset, index: Path) -> None:
    portclaims.claim(unset("one"), ALL)
    for number, text in enumerate(("", "{}", "[]", '{"root": 1}', "\0")):
        (index / f"broken{number}.json").write_text(text)
    assert [known.root.name for known in checkouts.read_all()] == ["one"]


CLAIM = """
import sys
from pathlib import Path
from tasks.localenv.engines import portclaims
from tasks.localenv.settings.kept import kept_ports
from tasks.localenv.settings import read_settings
root, *ports = sys.argv[1:]
services = ("postgres", "dynamodb", "cognito")
settings = read_settings(root=Path(root), environ={"LOCALENV_SERVICES": ",".join(services)})
settings = settings.with_ports(dict(zip(services, map(int, ports))))
portclaims.claim(settings, services)
print({**settings.ports, **kept_ports(settings.state_dir, settings.project_id)})
"""


def test_checkouts_that_claim_at_the_same_moment_get_different_ports(unset: Unset) -> None:
    wanted = [unset(name) for name in ("one", "two", "three")]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(one.root), *map(str, one.ports.values())],
            cwd=TOOL,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in wanted
    ]
    said = [process.communicate(timeout=PATIENCE_S)[0] for process in running]
    ports = [port for text in said for port in json.loads(text.replace("'", '"')).values()]
    assert len(ports) == len(set(ports)) == 9


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of an embedded environment whose addresses nobody has set, kept on ports that nobody has."""
    folder = reachable(tmp_path) / "own"
    folder.mkdir(mode=0o711)
    environ = {**environment(folder / "state"), "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    settings = read_settings(environ=environ)
    keep_ports(settings.state_dir, settings.project_id, settings.ports)
    yield {name: value for name, value in environ.items() if name not in PORT_VARIABLES.values()}
    engines.destroy(read_settings(environ=environ), print)


def test_ports_that_were_picked_hold_until_destroy(checkout: dict[str, str], tmp_path: Path) -> None:
    settings = read_settings(environ=checkout)
    with socket.create_server(("127.0.0.1", settings.ports["postgres"])):
        plan = inv("env.up", "--plan", environ=checkout, cwd=tmp_path)
        assert "postgres gets port" in plan.stdout and kept_ports(settings.state_dir, settings.project_id)
        up = inv("env.up", "env.status", environ=checkout, cwd=tmp_path)
        assert (up.code, "postgres gets port" in up.stderr) == (0, True)
    now = read_settings(environ=checkout)
    assert now.ports != settings.ports and f":{now.ports['postgres']} " in up.stdout
    listed = json.loads(inv("env.list", "--format", "json", environ=checkout, cwd=tmp_path).stdout)["data"]
    (own,) = [row for row in listed if row["project_id"] == now.project_id]
    assert {**own, "size_bytes": own["size_bytes"] > 10**6, "created": own["created"] <= own["used"], "used": 0} == {
        "project_id": now.project_id,
        "path": str(TOOL),
        "exists": True,
        "engine": "embedded",
        "state": "running",
        "ports": now.ports,
        "size_bytes": True,
        "created": True,
        "used": 0,
        "remove": "",
    }
    assert inv("env.down", environ=checkout, cwd=tmp_path).code == 0
    assert read_settings(environ=checkout).ports == now.ports
    assert [(known.project_id, known.ports) for known in checkouts.read_all()] == [(now.project_id, now.ports)]
    assert inv("env.destroy", "--confirm", "cruddur", environ=checkout, cwd=tmp_path).code == 0
    assert read_settings(environ=checkout).ports == {"postgres": 5432, "dynamodb": 8000, "cognito": 9229}
    assert checkouts.read_all() == []


def test_a_copied_folder_does_not_take_the_ports_with_it(unset: Unset, tmp_path: Path) -> None:
    one = unset("one")
    keep_ports(one.state_dir, one.project_id, one.ports)
    shutil.copytree(one.root, tmp_path / "copy")
    assert read_settings(root=tmp_path / "copy", environ=SERVED).ports["postgres"] == 5432
    assert read_settings(root=one.root, environ=SERVED).ports == one.ports


def test_what_a_gone_checkout_left_running_is_listed_with_the_command_that_ends_it(unset: Unset) -> None:
    one = unset("one")
    program = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print(flush=True)"
    words = [sys.executable, "-c", f"{program}; time.sleep(600)", str(one.ports["postgres"])]
    marks = ["-c", f"cluster_name={one.project_id}", "-c", "listen_addresses=127.0.0.1"]
    with subprocess.Popen([*words, *marks], stdout=subprocess.PIPE) as lost:
        assert lost.stdout and lost.stdout.readline()
        checkouts.note(one)
        one.root.rmdir()
        (row,) = [row for row in list_neighbours(one) if row.project_id == one.project_id]
        assert (row.exists, row.state, row.remove) == (False, "running", f"kill {lost.pid}")
        lost.send_signal(signal.SIGKILL)
    assert [row for row in list_neighbours(one) if row.project_id == one.project_id] == []


def test_every_taken_port_is_told_at_once(tmp_path: Path) -> None:
    environ = environment(reachable(tmp_path) / "state")
    settings = read_settings(environ=environ)
    with (
        socket.create_server(("127.0.0.1", settings.ports["postgres"])),
        socket.create_server(("127.0.0.1", settings.ports["cognito"])),
    ):
        up = inv("env.up", environ=environ, cwd=tmp_path)
    engines.destroy(settings, print)
    assert up.code == 6 and "2 ports are taken" in up.stderr
    for service, name in (("postgres", "Postgres"), ("cognito", "cognito")):
        assert f"port {settings.ports[service]}, wanted for {name}, is taken by pid {os.getpid()}" in up.stderr
    assert (
        "stop them, or give CONNECTION_URL and AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER other ports in .env"
        in up.stderr
    )
    assert "Traceback" not in up.stderr


def test_the_tests_have_an_index_of_their_own() -> None:
    assert "XDG_CACHE_HOME" not in KEPT and "XDG_CACHE_HOME" in environment(Path("/nowhere"))
