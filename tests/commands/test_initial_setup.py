"""initial-setup as a whole: from nothing, a second time, after every kind of interruption, and where data differs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb.client import connect as dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import PATIENCE_S, Finished, environment, inv, permitted, wait_until
from tests.support.reliability import Count
from tests.support.seeded import quiet

STEPS = {
    "env.up",
    "db.setup",
    "cognito.seed",
    "ddb.schema-load",
    "cognito.sync-ids",
    "ddb.seed",
    "check",
    "initial-setup",
}


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """The variables of an environment that does not exist yet, and is gone afterwards.

    Not in pytest's own folder: another pytest of the same user that starts meanwhile closes that to other users, and
    as root PostgreSQL runs as one.
    """
    with tempfile.TemporaryDirectory(prefix="localenv-") as folder:
        Path(folder).chmod(0o711)
        variables = environment(Path(folder) / "state")
        yield variables
        engines.destroy(read_settings(environ=variables), quiet)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return permitted(read_settings(environ=environ))


@pytest.fixture
def shared(live: Settings, database: Settings, fresh: Settings) -> Settings:
    """The running environment of the other tests, with a database and a table of its own."""
    return replace(live, postgres=database.postgres, message_table=fresh.message_table)


@pytest.fixture
def run(cli: Callable[..., Finished], shared: Settings) -> Callable[..., Finished]:
    """Run `inv` against `shared`."""
    variables = {"CONNECTION_URL": shared.postgres.url(masked=False), "DDB_MESSAGE_TABLE": shared.message_table}
    return lambda *words: cli(*words, **variables)


def outcomes(stderr: str) -> dict[str, str]:
    """Give the word at the start of each step's line: ok, skip or FAIL."""
    found = re.findall(r"^(ok|skip|FAIL) +([\w.-]+)", stderr, re.MULTILINE)
    return {name: word for word, name in found}


def contents(settings: Settings) -> dict[str, Any]:
    """Read all that the three stores hold."""
    with connect(settings.postgres) as connection:
        users = connection.execute("SELECT * FROM users ORDER BY uuid").fetchall()
        activities = connection.execute("SELECT * FROM activities ORDER BY uuid").fetchall()
    items = sorted(json.dumps(item, sort_keys=True) for item in scan(dynamodb(settings), settings.message_table))
    return {"users": users, "activities": activities, "items": items, "pool": list(find_pool(settings).users())}


def start(environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start initial-setup as the leader of a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "initial-setup"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and everything in its process group, as a closed terminal or an out-of-memory killer may."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)


def run_until(environ: dict[str, str], step: str) -> bool:
    """Run until a step has been reported on, and kill the command at that; tell whether it came that far."""
    process = start(environ)
    assert process.stderr is not None
    came_that_far = any(re.match(rf"(ok|skip) +{re.escape(step)} ", line) for line in process.stderr)
    kill(process)
    return came_that_far


def assert_complete(environ: dict[str, str]) -> None:
    """The same command again ends right, and after that there is nothing to do."""
    repaired = inv("initial-setup", environ=environ)
    assert repaired.code == 0, repaired.stderr
    again = inv("initial-setup", environ=environ)
    assert again.code == 0, again.stderr
    words = outcomes(again.stderr)
    assert {name: word for name, word in words.items() if word != "skip"} == {"check": "ok", "initial-setup": "ok"}


def test_from_nothing_to_a_clean_check_then_nothing_to_do_and_all_of_it_survives_a_stop(
    environ: dict[str, str], settings: Settings
) -> None:
    first = inv("initial-setup", environ=environ)
    assert first.code == 0, first.stderr
    assert outcomes(first.stderr) == dict.fromkeys(STEPS, "ok")
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["postgres", "dynamodb", "cognito"]
    assert "password" not in first.stdout
    before = contents(settings)
    second = inv("initial-setup", environ=environ)
    assert second.code == 0
    assert outcomes(second.stderr) == {**dict.fromkeys(STEPS, "skip"), "check": "ok", "initial-setup": "ok"}
    assert all(len(line.split(maxsplit=2)) == 3 for line in second.stderr.splitlines()), "each skip has its reason"
    assert contents(settings) == before
    assert inv("env.down", environ=environ).code == 0
    third = inv("initial-setup", environ=environ)
    assert third.code == 0, third.stderr
    expected = {**dict.fromkeys(STEPS, "skip"), "env.up": "ok", "check": "ok", "initial-setup": "ok"}
    assert outcomes(third.stderr) == expected
    assert contents(settings) == before


@pytest.mark.reliability("kills")
def test_killed_after_each_step_in_turn_it_ends_right(environ: dict[str, str], trials: Count) -> None:
    steps = ("env.up", "ddb.schema-load", "cognito.seed", "db.setup", "cognito.sync-ids", "ddb.seed", "check")
    for step in steps:
        assert run_until(environ, step)
    trials(len(steps))
    assert_complete(environ)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.reliability("kills")
def test_killed_at_any_moment_it_ends_right(environ: dict[str, str], seed: int, trials: Count) -> None:
    moments = random.Random(seed)
    trials(4)
    for _ in range(4):
        process = start(environ)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moments.uniform(0.05, 2.0))
        kill(process)
    assert_complete(environ)


@pytest.mark.reliability("kills")
def test_services_that_were_killed_are_started_and_what_they_lost_is_made_anew(
    environ: dict[str, str], settings: Settings
) -> None:
    assert inv("initial-setup", environ=environ).code == 0
    for state in engines.look(settings):
        pid = int(re.findall(r"pid (\d+)", state.holder)[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(state.status != "running" for state in engines.look(settings)))
    assert_complete(environ)


def test_a_pool_that_was_lost_gives_everybody_a_new_sub(run: Callable[..., Finished], shared: Settings) -> None:
    assert run("initial-setup").code == 0
    before = contents(shared)
    pool = find_pool(shared)
    pool.call("DeleteUserPool", UserPoolId=pool.id)
    again = run("initial-setup")
    assert again.code == 0, again.stderr
    changed = {name for name, word in outcomes(again.stderr).items() if word == "ok"}
    assert changed == {"cognito.seed", "cognito.sync-ids", "check", "initial-setup"}
    after = contents(shared)
    assert (after["activities"], after["items"]) == (before["activities"], before["items"])
    assert not {user.sub for user in after["pool"]} & {user.sub for user in before["pool"]}


def test_a_database_with_content_is_kept_and_the_difference_is_named(
    run: Callable[..., Finished], shared: Settings
) -> None:
    assert run("initial-setup").code == 0
    with connect(shared.postgres) as connection:
        connection.execute("UPDATE localenv.applied SET sha256 = 'x' WHERE path = 'sql/schema.sql'")
        connection.execute("UPDATE users SET display_name = 'mine' WHERE handle = 'londo'")
    before = contents(shared)
    done = run("initial-setup")
    assert done.code == 3
    assert f"database {shared.postgres.database} is kept as it is: sql/schema.sql changed since" in done.stderr
    assert "hint" in done.stderr and "run `inv db.setup`: it builds the new one beside" in done.stderr
    assert contents(shared)["users"] == before["users"]


def test_reset_puts_everything_back_and_asks_first(run: Callable[..., Finished], shared: Settings) -> None:
    assert run("initial-setup").code == 0
    before = contents(shared)
    with connect(shared.postgres) as connection:
        connection.execute("DELETE FROM activities")
    pool, table = find_pool(shared), dynamodb(shared)
    pool.call("AdminCreateUser", UserPoolId=pool.id, Username="stranger@example.com")
    table.put_item(TableName=shared.message_table, Item={"pk": {"S": "x"}, "sk": {"S": "y"}})
    changed = contents(shared)
    refused = run("reset")
    assert (refused.code, contents(shared)) == (3, changed)
    assert "will remove pool user stranger@example.com" in refused.stderr
    done = run("reset", "--yes")
    assert done.code == 0, done.stderr
    after = contents(shared)
    assert [row[0] for row in after["activities"]] == [row[0] for row in before["activities"]]
    assert after["pool"] == before["pool"]
    assert len(after["items"]) == len(before["items"])
    assert run("check").code == 0


def test_production_is_not_set_up(cli: Callable[..., Finished]) -> None:
    done = cli("initial-setup", "--target", "prod", PROD_CONNECTION_URL="postgresql://a:b@127.0.0.1:1/c")
    assert done.code == 2
    assert "initial-setup does not exist for --target prod" in done.stderr
