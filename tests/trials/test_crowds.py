"""Different commands that start at once: they end as if one had come after the other, and nothing is left to repair.

A run that waited for the lock finds another world than the one that it looked at before: services stopped, a database
gone. It looks again. No pair may end with exit code 4, with a code that neither order explains, or with a traceback.
`--crowd-rounds 20` tries each pair so often.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tasks.localenv import engines
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import read_settings
from tests.support.environments import KEPT, Finished, environment, inv, reachable
from tests.support.reliability import Count
from tests.support.seeded import quiet

SEND = "ddb.send-message --as andrewbrown --to bayko --text Hello"
RESTORE = "snapshot.restore seeded --yes"
DESTROY = "env.destroy --confirm cruddur"
FORCED_SEED = "ddb.seed --force"

PAIRS = (
    ("env.down", "env.up"),
    ("env.down", "env.restart"),
    ("env.down", "initial-setup"),
    ("env.down", "db.setup --force"),
    ("env.down", "db.seed"),
    ("env.down", FORCED_SEED),
    ("env.down", "cognito.seed --force"),
    ("env.down", "snapshot.save other --yes"),
    ("env.down", RESTORE),
    ("env.down", SEND),
    ("env.down", "check"),
    ("env.restart", "db.reset --yes"),
    ("env.restart", "ddb.schema-load --force"),
    ("env.restart", "db.query 'SELECT count(*) FROM users'"),
    (DESTROY, "initial-setup"),
    (DESTROY, "cognito.sync-ids --force"),
    (DESTROY, "reset --yes"),
    ("db.drop --yes", "initial-setup"),
    ("db.drop --yes", FORCED_SEED),
    ("db.drop --yes", "cognito.sync-ids --force"),
    ("ddb.drop --yes", FORCED_SEED),
    ("ddb.drop --yes", "reset --yes"),
    ("db.setup --force", "snapshot.save other --yes"),
    ("env.status", "env.restart"),
)

EXPLAINED: dict[str, set[int]] = {
    RESTORE: {0, 1},  # 1: the check at its end, of data that another run has changed meanwhile
    "check": {0, 1},
    SEND: {0, 1, 5},  # takes no lock
    "env.status": {0, 4},  # what it says, not how it failed
}
"""Exit codes that the other one's work explains; all others end with 0."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of an environment that the pairs change, with a snapshot of what the seeds gave."""
    environ = environment(reachable(tmp_path_factory.mktemp("crowd")) / "state")
    yield environ
    engines.destroy(read_settings(environ=environ), quiet)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--crowd-rounds"))


def start(command: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(TOOL), *shlex.split(command)],
        env={**{name: os.environ[name] for name in KEPT if name in os.environ}, "NO_COLOR": "1", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_at_once(commands: tuple[str, str], environ: dict[str, str]) -> dict[str, Finished]:
    started = {command: start(command, environ) for command in commands}
    ended = {command: process.communicate(timeout=150) for command, process in started.items()}
    return {command: Finished(started[command].returncode, out, err) for command, (out, err) in ended.items()}


def prepare(environ: dict[str, str]) -> None:
    """Set up what the round before has taken away."""
    assert_fine(inv("initial-setup", environ=environ))
    listed = inv("snapshot.list", environ=environ)
    if "seeded" not in listed.stdout:
        assert_fine(inv("snapshot.save", "seeded", environ=environ))


def assert_fine(done: Finished) -> None:
    assert done.code == 0, done.stderr


@pytest.mark.reliability("crowds")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pair", PAIRS, ids=[" and ".join(word.split()[0] for word in pair) for pair in PAIRS])
def test_two_different_commands_at_once_end_as_if_one_came_first(
    place: dict[str, str], pair: tuple[str, str], rounds: int, trials: Count
) -> None:
    trials(rounds)
    for _ in range(rounds):
        prepare(place)
        ended = run_at_once(pair, place)
        told = "\n".join(f"{command}: exit code {done.code}\n{done.stderr}" for command, done in ended.items())
        assert "Traceback" not in told
        assert all(done.code in EXPLAINED.get(command, {0}) for command, done in ended.items()), told
        after = inv("initial-setup", environ=place)
        assert after.code == 0, f"{told}\nthen initial-setup: exit code {after.code}\n{after.stderr}"


def test_every_pair_is_of_two_different_commands_and_stands_once() -> None:
    assert len({frozenset(pair) for pair in PAIRS}) == len(PAIRS) == 24
    assert all(len(set(pair)) == 2 for pair in PAIRS)
