"""Fixtures for tests against real servers: one embedded environment a test process, on ports of its own.

Nothing leaves this machine: a connection to anything but loopback fails the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.engines.docker.preflight import find_docker
from tasks.localenv.errors import LocalEnvError
from tasks.localenv.settings import Settings, read_settings
from tests.support import durations, environments, reliability
from tests.support.browser import find_browser
from tests.support.environments import Finished, environment, inv, permitted, reachable, running
from tests.support.reflink import why_not_mounted

JAR = os.environ.get("DYNAMODB_LOCAL_JAR", "")
REQUIRED = tuple(filter(None, os.environ.get("LOCALENV_REQUIRE", "").split(",")))
"""Markers whose tests must run: where one would be skipped (no Docker, no jar) it fails instead. For CI."""


Cli = Callable[..., Finished]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: the programs under test would inherit that, and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", metavar="FILE", help="add what the marked tests tried to this file, as JSON")
    parser.addoption("--crowd-rounds", type=int, default=1, help="how often each pair of commands starts at once")
    parser.addoption("--all-faults", action="store_true", help="let every command of test_faults.py meet every fault")
    parser.addoption("--model-seconds", type=float, default=20, help="how long test_orders.py plays orders of commands")
    parser.addoption("--model-seed", type=int, default=1, help="the first seed of test_orders.py, to play it again")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # of pytest-xdist: its reports go to the session that started it
        return
    config.pluginmanager.register(durations.FileSeconds())
    if file := config.getoption("--reliability"):
        config.pluginmanager.register(reliability.Collector(config.invocation_params.dir / file))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reliability.mark(items)
    items.sort(key=lambda item: "test_orders" not in item.nodeid)  # a minute in one piece: not at the end, alone
    reasons = {
        "docker": _why_no_docker() if any(item.get_closest_marker("docker") for item in items) else "",
        "npm": "" if shutil.which("npm") else "npm is not installed",
        "jar": "" if JAR else "DYNAMODB_LOCAL_JAR does not name Amazon's DynamoDBLocal.jar",
        "browser": "" if find_browser() else "no Chromium is installed",
        "reflink": why_not_mounted(),
        "tmpfs": "" if sys.platform == "linux" and os.geteuid() == 0 else "only root on Linux mounts a file system",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _why_no_docker() -> str:
    try:
        find_docker()
    except LocalEnvError as error:
        return f"needs Docker: {error.message}"
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, LocalEnvError) and error.evidence:
        report.sections.append(("Evidence of the error", error.evidence))
    if report.skipped and isinstance(report.longrepr, tuple) and any(map(item.get_closest_marker, REQUIRED)):
        report.outcome = "failed"
        report.longrepr = f"LOCALENV_REQUIRE={','.join(REQUIRED)}, but this test was skipped: {report.longrepr[2]}"
    return report


def pytest_sessionfinish() -> None:
    for folder in environments.made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"the test connects to {address[0]}, which is not loopback")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own variables from the tests, but for the region, which prod needs.

    That of the jar too: a test that wants it takes JAR.
    """
    for name in list(os.environ):
        if name.startswith(("AWS_", "LOCALENV_", "DDB_", "DB_SG", "DYNAMODB_")) or name.endswith("CONNECTION_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="session")
def live_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a running embedded environment; it ends with the test process."""
    environ = environment(reachable(tmp_path_factory.mktemp("live")) / "state")
    with running(environ):
        yield environ


@pytest.fixture(scope="session")
def live(live_environment: dict[str, str]) -> Settings:
    """The settings of a running embedded environment, with the guard's permit to change what is in it."""
    return permitted(read_settings(environ=live_environment))


@pytest.fixture
def database(live: Settings) -> Iterator[Settings]:
    """`live` with a database name of its own; the database does not exist yet, and is gone afterwards."""
    from tasks.localenv.postgres.connection import connect

    name = f"t_{uuid.uuid4().hex[:12]}"
    yield replace(live, postgres=replace(live.postgres, database=name))
    with connect(live.postgres, database="postgres", autocommit=True) as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = %s OR starts_with(datname, %s)", (name, f"{name}_")
        )
        for (database,) in found.fetchall():
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'.encode())


@pytest.fixture
def fresh(live: Settings) -> Iterator[Settings]:
    """`live` with a message table of its own; the table does not exist yet, and is gone afterwards."""
    from tests.support.boto import local_client

    settings = replace(live, message_table=f"t-{uuid.uuid4().hex[:12]}")
    yield settings
    dynamodb = local_client(settings, "dynamodb")
    if settings.message_table in dynamodb.list_tables()["TableNames"]:
        dynamodb.update_table(TableName=settings.message_table, DeletionProtectionEnabled=False)
        dynamodb.delete_table(TableName=settings.message_table)


@pytest.fixture
def table_name(fresh: Settings) -> str:
    """The name of a message table that does not exist yet, and is gone afterwards."""
    return fresh.message_table


@pytest.fixture
def trials(record_property: Callable[[str, object], None]) -> reliability.Count:
    """Let a test say how many trials it makes; without that it is one."""
    return lambda number: record_property("trials", number)


@pytest.fixture
def cli(live_environment: dict[str, str], tmp_path: Path) -> Cli:
    """Run `inv` with these words in a process of its own, against `live`.

    Keywords are further variables of its environment: cli("db.seed", "--plan", DDB_MESSAGE_TABLE=name).
    """

    def run(*words: str, text: str = "", **environ: str) -> Finished:
        return inv(*words, environ={**live_environment, **environ}, cwd=tmp_path, text=text)

    return run
