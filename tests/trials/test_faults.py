"""The real commands over lines that fail: no traceback, the true cause, nothing lost, and a second run completes.

The fault proxy of tests/support/faults.py stands where the servers stand; the servers behind it are the real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.localenv import engines
from tasks.localenv.engines import probes
from tasks.localenv.engines.daemon import Daemon, Wait
from tasks.localenv.engines.embedded.home import find_home
from tasks.localenv.engines.embedded.postgres import PLAIN, EmbeddedPostgres
from tasks.localenv.engines.emulator import Emulator
from tasks.localenv.engines.service import Deadline
from tasks.localenv.engines.state import Choice, keep_choice
from tasks.localenv.settings import Settings, read_settings
from tests.support import faults
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.faults import Fault, Plan
from tests.support.reliability import Count
from tests.support.seeded import fill

pytestmark = pytest.mark.reliability("faults")

PROXY = Path(faults.__file__)


@dataclass(frozen=True)
class World:
    """A filled environment whose servers stand behind fault proxies."""

    environ: dict[str, str]
    settings: Settings
    postgres: Plan
    http: Plan
    exported: Path

    def run(self, *words: str) -> Finished:
        done = inv(*words, environ=self.environ)
        assert "Traceback" not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The environment that every test here finds whole, and has to leave whole."""
    folder = reachable(tmp_path_factory.mktemp("faults"))
    environ = environment(folder / "state")
    settings = permitted(read_settings(environ=environ))
    engines.up(settings, print)
    fill(settings)
    engines.down(settings, print)
    postgres, http = (Plan(tmp_path_factory.mktemp(name)) for name in ("postgres", "http"))
    for plan in (postgres, http):
        with plan.of():
            pass
    keep_choice(settings.state_dir, Choice("embedded", "the servers stand behind proxies"))
    front(settings, postgres, http)
    made = World(environ, settings, postgres, http, tmp_path_factory.mktemp("exported") / "items.jsonl")
    assert made.run("ddb.export", "--file", str(made.exported)).code == 0
    yield made
    engines.destroy(settings, print)


def front(settings: Settings, postgres: Plan, http: Plan) -> None:
    """Start the servers behind proxies, which hold the leases and the ports of the servers."""
    home, server, emulator = find_home(settings), EmbeddedPostgres(settings), Emulator(settings)
    account = str(home.account.user) if home.account else "-"
    server.daemon.start(
        [sys.executable, PROXY, postgres.folder, account, *server._command(home)], env=PLAIN, cwd=home.data
    )
    emulator.daemon.start(
        [sys.executable, PROXY, http.folder, "-", *emulator._command()],
        env=emulator._environment(),
        cwd=emulator.folder,
    )
    await_ready(server.daemon, lambda: probes.postgres_accepts(settings.postgres))
    await_ready(emulator.daemon, lambda: all(map(emulator._answers, emulator.services)))


def await_ready(daemon: Daemon, is_ready: object) -> None:
    daemon.wait_ready(None, is_ready, Wait(Deadline(60), ""))  # type: ignore[arg-type]
    daemon.mark_ready("behind a proxy")


HTTP_FAULTS = ("drop", "500", "done-drop", "throttle", "half", "done-500", "reset", "list", "nothing", "html")
POSTGRES_FAULTS = ("drop", "done-drop", "fatal", "half", "reset")
AT_ONCE = 2
"""So many faults a command meets, each the ones after those of the command before; all of them with --all-faults."""

SENDS = "ddb.send-message --as andrewbrown --to bayko --text hello"

OVER_HTTP = [
    ("env.status", ""),
    ("status", "DescribeTable|ListTables|ListUserPools"),
    ("check", "Scan|ListUsers"),
    ("ddb.schema-load --force", "DescribeTable|DescribeTimeToLive"),
    ("ddb.seed --force", "BatchWriteItem|Query|Scan|BatchGetItem"),
    ("ddb.import --file {exported}", "Scan|BatchGetItem"),
    ("ddb.export --file {folder}/out.jsonl --force", "Scan"),
    ("ddb.list-conversations --as andrewbrown", "Query"),
    (SENDS, "TransactWriteItems"),
    (SENDS, "Query"),
    ("cognito.seed --force", "ListUsers|ListUserPools|AdminCreateUser"),
    ("cognito.list-users", "ListUsers"),
    ("cognito.sync-ids --force", "ListUsers"),
    ("ddb.stream --once", "GetRecords|GetShardIterator|DescribeStream"),
]

OVER_POSTGRES = [
    ("env.status", ""),
    ("status", "pg_tables"),
    ("check", "SELECT"),
    ("db.query SELECT-1", "SELECT 1"),
    ("db.setup --force", "CREATE DATABASE"),
    ("db.setup --force", "CREATE TABLE|INSERT"),
    ("db.setup --force", "COMMIT"),
    ("db.setup --force", "RENAME"),
    ("db.seed --force", "INSERT"),
    ("db.seed --force", "COMMIT"),
    ("cognito.sync-ids --force", "UPDATE|SELECT"),
    ("ddb.seed --force", "SELECT"),
    ("snapshot.save kept --yes", "CREATE DATABASE|ALTER DATABASE"),
    ("snapshot.restore kept --yes", "CREATE DATABASE|RENAME"),
]


def words_of(world: World, command: str) -> list[str]:
    filled = command.format(exported=world.exported, folder=world.exported.parent)
    return [word.replace("SELECT-1", "SELECT 1") for word in filled.split()]


def shown(done: Finished, kind: str = "") -> str:
    return f"{kind}: exit {done.code}\n{done.stdout}\n{done.stderr}"


Faults = Callable[[Sequence[str], int], Sequence[str]]


@pytest.fixture
def faults_of(request: pytest.FixtureRequest) -> Faults:
    """The faults that a command meets in this run: its share, or all of them."""

    def share(kinds: Sequence[str], row: int) -> Sequence[str]:
        if request.config.getoption("--all-faults"):
            return kinds
        return [kinds[(row * AT_ONCE + number) % len(kinds)] for number in range(AT_ONCE)]

    return share


@pytest.mark.parametrize(("command", "operation"), OVER_HTTP)
def test_over_http(world: World, faults_of: Faults, trials: Count, command: str, operation: str) -> None:
    kinds = faults_of(HTTP_FAULTS, OVER_HTTP.index((command, operation)))
    trials(len(kinds))
    for kind in kinds:
        with world.http.of(Fault(kind, operation or ".")) as plan:
            done = world.run(*words_of(world, command))
            assert plan.done() != [] or command == "env.status"
        assert_told(done, kind)
    assert_whole(world, command)


@pytest.mark.parametrize(("command", "statement"), OVER_POSTGRES)
def test_over_postgres(world: World, faults_of: Faults, trials: Count, command: str, statement: str) -> None:
    kinds = faults_of(POSTGRES_FAULTS, OVER_POSTGRES.index((command, statement)))
    trials(len(kinds))
    if command.startswith("snapshot.restore") and not (world.settings.state_dir / "snapshots" / "kept").exists():
        assert world.run("snapshot.save", "kept", "--yes").code == 0
    for kind in kinds:
        with world.postgres.of(Fault(kind, statement or "nothing of this kind")) as plan:
            done = world.run(*words_of(world, command))
            assert plan.done() != [] or command == "env.status"
        assert_told(done, kind)
    assert_whole(world, command)


def test_a_message_is_sent_once_whatever_becomes_of_the_answer(world: World) -> None:
    for number, kind in enumerate(("done-drop", "half", "done-500", "conflict", "throttle", "drop")):
        text = f"only once {number}"
        with world.http.of(Fault(kind, "TransactWriteItems", times=2)):
            done = world.run(*SENDS.split()[:-1], text)
        assert done.code == 0, shown(done, kind)
        assert world.run("ddb.scan", "--format", "json").stdout.count(f'"message": "{text}"') == 3, kind
    assert world.run("check").code == 0


def test_what_is_handed_back_is_sent_again_until_all_is_there(world: World) -> None:
    assert world.run("ddb.drop", "--yes").code == 0
    assert world.run("ddb.schema-load").code == 0
    with world.http.of(Fault("unprocessed", "BatchWriteItem", times=6)) as plan:
        assert world.run(*words_of(world, "ddb.import --file {exported}")).code == 0
        assert plan.done() == ["unprocessed BatchWriteItem"] * 6
    assert world.run("initial-setup").code == 0


def test_a_server_that_is_silent_is_told_and_ends(world: World) -> None:
    with world.http.of(Fault("silence", "ListTables", times=99)):
        done = world.run("env.status")
    assert done.code == 4
    assert "it does not answer within 2 s; `inv env.logs` shows what it does" in done.stdout
    with world.http.of(Fault("silence", "DescribeTable", times=99)):
        done = world.run("status")
    assert done.code == 4
    assert "(DescribeTable): no answer within 2 s" in done.stdout
    with world.postgres.of(Fault("silence", "pg_tables", times=99)):
        done = world.run("status")
    assert done.code == 4
    assert "no answer within 7 s" in done.stdout


def assert_told(done: Finished, kind: str) -> None:
    """What failed says so, and what to do; what says that it is done is."""
    if done.code:
        text = done.stdout + done.stderr
        assert "hint" in text or "run `inv" in text or "does not answer within" in text, shown(done, kind)
        assert "others write" not in text, shown(done, kind)


def assert_whole(world: World, command: str) -> None:
    """A second run without a fault completes what the first one left, and all stores agree."""
    again = world.run(*words_of(world, command))
    if command.startswith("snapshot.save") and again.code:
        assert "exists" in again.stderr, shown(again)
    else:
        assert again.code == 0, shown(again)
    repaired = world.run("initial-setup")
    assert repaired.code == 0, shown(repaired)
