"""What status sees: services, tables with their rows, files that were applied, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ddb import chat, messages
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.dynamodb.client import connect as dynamodb
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.environment import status
from tasks.localenv.environment.status import Line, Problem, Status
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.support.environments import Finished, environment, inv
from tests.support.ports import find_free
from tests.support.seeded import PEOPLE, fill, own


@pytest.fixture
def whole(live: Settings, database: Settings, fresh: Settings) -> Settings:
    """A filled environment with a database and a table of its own."""
    settings = replace(live, postgres=database.postgres, message_table=fresh.message_table)
    fill(settings)
    return settings


def pool_users(settings: Settings) -> int:
    return sum(1 for _ in find_pool(settings).users())


def examine(settings: Settings, newest: datetime | None = None) -> Status:
    part: Any = SimpleNamespace(NEWEST="message", newest=lambda client, table, users: newest)
    return status.examine(settings, part, lambda: [], lambda: read_tables(settings))


def test_a_filled_environment_is_shown_whole(whole: Settings) -> None:
    found = examine(whole, datetime.now(timezone.utc) - timedelta(hours=3, minutes=1))
    assert [(state.service, state.status) for state in found.services] == [
        ("postgres", "running"),
        ("dynamodb", "running"),
        ("cognito", "running"),
    ]
    lines = {(line.store, line.what): (line.holds, line.state) for line in found.lines}
    assert lines["postgres", "users"] == (f"{len(PEOPLE)} rows", "")
    assert lines["postgres", "sql/schema.sql"][0].startswith("applied ")
    assert lines["dynamodb", whole.message_table][1] == "ACTIVE, newest message 3 h ago"
    assert [(line.holds, line.state) for line in found.lines if line.store == "cognito"] == [
        (f"{pool_users(whole)} users", "emulated")
    ]
    assert (found.problems, found.is_down) == ((), False)


def test_files_that_changed_are_a_problem_with_its_command(whole: Settings) -> None:
    with connect(whole.postgres) as connection:
        connection.execute("UPDATE localenv.applied SET sha256 = 'x' WHERE path = 'sql/schema.sql'")
    hint = "run `inv db.setup` to rebuild it; the old one is kept for `inv undo`"
    found = examine(whole)
    assert found.problems == (Problem("postgres", "sql/schema.sql changed since it was applied", hint),)
    assert not found.is_down


def test_what_is_not_there_yet_is_a_problem_and_not_the_end(
    live: Settings, tmp_path: Path, database: Settings, fresh: Settings
) -> None:
    empty = replace(own(live, tmp_path), postgres=database.postgres, message_table=fresh.message_table)
    found = examine(replace(empty, target="prod"))  # without the services, which are those of another project here
    assert [(problem.store, problem.hint, problem.is_down) for problem in found.problems] == [
        ("postgres", "run `inv db.setup`", False),
        ("dynamodb", "run `inv ddb.schema-load`", False),
        ("cognito", "run `inv cognito.seed`", False),
    ]
    assert not found.is_down


def test_one_store_that_does_not_answer_leaves_the_others_in_sight(whole: Settings) -> None:
    found = examine(replace(whole, target="prod", postgres=replace(whole.postgres, port=find_free())))
    assert {line.store for line in found.lines} == {"dynamodb", "cognito"}
    (problem,) = found.problems
    assert (problem.store, problem.is_down, found.is_down) == ("postgres", True, True)


def test_tables_are_counted_up_to_a_limit(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "COUNT_UP_TO", 3)
    with connect(whole.postgres) as connection:
        connection.execute('CREATE TABLE "odd ""name"" of {it} %s" ()')
        connection.execute('CREATE SCHEMA "other.one"')
        connection.execute('CREATE TABLE "other.one"."a b" AS SELECT 1 AS id')
    lines = [line for line in examine(whole).lines if line.store == "postgres"]
    assert lines[:4] == [
        Line("postgres", "activities", "more than 3 rows"),
        Line("postgres", 'odd "name" of {it} %s', "0 rows"),
        Line("postgres", "users", "more than 3 rows"),
        Line("postgres", "other.one.a b", "1 row"),
    ]


def test_the_newest_time_is_found_among_those_that_can_be_read() -> None:
    times = [
        "2026-11-21T01:46:57.760569+00:00",
        "soon",
        "2026-11-21T03:46:57.760569+02:00",
        "2025-01-01T00:00:00.0+00:00",
    ]
    assert chat.latest(times) == messages.parse_time(times[0])
    assert chat.latest(["soon"]) is None


def test_a_message_of_the_future_is_called_so(whole: Settings) -> None:
    found = examine(whole, datetime.now(timezone.utc) + timedelta(hours=1))
    assert [line.state for line in found.lines if line.store == "dynamodb" and line.what == whole.message_table] == [
        "ACTIVE, newest message is in the future"
    ]


def test_the_command_says_when_everything_is_down_and_exits_4(tmp_path: Path) -> None:
    environ = environment(tmp_path / "state")
    text = inv("status", environ=environ)
    assert text.code == 4
    assert text.stdout.splitlines()[0].split() == ["SERVICE", "STATUS", "ADDRESS", "VERSION"]
    assert [line.split()[:2] for line in text.stdout.splitlines()[1:4]] == [
        ["postgres", "stopped"],
        ["dynamodb", "stopped"],
        ["cognito", "stopped"],
    ]
    way = "run `inv env.up` to start what is down, or run `inv initial-setup` for all of it"
    assert text.stdout.splitlines()[-1] == way
    listed = inv("status", "--format", "json", environ=environ)
    assert listed.code == 4
    data = json.loads(listed.stdout)["data"]
    assert [service["status"] for service in data["services"]] == ["stopped", "stopped", "stopped"]
    assert (data["lines"], data["problems"]) == ([], [])


def test_the_command_shows_the_newest_message(cli: Callable[..., Finished], whole: Settings) -> None:
    where = {"CONNECTION_URL": whole.postgres.url(masked=False), "DDB_MESSAGE_TABLE": whole.message_table}
    shown = cli("status", **where)
    assert shown.code == 0, shown.stderr
    (line,) = [line for line in shown.stdout.splitlines() if whole.message_table in line]
    assert "ACTIVE, newest message " in line
    table = dynamodb(whole)
    assert table.describe_table(TableName=whole.message_table)["Table"]["ItemCount"] >= 102


def test_what_somebody_else_serves_at_the_address_is_not_read(whole: Settings, tmp_path: Path) -> None:
    other = replace(whole, state_dir=tmp_path, project_id="other-123456", engine="embedded")
    found = status.examine(other, chat, lambda: pytest.fail("the table was read"), lambda: [])
    assert [state.status == "running" for state in found.services] == [False, False, False]
    assert found.lines == ()
